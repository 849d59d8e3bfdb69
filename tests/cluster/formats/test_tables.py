from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.cluster.formats.durations import human_duration
from hatoba.cluster.formats.jsonpath import UnsupportedPath, parse_path
from hatoba.cluster.formats.tables import (
    builtin_printer,
    custom_printer,
    partial_list,
    table,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
META = {"name": "x", "namespace": "n", "creationTimestamp": "2026-01-01T23:59:20Z"}


def cells(kind, *, group="", metadata=META, **body):
    return builtin_printer(group, kind).cells({"metadata": metadata, **body}, NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (185, "3m5s"),
        (601, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (9 * 3600, "9h"),
        (50 * 3600, "2d2h"),
        (10 * 86400, "10d"),
        (800 * 86400, "2y70d"),
        (4000 * 86400, "10y"),
    ],
)
def test_durations_have_two_units_at_most(seconds, text):
    assert human_duration(seconds) == text


@given(st.integers(min_value=0, max_value=10**9))
def test_durations_never_say_more_than_is_true(seconds):
    sizes = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}
    said, number = 0, ""
    for character in human_duration(seconds):
        if character.isdigit():
            number += character
        else:
            said, number = said + int(number) * sizes[character], ""
    assert seconds * 0.5 <= said <= seconds


def container(name="c", **state):
    return {"name": name, "ready": "running" in state, "restartCount": 0, "state": state}


def pod(*statuses, phase="Running", **more):
    return {
        "spec": {"containers": [{"name": "c"}], **more.pop("spec", {})},
        "status": {"phase": phase, "containerStatuses": list(statuses), **more},
    }


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (pod(container(running={})), ["1/1", "Running", "0"]),
        (
            pod(container(waiting={"reason": "ErrImagePull"}), phase="Pending"),
            ["0/1", "ErrImagePull", "0"],
        ),
        (pod(container(terminated={"exitCode": 3})), ["0/1", "ExitCode:3", "0"]),
        (
            pod(container(terminated={"reason": "Completed"}), phase="Succeeded"),
            ["0/1", "Completed", "0"],
        ),
        (pod(phase="Failed", reason="Evicted"), ["0/1", "Evicted", "0"]),
        (
            pod(
                {
                    **container(running={}),
                    "restartCount": 3,
                    "lastState": {"terminated": {"finishedAt": "2026-01-01T23:59:00Z"}},
                }
            ),
            ["1/1", "Running", "3 (60s ago)"],
        ),
        (
            pod(
                phase="Pending",
                spec={"initContainers": [{"name": "i"}, {"name": "j"}]},
                initContainerStatuses=[
                    container("i", terminated={"exitCode": 0}),
                    container("j", running={}),
                ],
            ),
            ["0/1", "Init:1/2", "0"],
        ),
        (
            pod(
                phase="Pending",
                conditions=[
                    {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
                ],
            ),
            ["0/1", "SchedulingGated", "0"],
        ),
    ],
)
def test_the_status_of_a_pod_is_what_holds_it_up(body, shown):
    assert cells("Pod", **body)[1:4] == shown


def test_a_pod_being_deleted_is_terminating_unless_it_is_done():
    gone = {**META, "deletionTimestamp": "2026-01-02T00:00:30Z"}
    assert cells("Pod", metadata=gone, **pod(container(running={})))[2] == "Terminating"


def test_finished_pods_carry_a_condition_in_their_row():
    (row,) = table(
        [{"metadata": META, **pod(phase="Succeeded")}],
        printer=builtin_printer("", "Pod"),
        now=NOW,
        metadata={},
    )["rows"]
    assert row["conditions"][0]["reason"] == "Succeeded"
    assert row["object"]["kind"] == "PartialObjectMetadata"


def test_deployments_and_jobs_count():
    template = {"spec": {"containers": [{"name": "a", "image": "i"}]}}
    shown = cells(
        "Deployment",
        group="apps",
        spec={"replicas": 3, "template": template, "selector": {"matchLabels": {"a": "b"}}},
        status={"readyReplicas": 2, "updatedReplicas": 3},
    )
    assert shown == ["x", "2/3", 3, 0, "40s", "a", "i", "a=b"]
    job = cells(
        "Job",
        group="batch",
        spec={"completions": 1, "template": template},
        status={
            "succeeded": 1,
            "startTime": "2026-01-01T23:00:00Z",
            "completionTime": "2026-01-01T23:00:07Z",
            "conditions": [{"type": "Complete", "status": "True"}],
        },
    )
    assert job[1:5] == ["Complete", "1/1", "7s", "40s"]


@pytest.mark.parametrize(
    ("current", "shown"),
    [
        ([], "cpu: <unknown>/90%"),
        ([{"resource": {"current": {"averageUtilization": 7}}}], "cpu: 7%/90%"),
    ],
)
def test_targets_of_an_autoscaler(current, shown):
    spec = {
        "scaleTargetRef": {"kind": "Deployment", "name": "d"},
        "maxReplicas": 3,
        "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 90}}}
        ],
    }
    found = cells(
        "HorizontalPodAutoscaler",
        group="autoscaling",
        spec=spec,
        status={"currentMetrics": current},
    )
    assert found[1:5] == ["Deployment/d", shown, "<unset>", 3]


def test_services_and_endpoints():
    spec = {"type": "NodePort", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30080}]}
    assert cells("Service", spec=spec)[1:5] == ["NodePort", "10.0.0.1", "<none>", "80:30080/TCP"]
    subsets = [{"addresses": [{"ip": "1"}, {"ip": "2"}], "ports": [{"port": 1}, {"port": 2}]}]
    assert cells("Endpoints", subsets=subsets)[1] == "1:1,2:1,1:2 + 1 more..."


def test_kinds_without_columns_show_when_they_were_made():
    assert cells("Role", group="rbac.authorization.k8s.io") == ["x", META["creationTimestamp"]]


COLUMNS = [
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
    },
    {"name": "Count", "type": "integer", "jsonPath": ".spec.count"},
    {"name": "Parts", "type": "string", "jsonPath": ".spec.parts[*].kind", "priority": 1},
    {"name": "Map", "type": "string", "jsonPath": ".spec.map"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


def test_custom_columns_show_the_first_match_of_the_right_type():
    printer = custom_printer(COLUMNS)
    obj = {
        "metadata": META,
        "spec": {"count": "seven", "parts": [{"kind": "a"}, {"kind": "b"}], "map": {"a": 1}},
        "status": {
            "conditions": [{"type": "Other", "status": "x"}, {"type": "Ready", "status": "True"}]
        },
    }
    assert printer.cells(obj, NOW) == ["x", "True", None, "a", '{"a":1}', "40s"]
    assert printer.columns[3]["priority"] == 1
    assert printer.columns[1]["description"].endswith('[?(@.type=="Ready")].status')


def test_a_watch_sends_columns_once_and_objects_as_asked():
    first = table(
        [{"metadata": META}], printer=custom_printer(None), now=NOW, metadata={}, include="None"
    )
    assert first["rows"] == [{"cells": ["x", "40s"], "object": None}]
    later = table([], printer=custom_printer(None), now=NOW, metadata={}, with_columns=False)
    assert later["columnDefinitions"] is None


def test_partial_objects_are_only_metadata():
    found = partial_list([{"metadata": META, "spec": 1}], metadata={"resourceVersion": "1"})
    assert found["items"] == [
        {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": META}
    ]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        ("{.a.b}", [1]),
        ("a['b']", [1]),
        (".l[0].k", ["x"]),
        (".l[-1].k", ["y"]),
        (".l[*].k", ["x", "y"]),
        ('.l[?(@.k=="y")].n', [2]),
        (".l[?(@.n!=2)].k", ["x"]),
        (".none.b", []),
        (".l[9]", []),
        (r".dots\.in", ["name"]),
    ],
)
def test_json_paths(path, found):
    document = {"a": {"b": 1}, "l": [{"k": "x", "n": 1}, {"k": "y", "n": 2}], "dots.in": "name"}
    assert parse_path(path).find(document) == found


def test_json_paths_of_another_kind_are_refused():
    with pytest.raises(UnsupportedPath, match="cannot read the JSONPath"):
        parse_path("..recursive")


def test_dates_that_are_none_are_said_to_be_invalid():
    printer = custom_printer([{"name": "D", "type": "date", "jsonPath": ".spec.d"}])
    assert printer.cells({"metadata": META, "spec": {"d": "soon"}}, NOW)[1] == "<invalid>"
    later = (NOW + timedelta(hours=1)).isoformat()
    assert printer.cells({"metadata": META, "spec": {"d": later}}, NOW)[1] == "<invalid>"

"""Why something does not work: each sort of trouble, as a cluster shows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.builders import (
    NAME,
    a_claim,
    a_deployment,
    a_job,
    a_plan,
    a_pod,
    an_event,
    everything_healthy,
    owned,
)

from hatoba.operator import diagnosis, status
from hatoba.operator.components import deployments

pytestmark = pytest.mark.alone

APP = f"{NAME}-quay-app"
POD = f"{APP}-7d9c"
STARTED = "2021-09-14T10:51:10Z"


def unready_since(moment):
    return {"type": "Ready", "status": "False", "lastTransitionTime": moment}


def judged(*pods, events=(), suffix="quay-app", progressing="True"):
    ill = a_deployment(suffix, component="base", available=False)
    ill["status"]["conditions"].append({"type": "Progressing", "status": progressing})
    found = owned(ill, *pods).with_events(events)
    return deployments.judge(found, f"{NAME}-{suffix}", absent="", foreign="")


def waiting(reason, message=""):
    return {"state": {"waiting": {"reason": reason, "message": message}}, "ready": False}


def crashed(code=1, *, reason="Error", message="", restarts=3):
    ended = {"exitCode": code, "reason": reason, "message": message}
    return {
        "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
        "lastState": {"terminated": ended},
    }


@pytest.mark.parametrize(
    ("pod", "fact"),
    [
        (
            a_pod("quay-app", container=waiting("ImagePullBackOff", "Back-off pulling")),
            "cannot get its image hatoba:0.1.0",
        ),
        (
            a_pod("quay-app", container=waiting("CreateContainerConfigError", 'secret "s" gone')),
            'container quay-app of Pod {pod} cannot be created (secret "s" gone)',
        ),
        (
            a_pod("quay-app", container=crashed(3, message="a\n2026-11-28T10:00:00Z no disk\n")),
            "container quay-app of Pod {pod} ends with exit code 3 again and again (no disk)",
        ),
        (
            a_pod("quay-app", container=crashed(137, reason="OOMKilled")),
            "is killed again and again for using more memory than its limit",
        ),
        (
            a_pod(
                "quay-app",
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1 nodes are available: 1 Insufficient memory.",
                    }
                ],
            ),
            "Pod {pod} fits on no node (0/1 nodes are available: 1 Insufficient memory)",
        ),
        (a_pod("quay-app", reason="Evicted", message="low on memory."), "was evicted"),
    ],
)
def test_what_a_pod_suffers_from_is_said_with_its_name(pod, fact):
    verdict = judged(pod)
    assert fact.format(pod=POD) in verdict.message
    assert POD in verdict.message
    assert verdict.message.startswith(f"Deployment {APP}: Deployment does not have minimum ")
    assert verdict.diagnosed
    assert verdict.message.endswith(f": {verdict.step}")


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (waiting("ContainerCreating"), "FailedMount", "cannot mount a volume (no such secret)"),
        (
            {"state": {"running": {"startedAt": STARTED}}, "started": True, "ready": False},
            "Unhealthy",
            "runs but is not ready (no such secret)",
        ),
    ],
)
def test_what_only_events_tell_is_told(state, reason, words):
    pod = a_pod("quay-app", container=state, conditions=[unready_since("2021-09-14T10:52:30Z")])
    older = an_event("Pod", POD, reason, "older", at="2021-09-14T10:00:00Z")
    newer = an_event("Pod", POD, reason, "no such secret")
    assert words in judged(pod, events=[newer, older]).message
    other = an_event("Pod", "another", reason, "no such secret")
    assert not judged(pod, events=[other]).diagnosed


def test_failed_probes_of_a_pod_that_was_never_ready_are_its_start():
    state = {"state": {"running": {"startedAt": STARTED}}, "started": True, "ready": False}
    pod = a_pod("quay-app", container=state, conditions=[unready_since("2021-09-14T10:51:00Z")])
    event = an_event("Pod", POD, "Unhealthy", "connection refused")
    assert not judged(pod, events=[event]).diagnosed
    late = judged(pod, events=[event], progressing="False")
    assert "runs but is not ready (connection refused)" in late.message


def test_a_pod_that_starts_is_not_ill():
    starting = {"state": {"running": {}}, "started": False, "ready": False}
    verdict = judged(a_pod("quay-app", container=starting))
    assert not verdict.ready
    assert not verdict.diagnosed
    assert f"describe deployment {APP}" in verdict.message


def test_one_restart_is_an_accident_and_two_are_a_habit():
    once, twice = (crashed(restarts=count) for count in (1, 2))
    for container in (once, twice):
        container["state"] = {"running": {}}
    assert not judged(a_pod("quay-app", container=once)).diagnosed
    assert judged(a_pod("quay-app", container=twice)).diagnosed


def test_pulling_and_backing_off_read_the_same():
    messages = {
        judged(a_pod("quay-app", container=waiting(reason, reason))).message
        for reason in ("ErrImagePull", "ImagePullBackOff")
    }
    assert len(messages) == 1


def test_a_pod_on_its_way_out_explains_nothing():
    pod = a_pod("quay-app", container=crashed())
    pod["metadata"]["deletionTimestamp"] = "2021-09-14T10:52:00Z"
    assert not judged(pod).diagnosed


def test_a_refused_pod_is_said_to_be_refused():
    ill = a_deployment("quay-app", component="base", available=False)
    ill["status"]["conditions"].append(
        {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: quota.'}
    )
    verdict = deployments.judge(owned(ill), APP, absent="", foreign="")
    assert (
        'refuses pods of Deployment example-registry-quay-app (pods "x" is forbidden: quota)'
        in (verdict.message)
    )


def test_a_deployment_scaled_to_zero_says_how_to_scale_it_up():
    idle = a_deployment("quay-app", component="base", replicas=0)
    verdict = deployments.judge(owned(idle), APP, absent="", foreign="")
    assert "scale deployment example-registry-quay-app --replicas=2" in verdict.message


def test_a_claim_without_volume_comes_before_the_pod_that_waits_for_it():
    objects = [o for o in everything_healthy() if "quay-database" not in o["metadata"]["name"]]
    objects += [
        a_claim("quay-database", component="postgres", phase="Pending"),
        a_deployment("quay-database", component="postgres", available=False),
    ]
    pending = status.verdicts_of(a_plan(), owned(*objects))["postgres"]
    assert (pending.reason, pending.ready) == ("PVCPending", False)
    told = an_event(
        "PersistentVolumeClaim",
        f"{NAME}-quay-database",
        "ProvisioningFailed",
        'storageclass "slow" not found',
    )
    failed = status.verdicts_of(a_plan(), owned(*objects).with_events([told]))["postgres"]
    assert failed.reason == "PVCProvisioningFailed"
    assert failed.message == (
        f'Postgres PVC {NAME}-quay-database provisioning failed: storageclass "slow" not found: '
        "see that StorageClass slow exists and provisions ReadWriteOnce volumes"
    )


def test_a_migration_that_crashes_is_not_in_progress():
    pod = a_pod("quay-app-upgrade", container=crashed(message='{"event": "no", "error": "way"}'))
    found = status.migration_of(a_plan(), owned(a_job("quay-app-upgrade"), pod))
    assert found.failure.startswith(
        f"Job {NAME}-quay-app-upgrade fails: container quay-app-upgrade of Pod "
    )
    assert "(no: way)" in found.failure
    pod["status"]["containerStatuses"][0] |= {"state": {"running": {}}}
    assert status.migration_of(a_plan(), owned(a_job("quay-app-upgrade"), pod)).failure


def test_a_migration_whose_pod_merely_starts_is_in_progress():
    pod = a_pod("quay-app-upgrade", container=waiting("ContainerCreating"))
    found = status.migration_of(a_plan(), owned(a_job("quay-app-upgrade"), pod))
    assert found == status.Migration()


@given(st.text())
def test_quotes_are_short_and_on_one_line(text):
    said = diagnosis.last_words(text)
    assert len(said) <= diagnosis.LONGEST_QUOTE
    assert "\n" not in said

"""Environments, command lines, mounts, payloads: the pure parts of a container's making."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.cluster.kubelet.environment import (
    ConfigurationMissing,
    Sources,
    command_line,
    expand,
    resolve_environment,
    service_variables,
)
from hatoba.cluster.kubelet.mounts import (
    Mount,
    MountUnusable,
    Rewriter,
    build_root,
    normalise,
    source_below,
)
from hatoba.cluster.kubelet.payload import PayloadFile, write_payload
from hatoba.cluster.kubelet.status import backoff_text, quality_of


def sources(**objects) -> Sources:
    return Sources(
        config_map=objects.get("config_maps", {}).get,
        secret=objects.get("secrets", {}).get,
        pod={
            "metadata": {"name": "pod", "namespace": "shop", "labels": {"app": "web"}, "uid": "u"},
            "spec": {"nodeName": "node1", "serviceAccountName": "default", "containers": []},
        },
        pod_ip="127.9.0.2",
        host_ip="127.9.0.1",
        allocatable={"cpu": "16", "memory": "64Gi"},
    )


def test_variables_refer_to_earlier_ones():
    container = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C) $$(A)"}]}
    assert resolve_environment(container, sources()) == {"A": "1", "B": "1$(C) $(A)"}


@given(st.text(alphabet="$()AB", max_size=12))
def test_text_without_a_known_name_keeps_everything_but_escapes(text):
    assert expand(text, {}) == text.replace("$$", "$")


def test_values_come_from_config_maps_secrets_fields_and_resources():
    container = {
        "resources": {"requests": {"cpu": "1500m"}},
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "conf"}}],
        "env": [
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "k"}}},
            {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
            {
                "name": "MEMORY",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Gi"}},
            },
        ],
    }
    found = sources(
        config_maps={"conf": {"data": {"a": "b"}}},
        secrets={"sec": {"data": {"k": base64.b64encode(b"hidden").decode()}}},
    )
    assert resolve_environment(container, found) == {
        "P_a": "b",
        "S": "hidden",
        "L": "web",
        "IP": "127.9.0.2",
        "CPU": "2",
        "MEMORY": "64",
    }


def test_a_missing_key_is_named_unless_it_is_optional():
    reference = {"name": "sec", "key": "none"}
    container = {"env": [{"name": "S", "valueFrom": {"secretKeyRef": reference}}]}
    found = sources(secrets={"sec": {"data": {}}})
    with pytest.raises(ConfigurationMissing, match="couldn't find key none in Secret shop/sec"):
        resolve_environment(container, found)
    reference["optional"] = True
    assert resolve_environment(container, found) == {}


def test_a_command_without_arguments_hides_those_of_the_image():
    assert command_line({"command": ["a", "$(X)"]}, {"X": "1"}) == (["a", "1"], None)
    assert command_line({"args": ["b"]}, {}) == (None, ["b"])


def test_services_are_announced_by_variables():
    spec = {"clusterIP": "127.9.128.1", "ports": [{"port": 80, "name": "web-ui"}]}
    headless = {"clusterIP": "None", "ports": [{"port": 80}]}
    services = [
        {"metadata": {"name": "my-db"}, "spec": spec},
        {"metadata": {"name": "other"}, "spec": headless},
    ]
    assert service_variables(services) == {
        "MY_DB_SERVICE_HOST": "127.9.128.1",
        "MY_DB_SERVICE_PORT": "80",
        "MY_DB_SERVICE_PORT_WEB_UI": "80",
    }


def test_only_paths_at_or_below_a_mount_are_rewritten(tmp_path):
    rewriter = Rewriter(tmp_path, ["/conf", "/conf/stack/extra"])
    root = str(tmp_path)
    assert rewriter.word("/conf") == root + "/conf"
    assert rewriter.word("--config=/conf/a") == f"--config={root}/conf/a"
    assert rewriter.word("/configuration") == "/configuration"
    assert rewriter.word("see /conf/a") == "see /conf/a"
    assert rewriter.variables({"A": "/conf/stack/extra"}) == {"A": root + "/conf/stack/extra"}


def test_a_mount_may_lie_within_another_one(tmp_path):
    outer, inner = tmp_path / "outer", tmp_path / "inner"
    for directory in (outer, inner):
        directory.mkdir()
    (outer / "config.yaml").write_text("a")
    (inner / "extra.crt").write_text("b")
    root = tmp_path / "root"
    mounts = [Mount(path="/conf/extra", source=inner), Mount(path="/conf", source=outer)]
    for _ in range(2):
        build_root(root, mounts)
    assert (root / "conf/config.yaml").read_text() == "a"
    assert (root / "conf/extra/extra.crt").read_text() == "b"


def test_a_mount_does_not_hide_files_of_the_one_around_it(tmp_path):
    (tmp_path / "outer/extra").mkdir(parents=True)
    (tmp_path / "outer/extra/precious").touch()
    mounts = [
        Mount(path="/conf", source=tmp_path / "outer"),
        Mount(path="/conf/extra", source=tmp_path),
    ]
    with pytest.raises(MountUnusable, match="hides files"):
        build_root(tmp_path / "root", mounts)


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/"])
def test_mounts_stay_within_the_root(path):
    with pytest.raises(MountUnusable):
        normalise(path)


@pytest.mark.parametrize("path", ["../other", "/etc"])
def test_sub_paths_stay_within_their_volume(path, tmp_path):
    with pytest.raises(MountUnusable, match="leads out"):
        source_below(tmp_path, path)


def file(content: str) -> PayloadFile:
    return PayloadFile(content=content.encode(), mode=0o644)


def test_a_payload_changes_all_at_once(tmp_path):
    assert write_payload(tmp_path / "v", {"a": file("1"), "b": file("1")}, owner=None)
    before = (tmp_path / "v/..data").readlink()
    assert not write_payload(tmp_path / "v", {"a": file("1"), "b": file("1")}, owner=None)
    assert write_payload(tmp_path / "v", {"a": file("2"), "dir/c": file("2")}, owner=None)
    assert (tmp_path / "v/..data").readlink() != before
    assert (tmp_path / "v/a").read_text() == (tmp_path / "v/dir/c").read_text() == "2"
    assert not (tmp_path / "v/b").is_symlink()


def test_nobody_but_their_owner_reads_payloads(tmp_path):
    write_payload(tmp_path / "v", {"a": file("1")}, owner=None)
    assert (tmp_path / "v/a").stat().st_mode & 0o077 == 0
    assert (tmp_path / "v").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (0.2, "200ms")]
)
def test_durations_read_as_in_messages(seconds, text):
    assert backoff_text(seconds) == text


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        (
            {
                "limits": {"cpu": "2", "memory": "1Gi"},
                "requests": {"cpu": "1", "memory": "1Gi"},
            },
            "Burstable",
        ),
    ],
)
def test_quality_of_service_follows_from_resources(resources, quality):
    assert quality_of({"containers": [{"resources": resources}]}) == quality

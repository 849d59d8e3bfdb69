"""A whole cluster from outside: started, killed, stopped, two side by side."""

import base64
import json
import os
import signal
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import yaml

from hatoba.cli.local_api import LocalApi
from hatoba.cluster.blocks import claim_block
from hatoba.cluster.home import Home
from hatoba.cluster.kubelet.attempts import living
from hatoba.cluster.kubelet.names import WrapperMissing, find_wrapper
from hatoba.cluster.lifecycle import (
    ClusterNotStarted,
    cluster_state,
    purge,
    start_cluster,
    stop_cluster,
)
from hatoba.cluster.locking import HomeInUse, hold_home, holder

SECONDS = 20.0
T = TypeVar("T")


@pytest.fixture
def home() -> Iterator[Home]:
    try:
        find_wrapper()
    except WrapperMissing as missing:
        pytest.skip(missing.message)
    with tempfile.TemporaryDirectory(prefix="hatoba-test-home-") as place:
        found = Home(Path(place) / "home")
        Path(place).chmod(0o711)
        found.prepare()
        (found.root / "catalog.yaml").write_text("- {image: 'tiny:*', command: [sleep, '1000']}\n")
        try:
            yield found
        finally:
            stop_cluster(found)


def until(condition: Callable[[], T]) -> T:
    deadline = time.monotonic() + SECONDS
    while not (answer := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


def post(home: Home, path: str, obj: dict) -> dict:
    content = yaml.safe_load(home.kubeconfig.read_text())
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    request = urllib.request.Request(
        cluster["server"] + path,
        data=json.dumps(obj).encode(),
        headers={"Authorization": f"Bearer {user['token']}", "Content-Type": "application/json"},
    )
    context = ssl.create_default_context(cadata=authority)
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        return json.load(answer)


def run_pod(home: Home) -> dict:
    api = LocalApi.from_kubeconfig(home.kubeconfig)
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    until(lambda: any(one["metadata"]["name"] == "default" for one in api.items(accounts)))
    spec = {"containers": [{"name": "c", "image": "tiny:1"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
    post(home, "/api/v1/namespaces/default/pods", pod)
    return until_running(home)


def until_running(home: Home) -> dict:
    api = LocalApi.from_kubeconfig(home.kubeconfig)

    def running() -> dict | None:
        pod = api.get("/api/v1/namespaces/default/pods/pod")
        statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
        return pod if statuses[0].get("ready") else None

    pod = until(running)
    assert pod is not None
    return pod


@pytest.mark.cluster
def test_a_killed_cluster_comes_back_and_finds_its_pods(home):
    first = start_cluster(home)
    before = run_pod(home)
    os.kill(first.process, signal.SIGKILL)
    until(lambda: cluster_state(home).process not in {None, first.process})
    second = cluster_state(home)
    assert second.port == first.port
    after = until_running(home)
    key = "containerStatuses"
    assert after["status"][key][0]["containerID"] == before["status"][key][0]["containerID"]


@pytest.mark.cluster
def test_stopping_leaves_no_process_and_starting_again_runs_the_pods_again(home):
    state = start_cluster(home)
    run_pod(home)
    assert stop_cluster(home) == 1
    assert list(living(home.pods)) == []
    assert holder(home) is None
    for pid in (state.supervisor, state.process):
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
    start_cluster(home)
    assert until_running(home)["status"]["containerStatuses"][0]["restartCount"] >= 0
    stop_cluster(home)
    purge(home)
    assert not home.root.exists()
    home.prepare()


@pytest.mark.cluster
def test_a_cluster_whose_supervisor_was_killed_is_stopped_all_the_same(home):
    state = start_cluster(home)
    run_pod(home)
    os.kill(state.supervisor, signal.SIGKILL)
    until(lambda: holder(home) is None)
    stop_cluster(home)
    assert list(living(home.pods)) == []
    until(lambda: not Path(f"/proc/{state.process}").exists())


@pytest.mark.cluster
def test_a_cluster_that_cannot_start_says_why_and_leaves_nothing(home):
    home.catalog.write_text("{")
    with pytest.raises(ClusterNotStarted) as caught:
        start_cluster(home)
    assert "catalog.yaml is not YAML" in caught.value.details
    assert holder(home) is None


@pytest.mark.cluster
def test_two_homes_run_side_by_side(home):
    first = start_cluster(home)
    with tempfile.TemporaryDirectory(prefix="hatoba-test-home-") as place:
        other = Home(Path(place) / "home")
        try:
            second = start_cluster(other)
            assert first.port != second.port
            assert home.remembered().block != other.remembered().block
        finally:
            stop_cluster(other)
    assert cluster_state(home).is_serving


def test_a_home_has_one_holder(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    assert holder(home) is None
    with hold_home(home):
        assert holder(home) == os.getpid()
        with pytest.raises(HomeInUse), hold_home(home):
            pass
    assert holder(home) is None


def test_blocks_of_addresses_are_claimed_once(tmp_path):
    first = claim_block(tmp_path, wanted=0)
    second = claim_block(tmp_path, wanted=first.number)
    try:
        assert first.number != second.number
    finally:
        first.release()
        second.release()


def test_what_is_secret_is_its_owners_alone(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    for path in (home.pki, home.objects):
        assert path.stat().st_mode & 0o077 == 0
    assert home.root.stat().st_mode & 0o777 == 0o711


def test_nothing_is_purged_that_is_no_home(tmp_path):
    (tmp_path / "precious").touch()
    assert not purge(Home(tmp_path))
    assert (tmp_path / "precious").exists()

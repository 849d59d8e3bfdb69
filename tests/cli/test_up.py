"""`hatoba up` as a person meets it: twice, interrupted, in homes that are no use."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from lightkube.models.core_v1 import NamespaceStatus
from lightkube.resources.core_v1 import Namespace

from hatoba.cli import applying, deploying
from hatoba.cli.up import _is_well
from hatoba.cluster.home import Home, HomeUnusable
from hatoba.cluster.kubelet.names import WrapperMissing, find_wrapper
from hatoba.cluster.kubelet.processes import identify
from hatoba.cluster.lifecycle import cluster_state, purge, start_cluster, stop_cluster
from hatoba.cluster.locking import holder

COMMAND = (sys.executable, "-m", "hatoba.cli.main", "up", "--cluster-only", "--timeout", "40")


@pytest.fixture
def home():
    try:
        find_wrapper()
    except WrapperMissing as missing:
        pytest.skip(missing.message)
    with tempfile.TemporaryDirectory(prefix="hatoba-test-up-") as place:
        Path(place).chmod(0o711)
        found = Home(Path(place) / "home")
        try:
            yield found
        finally:
            stop_cluster(found)
            purge(found)


def up(home: Home, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, *options],
        env={**os.environ, "HATOBA_HOME": str(home.root)}, capture_output=True, text=True,
        timeout=90, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.cluster
def test_the_second_time_nothing_is_changed(home):
    code, first = up(home)
    assert code == 0, first
    assert "operator  installed\n" in first
    process = cluster_state(home).process
    code, second = up(home)
    assert code == 0, second
    assert "cluster   runs already" in second
    assert "operator  is installed already\n" in second
    assert cluster_state(home).process == process


@pytest.mark.cluster
def test_after_an_interruption_the_next_one_goes_on(home):
    # A shell's background job ignores SIGINT, and so would what it starts.
    interrupted = subprocess.Popen(
        ["env", "--default-signal=INT", *COMMAND], env={**os.environ, "HATOBA_HOME": str(home.root)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        while holder_of(home) is None:
            assert interrupted.poll() is None
        interrupted.send_signal(signal.SIGINT)
        output, _ = interrupted.communicate(timeout=20)
    finally:
        interrupted.kill()
        interrupted.wait()
    assert interrupted.returncode == 130, output
    assert "hatoba up: interrupted" in output
    assert "`hatoba down` stops it" in output
    code, output = up(home)
    assert code == 0, output


def holder_of(home: Home) -> int | None:
    return holder(home) if home.root.exists() else None


@pytest.mark.cluster
def test_two_at_once_start_one_cluster(home):
    states = []
    threads = [threading.Thread(target=lambda: states.append(start_cluster(home))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=40)
    assert len(states) == 2
    assert states[0].is_serving
    assert states[0] == states[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="pods run as another user only for root")
def test_a_home_that_servers_cannot_reach_is_refused(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(HomeUnusable, match="only its owner may enter"):
        Home(closed / "home").check_reachable()


def test_a_file_in_the_way_is_said_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    code, output = up(Home(tmp_path / "file" / "home"))
    assert code == 1
    assert "Traceback" not in output
    assert "hatoba up: " in output
    assert "cannot be used" in output


def pod(name: str, **container: object) -> dict:
    status = {"phase": "Running", "containerStatuses": [{"ready": False, **container}]}
    return {"metadata": {"name": name, "namespace": "n"}, "status": status}


class Pods:
    """What a client says of pods."""

    def __init__(self, *pods: dict) -> None:
        self.pods = pods

    def list(self, _kind, *, namespace):
        return [Listed(pod) for pod in self.pods]

    def log(self, name, *, namespace, tail_lines):
        return iter([f"{name} line {number}\n" for number in range(tail_lines)])


class Listed:
    def __init__(self, document: dict) -> None:
        self.document = document

    def to_dict(self) -> dict:
        return self.document


def test_a_failure_shows_pods_that_crash_last_and_at_length():
    client = Pods(
        pod("crashes", restartCount=4, state={"waiting": {"reason": "CrashLoopBackOff"}}),
        pod("waits", restartCount=0, state={"running": {}}),
        pod("refused", state={"waiting": {"reason": "ErrImageNeverPull", "message": "no image"}}),
    )
    lines = deploying._troubles(client, "n").splitlines()
    headings = [line for line in lines if line.startswith("pod ")]
    assert headings == [
        "pod waits: Running, not ready",
        "pod crashes: CrashLoopBackOff",
        "pod refused: ErrImageNeverPull: no image",
    ]
    assert sum("waits line" in line for line in lines) == deploying.BRIEF_LINES
    assert sum("crashes line" in line for line in lines) == deploying.LOG_LINES


def ready_pod(container_id: str) -> dict:
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"ready": True, "containerID": container_id}],
    }
    return {"metadata": {"name": "p", "namespace": "n"}, "status": status}


def test_what_was_written_of_a_pod_before_a_stop_does_not_count():
    me = identify(os.getpid())
    assert me is not None
    assert _is_well(ready_pod(f"hatoba://{me.pid}-{me.start_time:x}"))
    assert not _is_well(ready_pod(f"hatoba://{me.pid}-{me.start_time - 1:x}"))
    assert not _is_well(ready_pod(""))
    assert _is_well({"status": {"phase": "Succeeded"}})


def namespace(**metadata: object) -> Namespace:
    return Namespace.from_dict({"metadata": {"name": "n", "uid": "1", **metadata}})  # type: ignore[return-value]  # the library returns its base class


def test_bookkeeping_and_status_are_no_change_but_labels_are():
    first = namespace(resourceVersion="1", labels={"a": "b"})
    entry = {"manager": "m", "operation": "Apply", "fieldsV1": {}}
    again = namespace(resourceVersion="2", labels={"a": "b"}, managedFields=[entry])
    again.status = NamespaceStatus(phase="Active")
    assert applying.substance(first) == applying.substance(again)
    other = namespace(resourceVersion="2", labels={"a": "c"})
    assert applying.substance(first) != applying.substance(other)

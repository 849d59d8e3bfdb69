"""Starting and stopping a cluster from outside: what `hatoba up`, `down` and `status` do with it.

Nothing here asks the cluster itself to stop its pods: whatever state it is in, the records on disk
name every process that belongs to it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hatoba.cluster.home import Home
from hatoba.cluster.kubelet import processes
from hatoba.cluster.kubelet.attempts import Attempt, Started, living
from hatoba.cluster.kubelet.processes import ProcessId
from hatoba.cluster.locking import holder
from hatoba.cluster.supervisor import DEATH, IN_USE
from hatoba.config.loader import environment
from hatoba.kernel.errors import Unavailable
from hatoba.kernel.json import JsonObject

_SUPERVISOR: Final = Path(__file__).with_name("supervisor.py")
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 20.0
_GRACE_SECONDS: Final = 12.0
_PATIENCE: Final = 2
"""A cluster process that ends twice before it serves will not serve at the third time either."""
_PAUSE: Final = 0.05
_SHOWN_LINES: Final = 15


class ClusterNotStarted(Unavailable):
    """The cluster process did not come up; `details` are the last lines of its log."""

    def __init__(self, message: str, *, details: str) -> None:
        self.details = details
        super().__init__(message)


class NotStopped(Unavailable):
    """Processes are left that could not be ended."""


@dataclass(slots=True, frozen=True, kw_only=True)
class ClusterState:
    """What is known of a cluster without asking it."""

    supervisor: int | None
    """The process that holds the home; None when no cluster runs there."""
    process: int | None
    """The cluster process, once it serves."""
    port: int | None

    @property
    def is_serving(self) -> bool:
        """Whether it runs and its API answers."""
        return self.supervisor is not None and self.process is not None


def cluster_state(home: Home) -> ClusterState:
    """Look at the lock and at what the cluster process wrote when it began to serve."""
    supervisor = holder(home)
    record = _process_record(home) if supervisor is not None else None
    if record is None:
        return ClusterState(supervisor=supervisor, process=None, port=None)
    return ClusterState(supervisor=supervisor, process=record["pid"], port=record["port"])


def _process_record(home: Home) -> JsonObject | None:
    try:
        record: JsonObject = json.loads(home.process.read_bytes())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    known = ProcessId(pid=record["pid"], start_time=record["start_time"])
    return record if processes.is_alive(known) else None


def start_cluster(home: Home, *, api_port: int = 0) -> ClusterState:
    """Start the supervisor and return when the cluster serves.

    A cluster that is starting already, for somebody who was interrupted or who came first, is
    waited for.

    Raises:
        ClusterNotStarted: it did not; nothing is left running.
    """
    home.prepare()
    log_begin = home.log.stat().st_size if home.log.exists() else 0
    command = [sys.executable, "-m", "hatoba.cli.main", "cluster", "run", "--supervised"]
    if api_port:
        command += ["--api-port", str(api_port)]
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_SUPERVISOR), str(home.lock), str(home.log), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=_environment(home),
    )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and _deaths(home, log_begin) < _PATIENCE:
        state = cluster_state(home)
        if state.is_serving:
            # It goes on without us; Popen must not complain that nobody waited.
            process.returncode = 0
            return state
        if process.poll() not in {None, IN_USE}:
            break
        time.sleep(_PAUSE)
    details = last_lines(home.log)
    stop_cluster(home)
    process.wait(_STOP_SECONDS)
    raise ClusterNotStarted("the embedded cluster did not start", details=details)


def _deaths(home: Home, log_begin: int) -> int:
    """Return how often the cluster process has ended since the log was that long."""
    try:
        with home.log.open("rb") as file:
            file.seek(log_begin)
            return file.read().count(DEATH.encode())
    except FileNotFoundError:
        return 0


def _environment(home: Home) -> dict[str, str]:
    # What a user's shell carries is none of the pods' business, but PATH finds the servers.
    given = environment()
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "XDG_STATE_HOME")
    return {name: given[name] for name in kept if name in given} | {"HATOBA_HOME": str(home.root)}


def last_lines(path: Path, *, count: int = _SHOWN_LINES) -> str:
    """Return the end of a log."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""


def stop_cluster(home: Home) -> int:
    """End the cluster and everything it started; return how many containers ran.

    Raises:
        NotStopped: something could not be ended.
    """
    _stop_supervisor(home)
    return _stop_containers(home)


def _stop_supervisor(home: Home) -> None:
    state = cluster_state(home)
    if state.supervisor is None:
        return
    _signal(state.supervisor, signal.SIGTERM)
    if _until(lambda: holder(home) is None, seconds=_STOP_SECONDS):
        return
    for pid in (state.supervisor, state.process):
        if pid is not None:
            _signal(pid, signal.SIGKILL)
    if not _until(lambda: holder(home) is None, seconds=_STOP_SECONDS):
        raise NotStopped(f"process {state.supervisor} does not end")


def _signal(pid: int, number: int) -> None:
    process = processes.identify(pid)
    if process is not None:
        processes.signal_process(process, number)


def _stop_containers(home: Home) -> int:
    # A cluster process without a supervisor to tell it (killed) would start pods again.
    record = _process_record(home)
    if record is not None:
        _signal(record["pid"], signal.SIGTERM)
        _until(lambda: _process_record(home) is None, seconds=_STOP_SECONDS)
    running = list(living(home.pods))
    for attempt, started in running:
        attempt.send(started, attempt.quick_signal())
    if not _until(lambda: not _remaining(running), seconds=_GRACE_SECONDS):
        for attempt, started in _remaining(running):
            attempt.kill(started)
        if not _until(lambda: not _remaining(running), seconds=_STOP_SECONDS):
            pids = ", ".join(str(started.program.pid) for _, started in _remaining(running))
            raise NotStopped(f"processes {pids} do not end")
    return len(running)


def _remaining(running: list[tuple[Attempt, Started]]) -> list[tuple[Attempt, Started]]:
    return [
        (attempt, started)
        for attempt, started in running
        if processes.is_alive(started.shim) or processes.is_alive(started.program)
    ]


def _until(condition: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def purge(home: Home) -> bool:
    """Remove all state of a stopped cluster; False when there was none."""
    if not (home.root / "cluster.json").exists():
        return False
    for entry in home.root.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not os.path.ismount(home.root):
        home.root.rmdir()
    return True

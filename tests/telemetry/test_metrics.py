"""Values of metrics are told apart by process, although none asks for its number."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

COUNTING = """
import os
from hatoba.telemetry.metrics import render_metrics, share_metrics
directory = share_metrics()
from prometheus_client import Counter
counted = Counter("counted", "Counted.")
counted.inc()
child = os.fork()
counted.inc(10 if child == 0 else 100)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
print(len(list(directory.glob("counter_*.db"))))
print(render_metrics()[0].decode())
"""


def test_a_fork_counts_in_a_file_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNTING],
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    files, *lines = done.stdout.splitlines()
    assert files == "2"
    assert "counted_total 111.0" in lines


FORKING = """
import os, signal
from hatoba.telemetry.metrics import share_metrics
directory = share_metrics()
child = os.fork()
if child:
    print(child, directory, flush=True)
signal.pause()
"""
STARTING = "from hatoba.telemetry.metrics import share_metrics; print(share_metrics())"


def start(place: Path) -> str:
    """Let a server start and end; return where it had its values."""
    done = subprocess.run(
        [sys.executable, "-c", STARTING],
        capture_output=True,
        text=True,
        check=True,
        env={"TMPDIR": str(place)},
    )
    return done.stdout.strip()


def kill(pid: int) -> None:
    """Return when a process that need not be a child is gone, with all that it held."""
    process = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    ended = select.poll()
    ended.register(process, select.POLLIN)
    assert ended.poll(60_000)
    os.close(process)


def test_what_a_killed_server_left_is_removed_by_the_next_and_never_before(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKING],
        stdout=subprocess.PIPE,
        text=True,
        env={"TMPDIR": str(tmp_path)},
    ) as server:
        assert server.stdout is not None
        child, left = server.stdout.readline().split()
        start(tmp_path)
        assert Path(left).exists()
        kill(server.pid)
    start(tmp_path)
    assert Path(left).exists(), "a fork of it lives"
    kill(int(child))
    assert Path(start(tmp_path)).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_directory_of_values_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "hatoba-shared-metrics-link").symlink_to(kept)
    (tmp_path / "hatoba-shared-metrics-file").touch()
    (tmp_path / "hatoba-metrics-of-before").mkdir()
    before = sorted(tmp_path.iterdir())
    start(tmp_path)
    assert sorted(tmp_path.iterdir()) == before

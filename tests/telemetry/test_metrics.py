"""Values of metrics are told apart by process, although none asks for its number."""

import subprocess
import sys

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

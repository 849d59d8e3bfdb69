"""What was measured where: date, machine, versions."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from bench.load.clients import CHECKOUT
from bench.plan import Plan
from bench.servers import peer
from bench.servers.postgresql import program
from hatoba import __version__
from hatoba.kernel.clock import Clock, rfc3339


def facts(*, plan: Plan, directory: Path, clock: Clock) -> list[tuple[str, str]]:
    """Return names and values for the head of the page."""
    return [
        ("date", rfc3339(clock.now())),
        ("revision", _revision()),
        ("run", f"{plan.label}: {plan.rounds} round(s) of {plan.seconds} s per row and side"),
        ("machine", f"{os.cpu_count()} x {_processor()}, {_memory_gib()} GiB, Linux {_kernel()}"),
        ("files on", _file_system(directory)),
        ("load average before", " ".join(f"{value:.2f}" for value in os.getloadavg())),
        ("hatoba", f"{__version__}, Python {platform.python_version()}"),
        ("PostgreSQL", _output(program("postgres"), "--version")),
        ("peer", peer.version()),
        ("client", f"{_output('wrk', '-v').partition(' Copyright')[0]}; lean client of bench/load"),
    ]


def _revision() -> str:
    revision = _output("git", "-C", str(CHECKOUT), "rev-parse", "--short=12", "HEAD")
    changed = _output("git", "-C", str(CHECKOUT), "status", "--porcelain", "--", "src", "bench")
    return f"{revision}{' with changes' if changed else ''}"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30))


def _kernel() -> str:
    return platform.release() if sys.platform == "linux" else sys.platform


def _file_system(directory: Path) -> str:
    return _output("stat", "-f", "-c", "%T", str(directory))

"""A PostgreSQL of our own: durable, with the settings of the database pod."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.model import BenchmarkFailed
from bench.servers.side import START_SECONDS, end, free_port
from hatoba.cluster.catalog.postgresql import SETTINGS as POD_SETTINGS
from hatoba.operator.components.postgres import MOST_CONNECTIONS, SHARED_BUFFERS

SETTINGS: Final = POD_SETTINGS | {
    "listen_addresses": "127.0.0.1",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": str(MOST_CONNECTIONS),
    "shared_buffers": SHARED_BUFFERS,
}
"""As operator and catalog start a database; what makes it durable is named once more."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Postgresql:
    """A running server with one database."""

    pid: int
    url: str
    log: Path
    psql: str

    def execute(self, *statements: str) -> str:
        """Run statements, each in a transaction of its own; return what they print.

        Raises:
            BenchmarkFailed: one was refused.
        """
        flags = [part for statement in statements for part in ("-c", statement)]
        done = subprocess.run(
            [self.psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *flags, self.url],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchmarkFailed(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()


def program(name: str) -> str:
    """Find a program of PostgreSQL, also where Debian hides it.

    Raises:
        BenchmarkFailed: it is not installed.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(debian[-1]) if debian else shutil.which(name)
    if found is None:
        raise BenchmarkFailed(f"{name} is not installed (Debian: postgresql)")
    return found


@contextmanager
def running_postgresql(directory: Path) -> Iterator[Postgresql]:
    """Make a database below `directory` and serve it while the block runs."""
    directory.mkdir()
    # PostgreSQL refuses to run as root.
    owner = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    if owner:
        shutil.chown(directory, **owner)
    data = directory / "data"
    made = subprocess.run(
        [program("initdb"), "-D", data, "-U", "hatoba", "-A", "trust", "-E", "UTF8", "--locale=C"],
        check=False,
        capture_output=True,
        text=True,
        cwd=directory,
        **owner,  # type: ignore[call-overload]  # user and group, or nothing
    )
    if made.returncode:
        raise BenchmarkFailed(f"initdb: {made.stderr.strip()}")
    port, log = free_port(), directory / "log"
    flags = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    with log.open("wb") as output:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [program("postgres"), "-D", data, "-p", str(port), *flags],
            stdout=output,
            stderr=output,
            cwd=directory,
            **owner,  # type: ignore[call-overload]  # user and group, or nothing
        )
    url = f"postgresql://hatoba@127.0.0.1:{port}/postgres"
    server = Postgresql(pid=process.pid, url=url, log=log, psql=program("psql"))
    try:
        _wait(server, process=process)
        yield server
    finally:
        end(process, number=signal.SIGINT)


def _wait(server: Postgresql, *, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            server.execute("SELECT 1")
        except BenchmarkFailed:
            time.sleep(0.05)
        else:
            return
    raise BenchmarkFailed(f"PostgreSQL did not start: {server.log.read_text()[-2000:]}")

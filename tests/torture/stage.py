"""The stage: a PostgreSQL of one's own, and registries upon it, to be stopped, killed and paused.

Unlike the server that other tests share, this PostgreSQL writes as in production: a commit that
it acknowledged survives its own crash.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from tests import bytecode
from tests.ports import free_port
from tests.postgresql import program
from tests.torture.client import Broken, Client
from tests.torture.ledger import Ledger

USER, PASSWORD = "admin", "password1"


@dataclass(kw_only=True)
class Postgres:
    """A server that can be stopped in every way and started again upon its data."""

    directory: Path
    port: int
    owner: dict[str, Any]
    """What subprocess is told of the account that runs it: PostgreSQL refuses root."""
    environment: dict[str, str] = field(default_factory=dict)
    connections: int = 100
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://hatoba@127.0.0.1:{self.port}/postgres"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        executable = program("postgres")
        assert executable is not None
        flags = ["-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=32MB"]
        flags += ["-c", f"max_connections={self.connections}"]
        with (self.directory / "log").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(executable, "-D", f"{self.directory}/data", "-p", str(self.port)),
                    *("-k", str(self.directory), *flags),
                ],
                stdout=output,
                stderr=output,
                cwd=self.directory,
                env={**os.environ, **self.environment},
                **self.owner,
            )
        deadline = time.monotonic() + 60
        while not self.answers():
            ready = self.process.poll() is None and time.monotonic() < deadline
            assert ready, (self.directory / "log").read_text()[-3000:]
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast; SIGQUIT: immediate, as after a crash. Spec: PostgreSQL, 19.5.

        A fast one ends with a checkpoint, which takes a minute where the disk is busy.
        """
        assert self.process is not None
        self.process.send_signal(how)
        try:
            self.process.wait(240)
        except subprocess.TimeoutExpired:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            titles = [
                Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
                for pid in children.read_text().split()
            ]
            told = (self.directory / "log").read_text()[-3000:]
            raise AssertionError(f"PostgreSQL does not stop: {titles}: {told}") from None

    def answers(self) -> bool:
        try:
            self.query("SELECT 1")
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        return True

    def query(self, statement: str, *, url: str | None = None):
        async def fetch():
            connection = await asyncpg.connect(url or self.url, timeout=5)
            try:
                return await connection.fetch(statement)
            finally:
                await connection.close()

        return asyncio.run(fetch())


@contextmanager
def running_postgres(
    parent: Path | None = None,
    *,
    environment: dict[str, str] | None = None,
    connections: int = 100,
) -> Iterator[Postgres]:
    """Give a fresh server; skips where PostgreSQL is not installed."""
    initdb = program("initdb")
    if initdb is None:
        pytest.skip("no PostgreSQL server programs (Debian: postgresql)")
    directory = Path(tempfile.mkdtemp(prefix="hatoba-torture-", dir=parent))
    owner: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    if owner:
        shutil.chown(directory, **owner)
    subprocess.run(
        [
            *(initdb, "-D", f"{directory}/data", "-U", "hatoba", "--auth=trust"),
            *("-E", "UTF8", "--locale=C", "-N"),
        ],
        check=True,
        capture_output=True,
        cwd=directory,
        **owner,
    )
    server = Postgres(
        directory=directory,
        port=free_port(),
        owner=owner,
        environment=environment or {},
        connections=connections,
    )
    server.start()
    try:
        yield server
    finally:
        if server.is_running:
            server.stop(signal.SIGQUIT)
        shutil.rmtree(directory, ignore_errors=True)


@dataclass(kw_only=True)
class Replica:
    """One registry: a supervisor, its workers and its duties, in a process group of its own."""

    directory: Path
    port: int
    log: Path
    bind: str
    prefix: tuple[str, ...] = ()
    """What the command is run by, such as faketime."""
    environment: dict[str, str] = field(default_factory=dict)
    module: str = "hatoba.cli.main"
    drain_seconds: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self, *, patience: float = 60.0) -> None:
        self.launch()
        self.wait_until_ready(patience=patience)

    def launch(self) -> None:
        command = ["registry", "serve", "--config", str(self.directory)]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(*self.prefix, sys.executable, "-m", self.module, *command),
                    *("--listen", f"127.0.0.1:{self.port}"),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=bytecode.environment(
                    HATOBA_BIND=self.bind,
                    HATOBA_DATA=str(self.directory),
                    HATOBA_DRAIN_SECONDS=str(self.drain_seconds),
                    WORKER_COUNT="2",
                    **self.environment,
                ),
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def is_ready(self) -> bool:
        client = Client(port=self.port, user="", password="", timeout=10)
        try:
            return client.send("GET", "/health/instance").status == 200
        except Broken:
            return False

    def wait_until_ready(self, *, patience: float = 60.0) -> None:
        """Wait for what a readiness probe would see; nobody helps."""
        deadline = time.monotonic() + patience
        while not self.is_ready():
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, "not ready again: " + self.log.read_text()[-3000:]
            time.sleep(0.1)

    def children(self) -> list[int]:
        """Return the pids of workers and duties that run now."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def signal_all(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """kill -9 of everything at once, as when a machine is gone."""
        self.signal_all(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(30)

    def stop(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def failures(self) -> list[str]:
        """Return what the log tells of requests that failed unexpectedly."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "request failed" in line]


@dataclass(kw_only=True)
class Stage:
    """Registries that share a database and a directory of blobs."""

    directory: Path
    postgres: Postgres
    replicas: list[Replica]
    ledger: Ledger = field(default_factory=Ledger)
    token: str = ""

    @property
    def storage(self) -> Path:
        return self.directory / "storage"

    def client(self, replica: int = 0, **extra) -> Client:
        port = self.replicas[replica].port
        return Client(
            port=port,
            user=USER,
            password=PASSWORD,
            service=f"localhost:{self.replicas[0].port}",
            ledger=self.ledger,
            **extra,
        )

    def api(self, method: str, path: str, *, replica: int = 0, **content):
        """Call the REST API as the administrator; the answer must be a success."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        body = json.dumps(content) if content else None
        answer = self.client(replica).send(method, f"/api/v1{path}", body=body, headers=headers)
        assert answer.status < 300, answer
        return json.loads(answer.body) if answer.body else None

    def initialize(self) -> None:
        answer = self.api(
            "POST",
            "/user/initialize",
            username=USER,
            password=PASSWORD,
            email="admin@example.com",
            access_token=True,
        )
        self.token = answer["access_token"]

    def uploads(self) -> tuple[int, list[str]]:
        """Return how many uploads the database knows, and which files there are of any."""
        rows = self.postgres.query("SELECT count(*) AS n FROM blobupload")[0]["n"]
        directory = self.storage / "uploads"
        files = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
        return rows, files

    def expire_uploads(self, *, patience: float = 60.0) -> None:
        """Let days pass for every upload, and wait until the registry's own duty drops them.

        The first registry is restarted, as its duties look for old uploads when they start.
        """
        [replica, *_] = self.replicas
        replica.stop()
        self.postgres.query("UPDATE blobupload SET created = created - interval '4 days'")
        # A killed process could not give back what it had leased.
        self.postgres.query("DELETE FROM hatoba_lease")
        directory = self.storage / "uploads"
        for path in directory.iterdir() if directory.is_dir() else ():
            aged = path.stat().st_mtime - 4 * 86400
            os.utime(path, (aged, aged))
        replica.start()
        deadline = time.monotonic() + patience
        while self.uploads() != (0, []):
            assert time.monotonic() < deadline, f"uploads stay for ever: {self.uploads()}"
            time.sleep(0.2)

    def verdict(self) -> None:
        """Nothing is lost, every answer was clean, no request failed in an unforeseen way."""
        self.ledger.verdict()
        assert [line for replica in self.replicas for line in replica.failures()] == []


def make_replica(directory: Path, number: int, *, port: int | None = None, **extra) -> Replica:
    port = port or free_port()
    # An address of its own, as a pod has: the port of metrics is fixed.
    bind = f"127.{port >> 8}.{port & 255}.9"
    return Replica(
        directory=directory, port=port, log=directory / f"log-{number}", bind=bind, **extra
    )


@contextmanager
def staged(
    directory: Path,
    postgres: Postgres,
    *,
    replicas: int = 1,
    prefix: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    drain_seconds: int = 0,
    **config: object,
) -> Iterator[Stage]:
    """Run registries upon a database; `config` completes config.yaml."""
    players = [
        make_replica(
            directory,
            number,
            prefix=prefix,
            environment=environment or {},
            drain_seconds=drain_seconds,
        )
        for number in range(replicas)
    ]
    write_configuration(directory, postgres, hostname=f"localhost:{players[0].port}", **config)
    stage = Stage(directory=directory, postgres=postgres, replicas=players)
    subprocess.run(
        [sys.executable, "-m", "hatoba.cli.main", "registry", "migrate", "--config", directory],
        check=True,
        capture_output=True,
        env=bytecode.environment(),
    )
    try:
        for replica in players:
            replica.start()
        stage.initialize()
        yield stage
    finally:
        for replica in stage.replicas:
            if replica.process is not None and replica.process.poll() is None:
                # One that a test left stopped could not even end.
                replica.signal_all(signal.SIGCONT)
                replica.stop()


def write_configuration(
    directory: Path, postgres: Postgres, *, hostname: str, **config: object
) -> None:
    content = {
        "BROWSER_API_CALLS_XHR_ONLY": False,
        "DATABASE_SECRET_KEY": "d" * 64,
        "DB_URI": postgres.url,
        "DISTRIBUTED_STORAGE_CONFIG": {"default": ["LocalStorage", {"storage_path": "storage"}]},
        "DISTRIBUTED_STORAGE_PREFERENCE": ["default"],
        "FEATURE_USER_INITIALIZE": True,
        "SECRET_KEY": "s" * 64,
        "SERVER_HOSTNAME": hostname,
        "SUPER_USERS": [USER],
        **config,
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(content))

"""A registry as a process of its own, stand-alone or upon PostgreSQL, and clients for it."""

import http.client
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml
from tests import bytecode
from tests.blackbox.images import Layout
from tests.ports import free_port

PASSWORD = "password1"


@dataclass(kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self) -> str:
        code: str = self.json["errors"][0]["code"]
        return code


@dataclass(kw_only=True)
class Registry:
    """A running registry and how to reach it."""

    process: subprocess.Popen[bytes]
    port: int
    directory: Path
    database_uri: str
    log: Path
    metrics_host: str = ""
    users: dict[str, str] = field(default_factory=dict)
    token: str = ""

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def call(self, method, path, *, body=None, headers=None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=lower, body=content)

    def api(self, method, path, **content) -> Answer:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        body = json.dumps(content) if content else None
        return self.call(method, f"/api/v1{path}", body=body, headers=headers)

    def bearer(self, *scopes: str, user: str | None = "admin") -> dict[str, str]:
        """Get a registry token; return the header that carries it."""
        query = urlencode([("service", self.host), *(("scope", scope) for scope in scopes)])
        headers = {}
        if user is not None:
            pair = b64encode(f"{user}:{self.users[user]}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        answer = self.call("GET", f"/v2/auth?{query}", headers=headers)
        assert answer.status == 200, answer.body
        return {"Authorization": f"Bearer {answer.json['token']}"}

    def workers(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


def wait_until_healthy(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/instance", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            running = process.poll() is None and time.monotonic() < deadline
            assert running, log.read_text()
        time.sleep(0.05)


@contextmanager
def started(command, *, directory, port, database_uri, environment=None):
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "hatoba.cli.main", *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=bytecode.environment(**{"HATOBA_DRAIN_SECONDS": "0", **(environment or {})}),
        )
    try:
        wait_until_healthy(port, process, log)
        yield Registry(
            process=process,
            port=port,
            directory=directory,
            database_uri=database_uri,
            log=log,
        )
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        unexpected = [line for line in log.read_text().splitlines() if "request failed" in line]
        assert unexpected == [], "the registry answered 500"


def initialize(registry: Registry) -> None:
    registry.users["admin"] = PASSWORD
    answer = registry.api(
        "POST",
        "/user/initialize",
        username="admin",
        password=PASSWORD,
        email="admin@example.com",
        access_token=True,
    )
    assert answer.status == 200, answer.body
    registry.token = answer.json["access_token"]


@contextmanager
def standalone(directory: Path) -> Iterator[Registry]:
    port = free_port()
    command = ["registry", "serve", "--data", str(directory), "--listen", f"127.0.0.1:{port}"]
    uri = f"sqlite:///{directory}/registry.db"
    with started(command, directory=directory, port=port, database_uri=uri) as registry:
        initialize(registry)
        yield registry


@contextmanager
def restarted(registry: Registry) -> Iterator[None]:
    """Start a stand-alone registry again upon what it left behind."""
    listen = f"127.0.0.1:{registry.port}"
    command = ["registry", "serve", "--data", str(registry.directory), "--listen", listen]
    with started(
        command,
        directory=registry.directory,
        port=registry.port,
        database_uri=registry.database_uri,
    ):
        yield


@contextmanager
def on_postgresql(
    directory: Path, url: str, *, drain: str = "0", adopted: bool = False, **config
) -> Iterator[Registry]:
    """Run the registry as a pod does, with two workers; the port of metrics is its own."""
    port = free_port()
    content = {
        "BROWSER_API_CALLS_XHR_ONLY": False,
        "DATABASE_SECRET_KEY": "d" * 64,
        "DB_URI": url,
        "DISTRIBUTED_STORAGE_CONFIG": {"default": ["LocalStorage", {"storage_path": "storage"}]},
        "DISTRIBUTED_STORAGE_PREFERENCE": ["default"],
        "FEATURE_USER_INITIALIZE": True,
        "SECRET_KEY": "s" * 64,
        "SERVER_HOSTNAME": f"localhost:{port}",
        "SUPER_USERS": ["admin"],
        **config,
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(content))
    # An address of its own, as a pod has: the port of metrics is fixed.
    bind = f"127.{port >> 8}.{port & 255}.7"
    environment = {
        "HATOBA_DATA": str(directory),
        "HATOBA_BIND": bind,
        "HATOBA_DRAIN_SECONDS": drain,
    }
    subprocess.run(
        [sys.executable, "-m", "hatoba.cli.main", "registry", "migrate", "--config", directory],
        check=True,
        capture_output=True,
        env=bytecode.environment(),
    )
    command = ["registry", "serve", "--config", str(directory), "--listen", f"127.0.0.1:{port}"]
    with started(
        command, directory=directory, port=port, database_uri=url, environment=environment
    ) as registry:
        registry.metrics_host = bind
        if not adopted:
            initialize(registry)
        yield registry


@pytest.fixture(
    scope="module",
    params=["standalone", pytest.param("postgresql", marks=pytest.mark.postgres)],
)
def registry(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("registry")
    if request.param == "standalone":
        with standalone(directory) as running:
            yield running
        return
    server = request.getfixturevalue("postgres_server")
    with server.database() as url, on_postgresql(directory, url) as running:
        yield running


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "layout")


@dataclass(frozen=True)
class Skopeo:
    """skopeo with credentials for one registry."""

    registry: Registry

    def run(self, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            ["skopeo", *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    def remote(self, reference: str) -> str:
        return f"docker://{self.registry.host}/{reference}"

    def credentials(self, user: str) -> str:
        return f"{user}:{self.registry.users[user]}"

    def push(self, source, reference, *, user="admin", fails=False, options=()) -> str:
        return self.run(
            "copy",
            "--all",
            "--dest-tls-verify=false",
            f"--dest-creds={self.credentials(user)}",
            *options,
            source,
            self.remote(reference),
            fails=fails,
        )

    def pull(self, reference, destination, *, user="admin", fails=False) -> str:
        return self.run(
            "copy",
            "--all",
            "--src-tls-verify=false",
            f"--src-creds={self.credentials(user)}",
            self.remote(reference),
            destination,
            fails=fails,
        )

    def inspect(self, reference, *, user="admin", fails=False) -> str:
        return self.run(
            "inspect",
            "--tls-verify=false",
            f"--creds={self.credentials(user)}",
            self.remote(reference),
            fails=fails,
        )

    def delete(self, reference, *, user="admin", fails=False) -> str:
        return self.run(
            "delete",
            "--tls-verify=false",
            f"--creds={self.credentials(user)}",
            self.remote(reference),
            fails=fails,
        )


@pytest.fixture
def skopeo(registry):
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed: apt-get install skopeo")
    return Skopeo(registry)

"""Hatoba's registry as its pod runs it: PostgreSQL, two workers, duties, tokens, audit rows."""

import json
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import yaml

from bench.model import BenchmarkFailed
from bench.servers.postgresql import Postgresql, running_postgresql
from bench.servers.side import call, demand, end, free_port, wait_for
from hatoba.config.loader import environment

NAME: Final = "hatoba"
USER: Final = "bench"
PASSWORD: Final = "benchmark-1"  # noqa: S105 -- of a registry that lives for minutes on loopback
WORKERS: Final = 2
METRICS_PORT: Final = 9091
_COLUMNS: Final = (
    "repository_id, manifest_id, lifetime_start_ms, lifetime_end_ms, hidden, reversion, tag_kind_id"
)


@dataclass(slots=True, frozen=True, kw_only=True)
class Ours:
    """The running registry and its database."""

    name: str = NAME
    port: int
    pid: int
    defers_work: bool = True
    metrics_host: str
    database: Postgresql
    api_token: str

    @property
    def roots(self) -> tuple[int, ...]:
        """Return the registry and PostgreSQL."""
        return (self.pid, self.database.pid)

    @property
    def registry_roots(self) -> tuple[int, ...]:
        """Return the registry alone."""
        return (self.pid,)

    @property
    def host(self) -> str:
        """Return the name that tokens are for."""
        return f"localhost:{self.port}"

    def authorize(self, *scopes: str) -> dict[str, str]:
        """Return a token, fetched anew: tokens live for minutes."""
        headers = basic(USER, PASSWORD)
        answer = demand(call(self.port, "GET", self.auth_path(*scopes), headers=headers), 200)
        return {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}

    def auth_path(self, *scopes: str) -> str:
        """Return the path that grants a token for the scopes."""
        query = [("service", self.host), *(("scope", scope) for scope in scopes)]
        return f"/v2/auth?{urlencode(query)}"

    def api(self, method: str, path: str, **content: object) -> dict[str, object]:
        """Call the REST API as the administrator.

        Raises:
            BenchmarkFailed: it refused.
        """
        headers = {
            "Authorization": f"Bearer {self.api_token}",
            "Content-Type": "application/json",
        }
        body = json.dumps(content).encode() if content else None
        answer = call(self.port, method, f"/api/v1{path}", headers=headers, body=body)
        found: dict[str, object] = json.loads(demand(answer, 200, 201, 204).body or b"{}")
        return found

    def has_repository(self, name: str) -> bool:
        """Say whether a repository exists."""
        headers = {"Authorization": f"Bearer {self.api_token}"}
        answer = call(self.port, "GET", f"/api/v1/repository/{name}", headers=headers)
        return demand(answer, 200, 404).status == 200

    def metric(self, name: str) -> float | None:
        """Return the sum of a metric over its labels, or None where there is no such metric."""
        answer = call(METRICS_PORT, "GET", "/metrics", host=self.metrics_host)
        return sum_of_metric(demand(answer, 200).body.decode(), name)

    def multiply_tag(self, repository: str, *, tag: str, names: list[str]) -> None:
        """Make more rows like a tag's."""
        listed = ",".join(f"'{name}'" for name in names)
        namespace, _, name = repository.partition("/")
        self.database.execute(
            f"INSERT INTO tag (name, {_COLUMNS}) SELECT made.name, {_COLUMNS}"  # noqa: S608
            f" FROM tag CROSS JOIN unnest(ARRAY[{listed}]) AS made(name) WHERE tag.id = ("
            "   SELECT t.id FROM tag t JOIN repository r ON r.id = t.repository_id"
            '   JOIN "user" u ON u.id = r.namespace_user_id WHERE NOT t.hidden AND'
            f"   u.username = '{namespace}' AND r.name = '{name}' AND t.name = '{tag}')"
        )


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of Basic authentication."""
    pair = b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def sum_of_metric(exposition: str, name: str) -> float | None:
    """Add up the samples of a metric in Prometheus' text form; None where there is none."""
    values = [
        float(line.rsplit(" ", 1)[1])
        for line in exposition.splitlines()
        if line.startswith((f"{name} ", f"{name}{{"))
    ]
    return sum(values) if values else None


@contextmanager
def running_ours(directory: Path) -> Iterator[Ours]:
    """Start a database and the registry upon it; both end with the block."""
    directory.mkdir()
    with running_postgresql(directory / "postgresql") as database:
        port = free_port()
        # An address of its own, as a pod has: the port of metrics is fixed.
        bind = f"127.{port >> 8}.{port & 255}.9"
        _configure(directory, port=port, database=database)
        _run_to_end("registry", "migrate", "--config", str(directory))
        process = _start(directory, port=port, bind=bind)
        try:
            wait_for(port, "/health/instance", process=process, log=directory / "log")
            yield Ours(
                port=port,
                pid=process.pid,
                metrics_host=bind,
                database=database,
                api_token=_first_user(port),
            )
        finally:
            end(process, number=signal.SIGINT)


def _start(directory: Path, *, port: int, bind: str) -> subprocess.Popen[bytes]:
    address = f"127.0.0.1:{port}"
    with (directory / "log").open("wb") as output:
        return subprocess.Popen(
            _hatoba("registry", "serve", "--config", str(directory), "--listen", address),
            stdout=output,
            stderr=output,
            env={
                **environment(),
                "HATOBA_DATA": str(directory),
                "HATOBA_BIND": bind,
                "HATOBA_DRAIN_SECONDS": "0",
                "WORKER_COUNT": str(WORKERS),
            },
        )


def _configure(directory: Path, *, port: int, database: Postgresql) -> None:
    content = {
        "BROWSER_API_CALLS_XHR_ONLY": False,
        "DATABASE_SECRET_KEY": "d" * 64,
        "DB_URI": database.url,
        "DISTRIBUTED_STORAGE_CONFIG": {"default": ["LocalStorage", {"storage_path": "storage"}]},
        "DISTRIBUTED_STORAGE_PREFERENCE": ["default"],
        "FEATURE_USER_INITIALIZE": True,
        "SECRET_KEY": "s" * 64,
        "SERVER_HOSTNAME": f"localhost:{port}",
        "SUPER_USERS": [USER],
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(content))


def _hatoba(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hatoba.cli.main", *arguments]


def _run_to_end(*arguments: str) -> None:
    done = subprocess.run(_hatoba(*arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkFailed(f"hatoba {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")


def _first_user(port: int) -> str:
    content = {
        "username": USER,
        "password": PASSWORD,
        "email": "bench@example.com",
        "access_token": True,
    }
    headers = {"Content-Type": "application/json"}
    body = json.dumps(content).encode()
    answer = call(port, "POST", "/api/v1/user/initialize", headers=headers, body=body)
    token: str = json.loads(demand(answer, 200).body)["access_token"]
    return token

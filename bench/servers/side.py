"""What a benchmark needs of a registry that runs: an address, its processes, a way to be let in."""

import http.client
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bench.model import BenchmarkFailed

START_SECONDS: Final = 60.0


class Side(Protocol):
    """One of the two registries."""

    @property
    def name(self) -> str:
        """Return the name for the table."""

    @property
    def port(self) -> int:
        """Return its port on 127.0.0.1."""

    @property
    def roots(self) -> tuple[int, ...]:
        """Return the processes whose trees are all that serves, the database included."""

    @property
    def registry_roots(self) -> tuple[int, ...]:
        """Return the registry's own, without the database."""

    @property
    def defers_work(self) -> bool:
        """Return whether some of a request's work is done seconds after its answer."""

    def authorize(self, *scopes: str) -> dict[str, str]:
        """Return the headers that let a client do what the scopes say."""

    def multiply_tag(self, repository: str, *, tag: str, names: list[str]) -> None:
        """Make more tags like one, in the store itself: through HTTP it would take minutes."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Answer:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def call(
    port: int,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    host: str = "127.0.0.1",
) -> Answer:
    """Do one request on a connection of its own."""
    connection = http.client.HTTPConnection(host, port, timeout=120)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    lower = {name.lower(): value for name, value in response.getheaders()}
    return Answer(status=response.status, headers=lower, body=content)


def demand(answer: Answer, *statuses: int) -> Answer:
    """Return an answer whose status is one of these.

    Raises:
        BenchmarkFailed: it is another.
    """
    if answer.status not in statuses:
        raise BenchmarkFailed(f"status {answer.status}: {answer.body[:300]!r}")
    return answer


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, path: str, *, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers 200 or 401.

    Raises:
        BenchmarkFailed: it ended, or it took too long; with the end of its log.
    """
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if call(port, "GET", path).status in {200, 401}:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise BenchmarkFailed(f"{process.args!r} did not start: {log.read_text()[-2000:]}")


def end(process: subprocess.Popen[bytes], *, number: int, patience_seconds: float = 30) -> None:
    """Signal a process and wait for it; kill it when it takes too long."""
    process.send_signal(number)
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

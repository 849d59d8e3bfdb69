"""What the API server and the autoscaler ask of the machine that runs the pods.

Implemented by `hatoba.cluster.kubelet`; the API server forwards `pods/<name>/log` and
`pods/<name>/exec` to it and serves `metrics.k8s.io` from it.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True, frozen=True, kw_only=True)
class LogRequest:
    """The query parameters of `GET .../pods/<name>/log`, parsed."""

    container: str
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since_seconds: int | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Usage:
    """What one container used, measured over `window_seconds` until `at` (Unix time)."""

    container: str
    cpu_nanocores: int
    memory_bytes: int
    at: float
    window_seconds: float


class ExecSession(Protocol):
    """A program started inside a container; streams end when it does."""

    async def write(self, data: bytes) -> None:
        """Send to its standard input; empty bytes close it."""

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (1, standard output) and (2, standard error) until both end."""

    async def wait(self) -> int:
        """Return its exit code."""

    async def close(self) -> None:
        """End it if it still runs."""


class Node(Protocol):
    """The machine."""

    def logs(self, namespace: str, pod: str, request: LogRequest) -> AsyncIterator[bytes]:
        """Yield the container's log; with `follow`, until the container ends."""

    async def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: bool
    ) -> ExecSession:
        """Start a program with the container's environment and mounts."""

    def usage(self, namespace: str, pod: str) -> Sequence[Usage]:
        """Return the last measurement of each running container; empty before the first."""

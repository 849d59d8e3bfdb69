"""Debian's docker-registry, set up to be as fast as it honestly can be.

No authentication, no access log, errors alone are logged, no TLS, no health checks of its storage;
the in-memory cache of blob descriptors is on, as in Debian's own configuration.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.model import BenchmarkFailed
from bench.servers.side import call, demand, end, free_port, wait_for

NAME: Final = "docker-registry"


@dataclass(slots=True, frozen=True, kw_only=True)
class Peer:
    """A running docker-registry."""

    name: str = NAME
    port: int
    pid: int
    defers_work: bool = False
    storage: Path

    @property
    def roots(self) -> tuple[int, ...]:
        """Return one process."""
        return (self.pid,)

    @property
    def registry_roots(self) -> tuple[int, ...]:
        """Return the registry alone."""
        return (self.pid,)

    def authorize(self, *_scopes: str) -> dict[str, str]:
        """Return nothing: whoever comes may do everything."""
        return {}

    def multiply_tag(self, repository: str, *, tag: str, names: list[str]) -> None:
        """Make more tags of one: whoever lists them reads their names alone."""
        tags = self.storage / "docker/registry/v2/repositories" / repository / "_manifests/tags"
        for name in names:
            (tags / name).symlink_to(tag, target_is_directory=True)


def version() -> str:
    """Return what the program says of itself."""
    done = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def running_peer(directory: Path) -> Iterator[Peer]:
    """Serve from files below `directory` while the block runs."""
    directory.mkdir()
    port, storage = free_port(), directory / "data"
    (directory / "config.yml").write_text(f"""\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {storage}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
""")
    log = directory / "log"
    with log.open("wb") as output:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [_program(), "serve", str(directory / "config.yml")],
            stdout=output,
            stderr=output,
            env={"PATH": os.defpath, "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        wait_for(port, "/v2/", process=process, log=log)
        demand(call(port, "GET", "/v2/"), 200)
        yield Peer(port=port, pid=process.pid, storage=storage)
    finally:
        end(process, number=signal.SIGTERM)


def _program() -> str:
    found = shutil.which(NAME)
    if found is None:
        raise BenchmarkFailed(f"{NAME} is not installed (Debian: {NAME})")
    return found

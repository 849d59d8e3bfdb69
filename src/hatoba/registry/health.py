"""The edge of probes: `/health/instance`, `/health/endtoend` and Quay's other names of them.

A probe asks whether this process can do its work, so it looks at the real neighbours, each with
a deadline. Answers are kept for a second: probes must not become load. `/healthz` looks at nobody:
whether a process lives is all that a restart could mend.
"""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import text

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import HatobaError
from hatoba.registry.access.keys import KeyRing
from hatoba.registry.blobs.driver import BlobDriver
from hatoba.serving.asgi import Application, Receive, Scope, Send, answer
from hatoba.sql.engine import Database

DEADLINE_SECONDS: Final = 5.0
KEPT_SECONDS: Final = 1.0
SMALLEST_FREE_SHARE: Final = 0.01
WARNING_FREE_SHARE: Final = 0.10

RETRY_AFTER_SECONDS: Final = 5
"""When to come back to a registry that waits for its database."""

LIVENESS: Final = "/healthz"
"""Answers as long as the process turns its loop, on every listener."""

Check = Callable[[], Awaitable[bool]]


@dataclass(slots=True, kw_only=True)
class Health:
    """Answers probes."""

    database: Database
    blobs: BlobDriver
    keys: KeyRing
    clock: Clock
    data_directory: Path
    is_draining: Callable[[], bool]
    redis: Check
    scanner: Check | None
    """None where there is no scanner to ask."""
    _kept: dict[str, tuple[float, bool]] = field(default_factory=dict)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one probe. Spec: ASGI 3.0; bodies as Quay's."""
        if scope["path"] == LIVENESS:
            await _answer_alive(send)
            return
        group = self._group(scope["path"])
        if group is None:
            await answer(send, status=404, body=b"not found\n")
            return
        names = list(group)
        found = await asyncio.gather(*(self._ask(name, group[name]) for name in names))
        services = dict(sorted(zip(names, found, strict=True)))
        status = 200 if all(found) and not self.is_draining() else 503
        body = json.dumps({"data": {"services": services}, "status_code": status}).encode()
        await answer(send, status=status, body=body, content_type=b"application/json")

    def _group(self, path: str) -> Mapping[str, Check] | None:
        match path.rstrip("/"):
            case "/health" | "/health/instance":
                return {
                    "auth": self._database,
                    "database": self._database,
                    "disk_space": self._disk,
                    "registry_gunicorn": _alive,
                    "service_key": self._service_key,
                    "web_gunicorn": _alive,
                }
            case "/health/endtoend" | "/status":
                return self._neighbours()
            case "/health/neighbours":
                scanner = {} if self.scanner is None else {"security_scanner": self.scanner}
                return {**self._neighbours(), **scanner}
            case "/health/warning":
                return {"disk_space_warning": self._disk_warning}
            case _:
                return None

    def _neighbours(self) -> Mapping[str, Check]:
        """Return whom pulls and pushes need."""
        return {
            "auth": self._database,
            "database": self._database,
            "redis": self.redis,
            "storage": self._storage,
        }

    async def _ask(self, name: str, check: Check) -> bool:
        now = self.clock.monotonic()
        kept = self._kept.get(name)
        if kept is not None and kept[0] > now:
            return kept[1]
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                good = await check()
        except (HatobaError, TimeoutError, OSError):
            good = False
        self._kept[name] = (now + KEPT_SECONDS, good)
        return good

    async def _database(self) -> bool:
        async with self.database.read() as connection:
            await connection.execute(text("SELECT 1"))
        return True

    async def _service_key(self) -> bool:
        await self.keys.signing_key()
        return True

    async def _storage(self) -> bool:
        await self.blobs.check()
        return True

    async def _disk(self) -> bool:
        return self._free_share() >= SMALLEST_FREE_SHARE

    async def _disk_warning(self) -> bool:
        return self._free_share() >= WARNING_FREE_SHARE

    def _free_share(self) -> float:
        directory = self.data_directory
        while not directory.exists():
            directory = directory.parent
        usage = shutil.disk_usage(directory)
        return usage.free / usage.total


def not_yet(reason: str) -> Application:
    """Return what answers in place of a registry that cannot serve yet: 503, and why."""
    health = json.dumps(
        {"data": {"services": {"database": False}}, "message": reason, "status_code": 503}
    )
    error = json.dumps({"errors": [{"code": "UNAVAILABLE", "message": reason}]})

    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == LIVENESS:
            # Restarting would not bring the migration on.
            await _answer_alive(send)
            return
        body = health if path.startswith("/health") or path == "/status" else error
        await answer(
            send,
            status=503,
            body=body.encode(),
            content_type=b"application/json",
            headers=[(b"retry-after", str(RETRY_AFTER_SECONDS).encode())],
        )

    return application


async def _answer_alive(send: Send) -> None:
    await answer(send, status=200, body=b"ok\n")


async def _alive() -> bool:
    """One process is both of Quay's servers; whoever answers is alive."""
    return True

"""Writing audit rows.

A change writes its row in its own transaction (`record`): no change without a row. A pull must
never wait for the database: its row is buffered (`remember`) and written by `flush`, which a
task of each process calls every second and once more at its end. The buffer is bounded; what
does not fit is counted and said.
"""

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.clock import Clock
from hatoba.registry.audit import store
from hatoba.registry.audit.models import Entry
from hatoba.registry.db.lookups import Lookups
from hatoba.sql.engine import Database, DatabaseUnavailable

BUFFER_LIMIT: Final = 20_000
BATCH: Final = 500

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class AuditLog:
    """The audit log of one process."""

    database: Database
    lookups: Lookups
    clock: Clock
    dropped: int = 0
    _buffer: deque[tuple[Entry, datetime]] = field(default_factory=deque)

    async def record(self, connection: AsyncConnection, entry: Entry) -> None:
        """Write a row inside the transaction of the change that it tells of."""
        await store.insert_entries(
            connection, entries=[(entry, self.clock.now())], lookups=self.lookups
        )

    def values_of(self, entry: Entry) -> tuple[int, int | None, str | None, str]:
        """Return kind, performer, address and metadata of a row that another statement writes."""
        return (
            self.lookups.id("logentrykind", entry.kind),
            entry.actor.account_id,
            entry.actor.ip,
            json.dumps(entry.metadata),
        )

    def remember(self, entry: Entry) -> None:
        """Keep a row for the next flush; never waits and never fails."""
        if len(self._buffer) >= BUFFER_LIMIT:
            self.dropped += 1
            return
        self._buffer.append((entry, self.clock.now()))

    @property
    def waiting(self) -> int:
        """How many rows wait for a flush."""
        return len(self._buffer)

    async def flush(self) -> int:
        """Write the rows that wait now; return how many. What cannot be written stays waiting.

        What comes meanwhile is left to the next flush: pulls go on while rows are written, and
        whoever ran after the last of them would write a few at a time, without end.
        """
        written, waiting = 0, len(self._buffer)
        while written < waiting:
            size = min(BATCH, waiting - written)
            batch = [self._buffer.popleft() for _ in range(size)]
            try:
                async with self.database.begin() as connection:
                    await store.copy_entries(connection, entries=batch, lookups=self.lookups)
            except DatabaseUnavailable:
                self._buffer.extendleft(reversed(batch))
                log.warning("audit rows wait for the database", waiting=len(self._buffer))
                return written
            except asyncio.CancelledError:
                # The process ends, and writes once more: some rows twice rather than not at all.
                self._buffer.extendleft(reversed(batch))
                raise
            written += len(batch)
        if self.dropped:
            log.error("audit rows were lost", count=self.dropped)
            self.dropped = 0
        return written

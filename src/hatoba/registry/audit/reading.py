"""Reading the audit log: pages, newest first, and counts by day."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Final

from sqlalchemy import ColumnElement

from hatoba.kernel.json import JsonObject
from hatoba.registry.audit import store
from hatoba.registry.db.lookups import Lookups
from hatoba.sql.engine import Database

PAGE_SIZE: Final = 20


@dataclass(slots=True, frozen=True, kw_only=True)
class Wanted:
    """Which rows to read: those from `start` up to, not including, `end`."""

    start: datetime
    end: datetime
    namespace_id: int | None = None
    repository_id: int | None = None
    performer_id: int | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Party:
    """Who acted, or whose namespace it was."""

    name: str
    email: str
    is_robot: bool = False
    is_organization: bool = False


@dataclass(slots=True, frozen=True, kw_only=True)
class LogRecord:
    """A row of the audit log."""

    id: int
    kind: str
    at: datetime
    ip: str | None
    metadata: JsonObject
    performer: Party | None
    namespace: Party | None


@dataclass(slots=True, frozen=True, kw_only=True)
class Place:
    """The last row of a page; the next page begins after it."""

    at: datetime
    id: int


@dataclass(slots=True, frozen=True, kw_only=True)
class AuditReader:
    """Reads the audit log."""

    database: Database
    lookups: Lookups

    async def page(
        self, wanted: Wanted, *, after: Place | None
    ) -> tuple[list[LogRecord], Place | None]:
        """Return a page, and its last place when there is more."""
        async with self.database.read() as connection:
            rows = await store.page_of_entries(
                connection,
                where=_conditions(wanted),
                after=None if after is None else (after.at, after.id),
                limit=PAGE_SIZE + 1,
            )
        records = [self._read(row) for row in rows[:PAGE_SIZE]]
        if len(rows) <= PAGE_SIZE:
            return records, None
        return records, Place(at=records[-1].at, id=records[-1].id)

    async def counts(self, wanted: Wanted) -> list[tuple[str, int, datetime]]:
        """Return (kind, count, midnight of the day)."""
        async with self.database.read() as connection:
            rows = await store.counts_by_day(connection, where=_conditions(wanted))
        return [
            (self.lookups.name("logentrykind", row.kind_id), row.number, _midnight(row.day))
            for row in rows
        ]

    def _read(self, row: Any) -> LogRecord:
        performer = namespace = None
        if row.performer_name is not None:
            performer = Party(
                name=row.performer_name, email=row.performer_email, is_robot=row.performer_robot
            )
        if row.owner_name is not None:
            namespace = Party(
                name=row.owner_name,
                email=row.owner_email,
                is_organization=row.owner_organization,
            )
        return LogRecord(
            id=row.id,
            kind=self.lookups.name("logentrykind", row.kind_id),
            at=row.datetime,
            ip=row.ip,
            metadata=json.loads(row.metadata_json),
            performer=performer,
            namespace=namespace,
        )


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    return store.conditions(
        start=wanted.start,
        end=wanted.end,
        namespace_id=wanted.namespace_id,
        repository_id=wanted.repository_id,
        performer_id=wanted.performer_id,
    )


def _midnight(day: date | str) -> datetime:
    # SQLite has no type for dates and answers with text.
    parsed = date.fromisoformat(day) if isinstance(day, str) else day
    return datetime.combine(parsed, time(), UTC)

"""Rows of `logentry3`."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
from sqlalchemy import ColumnElement, Row, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.audit.models import Entry
from hatoba.registry.db.lookups import Lookups
from hatoba.registry.db.tables.logs import log_entries
from hatoba.registry.db.tables.users import users

COLUMNS: Final = (
    "kind_id",
    "account_id",
    "performer_id",
    "repository_id",
    "datetime",
    "ip",
    "metadata_json",
)
SLICE: Final = 50
"""How many rows are made ready in one go: whoever pulls meanwhile waits for no more than these."""


async def insert_entries(
    connection: AsyncConnection, *, entries: Sequence[tuple[Entry, datetime]], lookups: Lookups
) -> None:
    """Write rows, oldest first, as a part of the connection's transaction."""
    rows = [dict(zip(COLUMNS, values, strict=True)) for values in _rows(entries, lookups)]
    if rows:
        await connection.execute(insert(log_entries), rows)


async def copy_entries(
    connection: AsyncConnection, *, entries: Sequence[tuple[Entry, datetime]], lookups: Lookups
) -> None:
    """Write many rows at once, all or none; outside of any transaction where that is quicker."""
    if connection.dialect.name != "postgresql":
        await insert_entries(connection, entries=entries, lookups=lookups)
        return
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, asyncpg.Connection)
    naive = [(entry, at.replace(tzinfo=None)) for entry, at in entries]
    records = _sliced(_rows(naive, lookups))
    await driver.copy_records_to_table(log_entries.name, records=records, columns=COLUMNS)


async def _sliced(rows: Iterator[tuple[object, ...]]) -> AsyncIterator[tuple[object, ...]]:
    for number, row in enumerate(rows, start=1):
        yield row
        if number % SLICE == 0:
            await asyncio.sleep(0)


def _rows(
    entries: Sequence[tuple[Entry, datetime]], lookups: Lookups
) -> Iterator[tuple[object, ...]]:
    """Yield the values of rows, each made ready when it is its turn.

    Pulls that are alike share an entry, which is read once however often it stands here.
    """
    ready: dict[int, tuple[object, ...]] = {}
    for entry, at in entries:
        values = ready.get(id(entry))
        if values is None:
            values = ready[id(entry)] = _values(entry, lookups)
        *who, ip, metadata = values
        yield (*who, at, ip, metadata)


def _values(entry: Entry, lookups: Lookups) -> tuple[object, ...]:
    return (
        lookups.id("logentrykind", entry.kind),
        entry.namespace_id or entry.actor.account_id or 0,
        entry.actor.account_id,
        entry.repository_id,
        entry.actor.ip,
        json.dumps(entry.metadata),
    )


def conditions(
    *,
    start: datetime,
    end: datetime,
    namespace_id: int | None,
    repository_id: int | None,
    performer_id: int | None,
) -> list[ColumnElement[bool]]:
    """Select rows from `start` up to `end`; of a namespace, a repository, a performer."""
    found: list[ColumnElement[bool]] = [
        log_entries.c.datetime >= start,
        log_entries.c.datetime < end,
    ]
    for column, value in (
        (log_entries.c.account_id, namespace_id),
        (log_entries.c.repository_id, repository_id),
        (log_entries.c.performer_id, performer_id),
    ):
        if value is not None:
            found.append(column == value)
    return found


async def page_of_entries(
    connection: AsyncConnection,
    *,
    where: Sequence[ColumnElement[bool]],
    after: tuple[datetime, int] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Return rows, newest first, with performer and owner; keyset-paginated by time and id."""
    performer = users.alias("performer")
    owner = users.alias("owner")
    statement = (
        select(
            log_entries,
            performer.c.username.label("performer_name"),
            performer.c.email.label("performer_email"),
            performer.c.robot.label("performer_robot"),
            owner.c.username.label("owner_name"),
            owner.c.email.label("owner_email"),
            owner.c.organization.label("owner_organization"),
        )
        .select_from(
            log_entries.outerjoin(
                performer, performer.c.id == log_entries.c.performer_id
            ).outerjoin(owner, owner.c.id == log_entries.c.account_id)
        )
        .where(*where)
        .order_by(log_entries.c.datetime.desc(), log_entries.c.id.desc())
        .limit(limit)
    )
    if after is not None:
        at, entry_id = after
        older = log_entries.c.datetime < at
        statement = statement.where(
            older | ((log_entries.c.datetime == at) & (log_entries.c.id < entry_id))
        )
    return (await connection.execute(statement)).all()


async def counts_by_day(
    connection: AsyncConnection, *, where: Sequence[ColumnElement[bool]]
) -> Sequence[Row[Any]]:
    """Count rows by kind and day."""
    day = func.date(log_entries.c.datetime).label("day")
    statement = (
        select(log_entries.c.kind_id, day, func.count().label("number"))
        .where(*where)
        .group_by(log_entries.c.kind_id, day)
    )
    return (await connection.execute(statement)).all()

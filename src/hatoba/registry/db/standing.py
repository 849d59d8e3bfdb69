"""Where a registry's database stands, seen from this version: asked by those who serve.

A release only adds to the schema what the release before can do without, so that a database that is
ahead is served: its pods of before and of after run side by side. One from which a later release
took what this version needs is not, and one that is behind neither, since what is asked for may not
be there yet. See docs/explanation/upgrades.md.
"""

import asyncio
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import structlog

from hatoba.kernel.errors import Unavailable
from hatoba.sql.engine import Database, DatabaseUnavailable
from hatoba.sql.revisions import applied_revision, oldest_head

HEAD: Final = "0004"
"""The revision that this version's code was written for: the last one in `migrations`."""
PAUSE_SECONDS: Final = 1.0
"""Between two looks at a database that somebody else brings on."""

log = structlog.get_logger()


class DatabaseNotMigrated(Unavailable):
    """The database does not have a schema that this version works with."""


class Standing(StrEnum):
    """How the revision of a database compares with ours."""

    EMPTY = "empty"
    BEHIND = "behind"
    CURRENT = "current"
    AHEAD = "ahead"


@dataclass(slots=True, frozen=True, kw_only=True)
class Schema:
    """A database's revision, and the one that is needed."""

    applied: str | None
    needed: str
    oldest: str | None = None
    """The oldest revision for whose code it still is good; None: for all before."""

    @property
    def standing(self) -> Standing:
        """Compare the two; revisions are numbers of equal length."""
        if self.applied is None:
            return Standing.EMPTY
        if self.applied == self.needed:
            return Standing.CURRENT
        return Standing.BEHIND if self.applied < self.needed else Standing.AHEAD

    @property
    def lack(self) -> str:
        """Say in a sentence what keeps this version from serving; "" when nothing does."""
        match self.standing:
            case Standing.EMPTY:
                return "the database has no tables: run `hatoba registry migrate`"
            case Standing.BEHIND:
                return (
                    f"the database is at revision {self.applied} and this version needs "
                    f"{self.needed}: run `hatoba registry migrate`"
                )
            case Standing.AHEAD if self.oldest is not None and self.needed < self.oldest:
                return (
                    f"the database is at revision {self.applied}, which serves versions of "
                    f"revision {self.oldest} and later, and this version is of {self.needed}: "
                    "run a later version"
                )
            case Standing.CURRENT | Standing.AHEAD:
                return ""


async def schema_of(database: Database) -> Schema:
    """Ask a database where it stands."""
    schema = Schema(applied=await applied_revision(database), needed=HEAD)
    if schema.standing is not Standing.AHEAD:
        return schema
    return replace(schema, oldest=await oldest_head(database))


async def require_schema(database: Database) -> None:
    """Let only those go on who can work with the database.

    Raises:
        DatabaseNotMigrated: it is empty or behind, or a later version took something away.
    """
    schema = await schema_of(database)
    if schema.lack:
        raise DatabaseNotMigrated(schema.lack)
    if schema.standing is Standing.AHEAD:
        log.warning("the database is ahead", revision=schema.applied, expected=schema.needed)


async def wait_until_migrated(database: Database) -> None:
    """Return once the database is no longer behind; it may be away meanwhile."""
    while True:
        try:
            schema = await schema_of(database)
        except DatabaseUnavailable as error:
            log.warning("waiting for the database", reason=error.message)
        else:
            if schema.standing is not Standing.BEHIND:
                return
        await asyncio.sleep(PAUSE_SECONDS)

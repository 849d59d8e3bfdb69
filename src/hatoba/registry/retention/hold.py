"""A hold on everything that could be collected, while a backup copies what its snapshot names.

The collection of garbage removes no bytes while somebody has the hold; it goes on to mark what
may go, and makes up for it afterwards. Whoever takes the hold waits for the removal that is under
way: what is seen afterwards stays. A holder that died loses it after its lifetime.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.clock import milliseconds
from hatoba.registry.db.tables.hatoba import leases as lease_table
from hatoba.sql.leases import Leases

HOLD: Final = "backup"
"""The name of the lease. It is part of every backup: a restored database names its backup."""
_LOCK: Final = "hatoba hold on removal"


@dataclass(slots=True, frozen=True, kw_only=True)
class Hold:
    """The hold, for those who need what is there to stay there."""

    leases: Leases

    async def take(self, holder: str, *, lifetime: timedelta) -> bool:
        """Take or prolong the hold; False when somebody else has it."""
        async with self.leases.database.begin() as connection:
            if self.leases.database.is_postgresql:
                statement = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
                await connection.execute(statement, {"key": _LOCK})
            return await self.leases.claim_in(connection, HOLD, holder=holder, lifetime=lifetime)

    async def release(self, holder: str) -> None:
        """Give it back."""
        await self.leases.release(HOLD, holder=holder)


async def may_remove(connection: AsyncConnection, *, now: datetime) -> bool:
    """Say whether bytes may go in this transaction; nobody can take the hold before its end."""
    if connection.dialect.name == "postgresql":
        taken = await connection.execute(
            text("SELECT pg_try_advisory_xact_lock_shared(hashtextextended(:key, 0))"),
            {"key": _LOCK},
        )
        if not taken.scalar_one():
            return False
    held = select(lease_table.c.holder).where(
        lease_table.c.name == HOLD, lease_table.c.expires_at_ms > milliseconds(now)
    )
    return (await connection.execute(held)).first() is None

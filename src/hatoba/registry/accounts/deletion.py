"""Deleting a namespace: the name goes at once, what it holds is collected later.

The row is renamed to a UUID and a `namespacegc` queue item is left for the garbage collector, as
Quay does; the name stays reserved until the collector has finished.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import insert

from hatoba.kernel.clock import Clock
from hatoba.kernel.ids import new_uuid
from hatoba.registry.accounts import store
from hatoba.registry.accounts.models import Account, AccountKind
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.db.tables.queue import queue_items
from hatoba.sql.engine import Database

QUEUE_DELAY: Final = timedelta(minutes=5)
RETRIES: Final = 5


@dataclass(slots=True, frozen=True, kw_only=True)
class Deletion:
    """Deletes people and organizations."""

    database: Database
    clock: Clock
    audit: AuditLog

    async def delete(self, account: Account, *, actor: Actor) -> None:
        """Delete a namespace; its robots can no longer sign in from this moment."""
        kind = "org_delete" if account.kind is AccountKind.ORGANIZATION else "user_delete"
        now = self.clock.now()
        async with self.database.begin() as connection:
            await self.audit.record(
                connection,
                Entry(
                    kind=kind,
                    actor=actor,
                    namespace_id=account.id,
                    metadata={"username": account.username, "namespace": account.username},
                ),
            )
            for robot_id in await store.robots_under(connection, namespace=account.username):
                await store.change(connection, account_id=robot_id, values={"enabled": False})
            await store.delete_teams_of(connection, organization_id=account.id)
            item = insert(queue_items).values(
                queue_name=f"namespacegc/{account.id}/",
                body=json.dumps({"marker_id": None, "original_username": account.username}),
                available_after=now + QUEUE_DELAY,
                available=True,
                retries_remaining=RETRIES,
                state_id=new_uuid(),
            )
            queue_id = (await connection.execute(item.returning(queue_items.c.id))).scalar_one()
            await store.mark_deleted(
                connection,
                account=account,
                replacement=new_uuid(),
                queue_id=str(queue_id),
                at=now,
            )

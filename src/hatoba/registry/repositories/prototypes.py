"""Default permissions of organizations ("prototypes"): granted in each new repository."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hatoba.kernel.ids import new_uuid
from hatoba.registry.accounts import directory
from hatoba.registry.accounts.models import Account
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.db.lookups import Lookups
from hatoba.registry.repositories import store_permissions as store
from hatoba.registry.repositories.errors import PrototypeRefused, PrototypeUnknown
from hatoba.registry.repositories.models import Prototype
from hatoba.sql.engine import Database


@dataclass(slots=True, frozen=True, kw_only=True)
class Prototypes:
    """The default permissions of organizations."""

    database: Database
    lookups: Lookups
    audit: AuditLog

    async def list_prototypes(self, organization: Account) -> list[Prototype]:
        """Return an organization's default permissions, oldest first."""
        async with self.database.read() as connection:
            rows = await store.prototypes_of(connection, organization_id=organization.id)
            ids = [row.activating_user_id for row in rows if row.activating_user_id]
            ids += [row.delegate_user_id for row in rows if row.delegate_user_id]
            accounts = await directory.by_ids(connection, ids=ids)
        return [self._read(row, accounts) for row in rows]

    async def members_among(
        self, organization: Account, *, accounts: Sequence[Account]
    ) -> set[int]:
        """Return the ids of those accounts that are in a team of an organization."""
        async with self.database.read() as connection:
            return await store.members_among(
                connection,
                organization_id=organization.id,
                account_ids=[account.id for account in accounts],
            )

    async def get(self, organization: Account, *, uuid: str) -> Prototype:
        """Return a default permission.

        Raises:
            PrototypeUnknown: there is none.
        """
        for prototype in await self.list_prototypes(organization):
            if prototype.uuid == uuid:
                return prototype
        raise PrototypeUnknown(f"There is no default permission {uuid}")

    async def create(
        self,
        organization: Account,
        *,
        role: str,
        activating: str | None,
        delegate_user: str | None,
        delegate_team: str | None,
        actor: Actor,
    ) -> Prototype:
        """Create a default permission for a person or a team.

        Raises:
            PrototypeRefused: an account or team does not exist.
        """
        uuid = new_uuid()
        values: dict[str, Any] = {
            "org_id": organization.id,
            "uuid": uuid,
            "role_id": self.lookups.id("role", role),
        }
        async with self.database.begin() as connection:
            if activating:
                account = await directory.find(connection, username=activating)
                if account is None:
                    raise PrototypeRefused("Unknown activating user")
                values["activating_user_id"] = account.id
            if delegate_user:
                account = await directory.find(connection, username=delegate_user)
                values["delegate_user_id"] = None if account is None else account.id
            elif delegate_team:
                values["delegate_team_id"] = await store.find_team_id(
                    connection, organization_id=organization.id, name=delegate_team
                )
            if not values.get("delegate_user_id") and not values.get("delegate_team_id"):
                raise PrototypeRefused("Missing delegate user or team")
            await store.insert_prototype(connection, values=values)
            await self.audit.record(
                connection,
                _entry("create_prototype_permission", organization, actor, uuid, role),
            )
        return await self.get(organization, uuid=uuid)

    async def change(
        self, organization: Account, *, uuid: str, role: str, actor: Actor
    ) -> Prototype:
        """Change the role of a default permission.

        Raises:
            PrototypeUnknown: there is none.
        """
        prototype = await self.get(organization, uuid=uuid)
        async with self.database.begin() as connection:
            await store.change_prototype(
                connection, prototype_id=prototype.id, role_id=self.lookups.id("role", role)
            )
            await self.audit.record(
                connection,
                _entry("modify_prototype_permission", organization, actor, uuid, role),
            )
        return await self.get(organization, uuid=uuid)

    async def delete(self, organization: Account, *, uuid: str, actor: Actor) -> None:
        """Remove a default permission.

        Raises:
            PrototypeUnknown: there is none.
        """
        prototype = await self.get(organization, uuid=uuid)
        async with self.database.begin() as connection:
            await store.delete_prototype(connection, prototype_id=prototype.id)
            await self.audit.record(
                connection,
                _entry("delete_prototype_permission", organization, actor, uuid, prototype.role),
            )

    def _read(self, row: Any, accounts: dict[int, Account]) -> Prototype:
        return Prototype(
            id=row.id,
            uuid=row.uuid,
            role=self.lookups.name("role", row.role_id),
            activating=accounts.get(row.activating_user_id),
            delegate=accounts.get(row.delegate_user_id),
            delegate_team=row.team_name,
            delegate_team_id=row.delegate_team_id,
        )


def _entry(kind: str, organization: Account, actor: Actor, uuid: str, role: str) -> Entry:
    return Entry(
        kind=kind,
        actor=actor,
        namespace_id=organization.id,
        metadata={"prototypeid": uuid, "role": role},
    )

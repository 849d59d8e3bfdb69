"""Organizations and their members."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.ids import new_uuid
from hatoba.registry.accounts import policy, store, store_teams
from hatoba.registry.accounts.errors import (
    AccountExists,
    AccountUnknown,
    LastAdministrator,
    UsernameUnavailable,
)
from hatoba.registry.accounts.models import Account, Team
from hatoba.registry.accounts.users import Users
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.db.lookups import Lookups
from hatoba.sql.engine import Database

OWNERS = "owners"


@dataclass(slots=True, frozen=True, kw_only=True)
class Member:
    """An account that belongs to an organization, by teams or by direct grants."""

    account: Account
    teams: tuple[str, ...]
    repositories: tuple[str, ...]


@dataclass(slots=True, frozen=True, kw_only=True)
class Organizations:
    """The organizations of this registry."""

    database: Database
    users: Users
    lookups: Lookups
    audit: AuditLog

    async def find(self, name: str) -> Account | None:
        """Return the organization of this name."""
        async with self.database.read() as connection:
            account = await store.find(connection, username=name)
        return account if account is not None and account.is_organization else None

    async def get(self, name: str) -> Account:
        """Return the organization of this name.

        Raises:
            AccountUnknown: there is none.
        """
        organization = await self.find(name)
        if organization is None:
            raise AccountUnknown(f"There is no organization {name}")
        return organization

    async def create(
        self, *, name: str, email: str | None, owner: Account, actor: Actor
    ) -> Account:
        """Create an organization with its team `owners`, in which is the owner.

        Raises:
            AccountExists, UsernameUnavailable, InvalidAccountName, InvalidEmail: as they say.
        """
        async with self.database.begin() as connection:
            if await store.find(connection, username=name) is not None:
                raise AccountExists("A user or organization with this name already exists")
            if await store.name_is_reserved(connection, username=name):
                raise UsernameUnavailable("Username is not available")
            policy.check_username(name)
            if self.users.demands_email:
                policy.check_email(email or "")
            organization = await store.insert_account(
                connection,
                values=self.users.new_row(username=name, email=email)
                | {"organization": True, "verified": True},
            )
            team_id = await store_teams.insert_team(
                connection,
                organization_id=organization.id,
                name=OWNERS,
                role_id=self.lookups.id("teamrole", "admin"),
                description="",
            )
            await store_teams.add_member(connection, team_id=team_id, account_id=owner.id)
            await self.audit.record(
                connection,
                Entry(
                    kind="org_create",
                    actor=actor,
                    namespace_id=organization.id,
                    metadata={"email": email, "namespace": name},
                ),
            )
        return organization

    async def change(
        self, organization: Account, *, values: dict[str, Any], kind: str, actor: Actor
    ) -> Account:
        """Change columns of an organization; `kind` is the audit row's."""
        async with self.database.begin() as connection:
            await store.change(connection, account_id=organization.id, values=values)
            await self.audit.record(
                connection,
                Entry(
                    kind=kind,
                    actor=actor,
                    namespace_id=organization.id,
                    metadata={"namespace": organization.username, **values},
                ),
            )
            changed = await store.find_by_id(connection, account_id=organization.id)
        if changed is None:
            raise AccountUnknown(f"There is no organization {organization.username}")
        return changed

    async def convert(self, account: Account, *, owner: Account, actor: Actor) -> Account:
        """Turn a person into an organization that another one owns; robots and content stay."""
        async with self.database.begin() as connection:
            await store.change(
                connection,
                account_id=account.id,
                values={
                    "organization": True,
                    "password_hash": None,
                    "invoice_email": False,
                    "uuid": new_uuid(),
                },
            )
            await self._add_owner(connection, account, owner)
            await store.remove_logins(connection, account_id=account.id)
            await self.audit.record(
                connection,
                Entry(
                    kind="account_convert",
                    actor=actor,
                    namespace_id=account.id,
                    metadata={"username": account.username},
                ),
            )
        return await self.get(account.username)

    async def take_over(self, organization: Account, *, owner: Account, actor: Actor) -> None:
        """Let somebody own an organization, too."""
        async with self.database.begin() as connection:
            await self._add_owner(connection, organization, owner)
            await self.audit.record(
                connection,
                Entry(
                    kind="take_ownership",
                    actor=actor,
                    namespace_id=organization.id,
                    metadata={"namespace": organization.username},
                ),
            )

    async def _add_owner(
        self, connection: AsyncConnection, organization: Account, owner: Account
    ) -> None:
        role_id = self.lookups.id("teamrole", "admin")
        team = await store_teams.find_team(
            connection, organization_id=organization.id, name=OWNERS, lookups=self.lookups
        )
        team_id = (
            team.id
            if team is not None
            else await store_teams.insert_team(
                connection,
                organization_id=organization.id,
                name=OWNERS,
                role_id=role_id,
                description="",
            )
        )
        if not await store_teams.is_member(connection, team_id=team_id, account_id=owner.id):
            await store_teams.add_member(connection, team_id=team_id, account_id=owner.id)

    async def rename(self, organization: Account, *, name: str, actor: Actor) -> Account:
        """Give an organization another name; its robots go along.

        Raises:
            AccountExists, UsernameUnavailable: it is taken.
        """
        async with self.database.begin() as connection:
            if await store.find(connection, username=name) is not None:
                raise AccountExists("A user or organization with this name already exists")
            if await store.name_is_reserved(connection, username=name):
                raise UsernameUnavailable("Username is not available")
            for robot_id in await store.robots_under(connection, namespace=organization.username):
                robot = await store.find_by_id(connection, account_id=robot_id)
                if robot is not None:
                    short_name = robot.username.partition("+")[2]
                    await store.change(
                        connection,
                        account_id=robot_id,
                        values={"username": f"{name}+{short_name}"},
                    )
        return await self.change(
            organization, values={"username": name}, kind="org_change_name", actor=actor
        )

    async def teams(self, organization: Account) -> list[Team]:
        """Return the teams, oldest first."""
        async with self.database.read() as connection:
            return await store_teams.teams_of(
                connection, organization_id=organization.id, lookups=self.lookups
            )

    async def members(self, organization: Account) -> list[Member]:
        """Return everybody in a team, with the repositories granted directly."""
        async with self.database.read() as connection:
            joined = await store_teams.memberships(connection, organization_id=organization.id)
            granted = await store_teams.direct_grants(connection, organization_id=organization.id)
        return _members(joined, granted)

    async def collaborators(self, organization: Account) -> list[Member]:
        """Return people with direct grants who are in no team, by their oldest grant."""
        async with self.database.read() as connection:
            joined = await store_teams.memberships(connection, organization_id=organization.id)
            granted = await store_teams.direct_grants(connection, organization_id=organization.id)
            people = await store_teams.people_with_grants(
                connection, organization_id=organization.id
            )
        inside = {account.id for account, _ in joined}
        names = _by_account(granted)
        return [
            Member(account=people[account_id], teams=(), repositories=tuple(repositories))
            for account_id, repositories in names.items()
            if account_id in people and account_id not in inside
        ]

    async def member(self, organization: Account, *, name: str) -> Member:
        """Return one member.

        Raises:
            AccountUnknown: no such member.
        """
        for member in await self.members(organization):
            if member.account.username == name:
                return member
        raise AccountUnknown(f"{name} is not a member of {organization.username}")

    async def remove_member(self, organization: Account, *, name: str, actor: Actor) -> None:
        """Remove an account from all teams and direct grants.

        Raises:
            AccountUnknown: no such member.
            LastAdministrator: nobody else would administer the organization.
        """
        member = await self.member(organization, name=name)
        admin_role = self.lookups.id("teamrole", "admin")
        async with self.database.begin() as connection:
            administrators = await store_teams.administrators(
                connection, organization_id=organization.id, admin_role_id=admin_role
            )
            if {account for _, account in administrators} <= {member.account.id}:
                raise LastAdministrator(
                    "Cannot remove user as they are the only organization admin"
                )
            await store_teams.remove_from_organization(
                connection, organization_id=organization.id, account_id=member.account.id
            )
            for team in member.teams:
                await self.audit.record(
                    connection,
                    Entry(
                        kind="org_remove_team_member",
                        actor=actor,
                        namespace_id=organization.id,
                        metadata={"member": name, "team": team},
                    ),
                )


def _members(joined: list[tuple[Account, str]], granted: list[tuple[int, str]]) -> list[Member]:
    accounts = {account.id: account for account, _ in joined}
    team_names = _by_account((account.id, team) for account, team in joined)
    repository_names = _by_account(granted)
    return [
        Member(
            account=account,
            teams=tuple(team_names[account.id]),
            repositories=tuple(repository_names.get(account.id, ())),
        )
        for account in accounts.values()
    ]


def _by_account(pairs: Iterable[tuple[int, str]]) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for account_id, name in pairs:
        names.setdefault(account_id, []).append(name)
    return names

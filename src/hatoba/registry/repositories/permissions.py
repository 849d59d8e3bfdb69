"""Permissions in repositories, and an organization's default permissions."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.accounts import directory
from hatoba.registry.accounts.models import Account
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.db.lookups import Lookups
from hatoba.registry.repositories import store_permissions as store
from hatoba.registry.repositories.errors import (
    GrantRefused,
    GrantUnknown,
)
from hatoba.registry.repositories.models import Repository, TeamGrant, UserGrant
from hatoba.sql.engine import Database


@dataclass(slots=True, frozen=True, kw_only=True)
class Permissions:
    """Who was given what in which repository."""

    database: Database
    lookups: Lookups
    audit: AuditLog

    async def users(self, repository: Repository) -> list[UserGrant]:
        """Return direct grants, oldest first, after the owner of a personal namespace."""
        async with self.database.read() as connection:
            pairs = await store.user_roles(
                connection, repository_id=repository.id, lookups=self.lookups
            )
            members = await store.members_among(
                connection,
                organization_id=repository.namespace.id,
                account_ids=[account.id for account, _ in pairs],
            )
        grants = [
            UserGrant(
                account=account,
                role=role,
                is_member=account.id in members or _is_robot_of(account, repository),
            )
            for account, role in pairs
        ]
        if repository.namespace.is_organization:
            return grants
        owner = UserGrant(account=repository.namespace, role="admin", is_member=True)
        return [owner, *(grant for grant in grants if grant.account.id != owner.account.id)]

    async def user(self, repository: Repository, *, username: str) -> UserGrant:
        """Return one direct grant.

        Raises:
            GrantUnknown: there is none.
        """
        for grant in await self.users(repository):
            if grant.account.username == username:
                return grant
        raise GrantUnknown("User does not have permission for repo.")

    async def roles_of(self, repository: Repository, *, username: str) -> list[str]:
        """Return the roles of an account, direct or through teams, strongest claims first.

        Raises:
            GrantUnknown: it has none.
        """
        async with self.database.read() as connection:
            account = await directory.find(connection, username=username)
            if account is None:
                raise GrantUnknown(f"There is no account {username}")
            direct = await store.user_roles(
                connection, repository_id=repository.id, lookups=self.lookups
            )
            through = await store.roles_through_teams(
                connection,
                repository_id=repository.id,
                account_id=account.id,
                lookups=self.lookups,
            )
        roles = [role for holder, role in direct if holder.id == account.id] + through
        if not roles:
            raise GrantUnknown(f"{username} has no role")
        return roles

    async def teams(self, repository: Repository) -> list[TeamGrant]:
        """Return teams' grants, oldest first."""
        async with self.database.read() as connection:
            found = await store.team_roles(
                connection, repository_id=repository.id, lookups=self.lookups
            )
        return [TeamGrant(team_name=name, role=role) for name, _, role in found]

    async def team(self, repository: Repository, *, name: str) -> TeamGrant:
        """Return one team's grant.

        Raises:
            GrantUnknown: there is none.
        """
        for grant in await self.teams(repository):
            if grant.team_name == name:
                return grant
        raise GrantUnknown("Team does not have permission for repo.")

    async def set_user(
        self, repository: Repository, *, username: str, role: str, actor: Actor
    ) -> UserGrant:
        """Give an account a role.

        Raises:
            GrantRefused: no such account, a robot of somebody else, or the namespace's owner.
        """
        async with self.database.begin() as connection:
            account = await directory.find(connection, username=username)
            if account is None:
                raise GrantRefused(f"Invalid username: {username}")
            if account.id == repository.namespace.id:
                raise GrantRefused("Namespace owner must always be admin.")
            if account.is_robot and not _is_robot_of(account, repository):
                namespace = repository.namespace.username
                raise GrantRefused(f"Cannot add robot {username} under namespace {namespace}")
            await store.set_user_role(
                connection,
                repository_id=repository.id,
                account_id=account.id,
                role_id=self.lookups.id("role", role),
            )
            await self._record(
                connection,
                "change_repo_permission",
                repository,
                actor,
                username=username,
                role=role,
            )
        return await self.user(repository, username=username)

    async def set_team(
        self, repository: Repository, *, name: str, role: str, actor: Actor
    ) -> TeamGrant:
        """Give a team a role.

        Raises:
            GrantRefused: no such team.
        """
        async with self.database.begin() as connection:
            team_id = await self._team_id(connection, repository, name)
            await store.set_team_role(
                connection,
                repository_id=repository.id,
                team_id=team_id,
                role_id=self.lookups.id("role", role),
            )
            await self._record(
                connection, "change_repo_permission", repository, actor, team=name, role=role
            )
        return TeamGrant(team_name=name, role=role)

    async def remove_user(self, repository: Repository, *, username: str, actor: Actor) -> None:
        """Take a role back.

        Raises:
            GrantRefused: there is none, or it is the owner's.
        """
        async with self.database.begin() as connection:
            account = await directory.find(connection, username=username)
            if account is None:
                raise GrantRefused(f"Invalid username: {username}")
            if account.id == repository.namespace.id:
                raise GrantRefused("Namespace owner must always be admin.")
            removed = await store.remove_user(
                connection, repository_id=repository.id, account_id=account.id
            )
            if not removed:
                raise GrantRefused("User does not have permission for repo.")
            await self._record(
                connection, "delete_repo_permission", repository, actor, username=username
            )

    async def remove_team(self, repository: Repository, *, name: str, actor: Actor) -> None:
        """Take a team's role back.

        Raises:
            GrantRefused: there is none.
        """
        async with self.database.begin() as connection:
            team_id = await self._team_id(connection, repository, name)
            if not await store.remove_team(
                connection, repository_id=repository.id, team_id=team_id
            ):
                raise GrantRefused("Team does not have permission for repo.")
            await self._record(connection, "delete_repo_permission", repository, actor, team=name)

    async def _team_id(self, connection: AsyncConnection, repository: Repository, name: str) -> int:
        team_id = await store.find_team_id(
            connection, organization_id=repository.namespace.id, name=name
        )
        if team_id is None:
            namespace = repository.namespace.username
            raise GrantRefused(f"No team {name} in organization {namespace}")
        return team_id

    async def _record(
        self,
        connection: AsyncConnection,
        kind: str,
        repository: Repository,
        actor: Actor,
        **metadata: str,
    ) -> None:
        entry = Entry(
            kind=kind,
            actor=actor,
            namespace_id=repository.namespace.id,
            repository_id=repository.id,
            metadata={
                "namespace": repository.namespace.username,
                "repo": repository.name,
                **metadata,
            },
        )
        await self.audit.record(connection, entry)


def _is_robot_of(account: Account, repository: Repository) -> bool:
    return account.is_robot and account.owner_name == repository.namespace.username

"""Teams of organizations."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.accounts import policy, store_teams
from hatoba.registry.accounts.errors import LastAdministrator, TeamMembership, TeamUnknown
from hatoba.registry.accounts.models import Account, Team
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.db.lookups import Lookups
from hatoba.sql.engine import Database


@dataclass(slots=True, frozen=True, kw_only=True)
class Teams:
    """The teams of organizations."""

    database: Database
    lookups: Lookups
    audit: AuditLog

    async def find(self, organization: Account, *, name: str) -> Team | None:
        """Return a team by name."""
        async with self.database.read() as connection:
            return await store_teams.find_team(
                connection, organization_id=organization.id, name=name, lookups=self.lookups
            )

    async def get(self, organization: Account, *, name: str) -> Team:
        """Return a team by name.

        Raises:
            TeamUnknown: there is none.
        """
        team = await self.find(organization, name=name)
        if team is None:
            raise TeamUnknown(f"Team '{name}' is not a team in org '{organization.username}'")
        return team

    async def put(
        self, organization: Account, *, name: str, role: str, description: str | None, actor: Actor
    ) -> tuple[Team, bool]:
        """Create or change a team; say whether it is new.

        Raises:
            InvalidAccountName: for a new team with a bad name.
            LastAdministrator: the last team of administrators would lose its role.
        """
        async with self.database.begin() as connection:
            existing = await self._find(connection, organization, name)
            if existing is None:
                await self._create(connection, organization, name, role, description or "")
                await self._record(connection, organization, "org_create_team", actor, team=name)
            else:
                await self._change(connection, organization, existing, role, description, actor)
            team = await self._find(connection, organization, name)
        if team is None:
            raise TeamUnknown(f"Team '{name}' is not a team in org '{organization.username}'")
        return team, existing is None

    async def delete(self, organization: Account, *, name: str, actor: Actor) -> None:
        """Delete a team.

        Raises:
            TeamUnknown: there is none.
            LastAdministrator: nobody would administer the organization any more.
        """
        async with self.database.begin() as connection:
            team = await self._find(connection, organization, name)
            if team is None:
                raise TeamUnknown(f"Team '{name}' is not a team in org '{organization.username}'")
            if team.role == "admin":
                await self._require_others(connection, organization, team)
            await store_teams.delete_team(connection, team_id=team.id)
            await self._record(connection, organization, "org_delete_team", actor, team=name)

    async def members(self, team: Team) -> list[Account]:
        """Return the members, in the order in which they joined."""
        async with self.database.read() as connection:
            return await store_teams.members_of(connection, team_id=team.id)

    async def has_member(self, team: Team, *, account_id: int) -> bool:
        """Say whether an account is in the team."""
        async with self.database.read() as connection:
            return await store_teams.is_member(connection, team_id=team.id, account_id=account_id)

    async def joined_by(self, organization: Account, *, account_id: int) -> set[int]:
        """Return the ids of the teams of an organization that an account is in."""
        async with self.database.read() as connection:
            return await store_teams.teams_joined(
                connection, organization_id=organization.id, account_id=account_id
            )

    async def grants(self, team: Team) -> list[tuple[str, bool, str]]:
        """Return (repository, is public, role) of what the team was granted."""
        async with self.database.read() as connection:
            return await store_teams.team_grants(connection, team_id=team.id, lookups=self.lookups)

    async def add_member(
        self, organization: Account, *, team: Team, account: Account, actor: Actor
    ) -> None:
        """Let an account join.

        Raises:
            TeamMembership: it has.
        """
        async with self.database.begin() as connection:
            if await store_teams.is_member(connection, team_id=team.id, account_id=account.id):
                raise TeamMembership(
                    f"User {account.username} is already a member of team {team.name}"
                )
            await store_teams.add_member(connection, team_id=team.id, account_id=account.id)
            await self._record(
                connection,
                organization,
                "org_add_team_member",
                actor,
                member=account.username,
                team=team.name,
            )

    async def remove_member(
        self, organization: Account, *, team: Team, account: Account, actor: Actor
    ) -> None:
        """Let an account leave.

        Raises:
            TeamMembership: it is not in the team.
            LastAdministrator: nobody would administer the organization any more, or the actor
                would lose the last team that makes him an administrator.
        """
        async with self.database.begin() as connection:
            if not await store_teams.is_member(connection, team_id=team.id, account_id=account.id):
                raise TeamMembership(f"User {account.username} does not belong to team {team.name}")
            if team.role == "admin":
                await self._require_another_way(connection, organization, team, account, actor)
            await store_teams.remove_member(connection, team_id=team.id, account_id=account.id)
            await self._record(
                connection,
                organization,
                "org_remove_team_member",
                actor,
                member=account.username,
                team=team.name,
            )

    async def _find(
        self, connection: AsyncConnection, organization: Account, name: str
    ) -> Team | None:
        return await store_teams.find_team(
            connection, organization_id=organization.id, name=name, lookups=self.lookups
        )

    async def _create(
        self,
        connection: AsyncConnection,
        organization: Account,
        name: str,
        role: str,
        description: str,
    ) -> None:
        policy.check_username(name, noun="team name")
        await store_teams.insert_team(
            connection,
            organization_id=organization.id,
            name=name,
            role_id=self.lookups.id("teamrole", role),
            description=description,
        )

    async def _change(
        self,
        connection: AsyncConnection,
        organization: Account,
        team: Team,
        role: str,
        description: str | None,
        actor: Actor,
    ) -> None:
        if description is not None and description != team.description:
            await store_teams.change_team(
                connection, team_id=team.id, values={"description": description}
            )
            await self._record(
                connection,
                organization,
                "org_set_team_description",
                actor,
                team=team.name,
                description=description,
            )
        if role == team.role:
            return
        if team.role == "admin":
            await self._require_others(connection, organization, team)
        await store_teams.change_team(
            connection, team_id=team.id, values={"role_id": self.lookups.id("teamrole", role)}
        )
        await self._record(
            connection, organization, "org_set_team_role", actor, team=team.name, role=role
        )

    async def _administrators(
        self, connection: AsyncConnection, organization: Account
    ) -> list[tuple[int, int]]:
        return await store_teams.administrators(
            connection,
            organization_id=organization.id,
            admin_role_id=self.lookups.id("teamrole", "admin"),
        )

    async def _require_others(
        self, connection: AsyncConnection, organization: Account, team: Team
    ) -> None:
        pairs = await self._administrators(connection, organization)
        if any(team_id != team.id for team_id, _ in pairs):
            return
        members = await store_teams.members_of(connection, team_id=team.id)
        name = members[0].username if members else ""
        raise LastAdministrator(
            f"Deleting team '{team.name}' would remove admin ability for user '{name}'"
            f" in organization '{organization.username}'"
        )

    async def _require_another_way(
        self,
        connection: AsyncConnection,
        organization: Account,
        team: Team,
        account: Account,
        actor: Actor,
    ) -> None:
        pairs = await self._administrators(connection, organization)
        left = [pair for pair in pairs if pair != (team.id, account.id)]
        if account.id == actor.account_id and all(member != account.id for _, member in left):
            raise LastAdministrator("User cannot remove themselves from their only admin team.")
        if not left:
            raise LastAdministrator(
                f"Deleting team '{team.name}' would remove admin ability for user"
                f" '{account.username}' in organization '{organization.username}'"
            )

    async def _record(
        self,
        connection: AsyncConnection,
        organization: Account,
        kind: str,
        actor: Actor,
        **metadata: str,
    ) -> None:
        entry = Entry(kind=kind, actor=actor, namespace_id=organization.id, metadata=metadata)
        await self.audit.record(connection, entry)

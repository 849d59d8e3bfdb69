"""Grants: what teams, people and robots were given in repositories and organizations."""

from dataclasses import dataclass

from sqlalchemy import select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.db.tables.permissions import repository_permissions, roles
from hatoba.registry.db.tables.teams import team_members, team_roles, teams


async def granted_roles(
    connection: AsyncConnection, *, account_id: int, repository_id: int
) -> set[str]:
    """Return the roles an account has in a repository, directly or through a team."""
    # Two questions, each of one account: an OR over both tables reads the grants and team members
    # of everybody who has something to do with the repository.
    direct = (
        select(roles.c.name)
        .join(repository_permissions, repository_permissions.c.role_id == roles.c.id)
        .where(
            repository_permissions.c.repository_id == repository_id,
            repository_permissions.c.user_id == account_id,
        )
    )
    through_teams = (
        select(roles.c.name)
        .join(repository_permissions, repository_permissions.c.role_id == roles.c.id)
        .join(team_members, team_members.c.team_id == repository_permissions.c.team_id)
        .where(
            repository_permissions.c.repository_id == repository_id,
            team_members.c.user_id == account_id,
        )
    )
    statement = union(direct, through_teams)
    return set((await connection.execute(statement)).scalars())


async def team_roles_in(
    connection: AsyncConnection, *, account_id: int, organization_id: int
) -> set[str]:
    """Return the roles of an account's teams in an organization."""
    statement = (
        select(team_roles.c.name)
        .join(teams, teams.c.role_id == team_roles.c.id)
        .join(team_members, team_members.c.team_id == teams.c.id)
        .where(team_members.c.user_id == account_id, teams.c.organization_id == organization_id)
    )
    return set((await connection.execute(statement)).scalars())


@dataclass(slots=True, frozen=True, kw_only=True)
class Reach:
    """What an account reaches beyond its own namespace and public repositories."""

    administered: frozenset[int]
    """Organizations in which it administers everything."""
    repositories: frozenset[int]
    """Repositories with a grant."""


async def reach_of(connection: AsyncConnection, *, account_id: int) -> Reach:
    """Return what an account reaches; for lists."""
    administered = (
        select(teams.c.organization_id)
        .join(team_members, team_members.c.team_id == teams.c.id)
        .join(team_roles, team_roles.c.id == teams.c.role_id)
        .where(team_members.c.user_id == account_id, team_roles.c.name == "admin")
    )
    # Two questions, as no index answers an OR over both tables: it read all grants of everybody.
    granted = union(
        select(repository_permissions.c.repository_id).where(
            repository_permissions.c.user_id == account_id
        ),
        select(repository_permissions.c.repository_id)
        .join(team_members, team_members.c.team_id == repository_permissions.c.team_id)
        .where(team_members.c.user_id == account_id),
    )
    return Reach(
        administered=frozenset((await connection.execute(administered)).scalars()),
        repositories=frozenset((await connection.execute(granted)).scalars()),
    )

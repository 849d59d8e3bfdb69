"""Rows of teams and their members."""

from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.accounts.models import Account, Team
from hatoba.registry.accounts.store import account_of
from hatoba.registry.db.lookups import Lookups
from hatoba.registry.db.tables.permissions import repository_permissions
from hatoba.registry.db.tables.repositories import repositories
from hatoba.registry.db.tables.teams import team_members, team_syncs, teams
from hatoba.registry.db.tables.users import users

MARKED_FOR_DELETION = 3


def _with_counts() -> Any:
    members = (
        select(func.count())
        .select_from(team_members)
        .where(team_members.c.team_id == teams.c.id)
        .scalar_subquery()
    )
    granted = (
        select(func.count(repository_permissions.c.repository_id.distinct()))
        .select_from(
            repository_permissions.join(
                repositories, repositories.c.id == repository_permissions.c.repository_id
            )
        )
        .where(
            repository_permissions.c.team_id == teams.c.id,
            repositories.c.state != MARKED_FOR_DELETION,
        )
        .scalar_subquery()
    )
    return select(
        teams,
        members.label("member_count"),
        granted.label("repository_count"),
        team_syncs.c.id.label("sync_id"),
    ).select_from(teams.outerjoin(team_syncs, team_syncs.c.team_id == teams.c.id))


def _team_of(row: Any, lookups: Lookups) -> Team:
    return Team(
        id=row.id,
        name=row.name,
        organization_id=row.organization_id,
        role=lookups.name("teamrole", row.role_id),
        description=row.description,
        member_count=row.member_count,
        repository_count=row.repository_count,
        is_synced=row.sync_id is not None,
    )


async def teams_of(
    connection: AsyncConnection, *, organization_id: int, lookups: Lookups
) -> list[Team]:
    """Return an organization's teams, oldest first."""
    statement = _with_counts().where(teams.c.organization_id == organization_id)
    rows = await connection.execute(statement.order_by(teams.c.id))
    return [_team_of(row, lookups) for row in rows]


async def find_team(
    connection: AsyncConnection, *, organization_id: int, name: str, lookups: Lookups
) -> Team | None:
    """Return a team by name."""
    statement = _with_counts().where(
        teams.c.organization_id == organization_id, teams.c.name == name
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else _team_of(row, lookups)


async def insert_team(
    connection: AsyncConnection, *, organization_id: int, name: str, role_id: int, description: str
) -> int:
    """Write a team; return its id."""
    statement = (
        insert(teams)
        .values(
            name=name, organization_id=organization_id, role_id=role_id, description=description
        )
        .returning(teams.c.id)
    )
    return int((await connection.execute(statement)).scalar_one())


async def change_team(connection: AsyncConnection, *, team_id: int, values: dict[str, Any]) -> None:
    """Change columns of a team."""
    await connection.execute(update(teams).where(teams.c.id == team_id).values(**values))


async def delete_team(connection: AsyncConnection, *, team_id: int) -> None:
    """Remove a team with its memberships and grants."""
    for table, column in (
        (team_members, team_members.c.team_id),
        (repository_permissions, repository_permissions.c.team_id),
        (team_syncs, team_syncs.c.team_id),
    ):
        await connection.execute(delete(table).where(column == team_id))
    await connection.execute(delete(teams).where(teams.c.id == team_id))


async def members_of(connection: AsyncConnection, *, team_id: int) -> list[Account]:
    """Return the members of a team, in the order in which they joined."""
    statement = (
        select(users)
        .join(team_members, team_members.c.user_id == users.c.id)
        .where(team_members.c.team_id == team_id)
        .order_by(team_members.c.id)
    )
    return [account_of(row) for row in await connection.execute(statement)]


async def is_member(connection: AsyncConnection, *, team_id: int, account_id: int) -> bool:
    """Say whether an account is in a team."""
    statement = select(team_members.c.id).where(
        team_members.c.team_id == team_id, team_members.c.user_id == account_id
    )
    return (await connection.execute(statement)).first() is not None


async def add_member(connection: AsyncConnection, *, team_id: int, account_id: int) -> None:
    """Write a membership."""
    await connection.execute(insert(team_members).values(team_id=team_id, user_id=account_id))


async def remove_member(connection: AsyncConnection, *, team_id: int, account_id: int) -> int:
    """Remove a membership; return how many there were."""
    result = await connection.execute(
        delete(team_members).where(
            team_members.c.team_id == team_id, team_members.c.user_id == account_id
        )
    )
    return result.rowcount


async def administrators(
    connection: AsyncConnection, *, organization_id: int, admin_role_id: int
) -> list[tuple[int, int]]:
    """Return (team id, account id) of everybody in a team with the role admin."""
    statement = (
        select(teams.c.id, team_members.c.user_id)
        .join(team_members, team_members.c.team_id == teams.c.id)
        .where(teams.c.organization_id == organization_id, teams.c.role_id == admin_role_id)
    )
    return [(row[0], row[1]) for row in await connection.execute(statement)]


async def memberships(
    connection: AsyncConnection, *, organization_id: int
) -> list[tuple[Account, str]]:
    """Return (account, team name) of every membership in an organization."""
    statement = (
        select(users, teams.c.name.label("team_name"))
        .join(team_members, team_members.c.user_id == users.c.id)
        .join(teams, teams.c.id == team_members.c.team_id)
        .where(teams.c.organization_id == organization_id)
        .order_by(team_members.c.id)
    )
    return [(account_of(row), row.team_name) for row in await connection.execute(statement)]


async def direct_grants(
    connection: AsyncConnection, *, organization_id: int
) -> list[tuple[int, str]]:
    """Return (account id, repository name) of direct grants in an organization's repositories."""
    statement = (
        select(repository_permissions.c.user_id, repositories.c.name)
        .join(repositories, repositories.c.id == repository_permissions.c.repository_id)
        .where(
            repositories.c.namespace_user_id == organization_id,
            repositories.c.state != MARKED_FOR_DELETION,
            repository_permissions.c.user_id.is_not(None),
        )
        .order_by(repository_permissions.c.id)
    )
    return [(row[0], row[1]) for row in await connection.execute(statement)]


async def people_with_grants(
    connection: AsyncConnection, *, organization_id: int
) -> dict[int, Account]:
    """Return by id who has direct grants in an organization's repositories, but for robots."""
    granted = (
        select(repository_permissions.c.user_id)
        .join(repositories, repositories.c.id == repository_permissions.c.repository_id)
        .where(
            repositories.c.namespace_user_id == organization_id,
            repositories.c.state != MARKED_FOR_DELETION,
        )
    )
    statement = select(users).where(users.c.id.in_(granted), users.c.robot.is_(False))
    return {row.id: account_of(row) for row in await connection.execute(statement)}


async def team_grants(
    connection: AsyncConnection, *, team_id: int, lookups: Lookups
) -> list[tuple[str, bool, str]]:
    """Return (repository, is public, role) of what a team was granted."""
    statement = (
        select(repositories.c.name, repositories.c.visibility_id, repository_permissions.c.role_id)
        .join(repositories, repositories.c.id == repository_permissions.c.repository_id)
        .where(
            repository_permissions.c.team_id == team_id,
            repositories.c.state != MARKED_FOR_DELETION,
        )
        .order_by(repository_permissions.c.id)
    )
    public = lookups.id("visibility", "public")
    return [
        (row.name, row.visibility_id == public, lookups.name("role", row.role_id))
        for row in await connection.execute(statement)
    ]


async def remove_from_organization(
    connection: AsyncConnection, *, organization_id: int, account_id: int
) -> None:
    """Remove an account from all teams and direct grants of an organization."""
    team_ids = select(teams.c.id).where(teams.c.organization_id == organization_id)
    await connection.execute(
        delete(team_members).where(
            team_members.c.user_id == account_id, team_members.c.team_id.in_(team_ids)
        )
    )
    owned = select(repositories.c.id).where(repositories.c.namespace_user_id == organization_id)
    await connection.execute(
        delete(repository_permissions).where(
            repository_permissions.c.user_id == account_id,
            repository_permissions.c.repository_id.in_(owned),
        )
    )


async def teams_joined(
    connection: AsyncConnection, *, organization_id: int, account_id: int
) -> set[int]:
    """Return the ids of the teams of an organization that an account is in."""
    statement = (
        select(teams.c.id)
        .join(team_members, team_members.c.team_id == teams.c.id)
        .where(teams.c.organization_id == organization_id, team_members.c.user_id == account_id)
    )
    return set((await connection.execute(statement)).scalars())

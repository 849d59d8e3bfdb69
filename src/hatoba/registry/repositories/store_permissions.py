"""Rows of permissions and of default permissions ("prototypes")."""

from typing import Any

from sqlalchemy import Table, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.accounts.directory import account_of
from hatoba.registry.accounts.models import Account
from hatoba.registry.db.lookups import Lookups
from hatoba.registry.db.tables.permissions import permission_prototypes, repository_permissions
from hatoba.registry.db.tables.teams import team_members, teams
from hatoba.registry.db.tables.users import users

_GRANTS: Table = repository_permissions


async def set_user_role(
    connection: AsyncConnection, *, repository_id: int, account_id: int, role_id: int
) -> bool:
    """Give an account a role; say whether it had none before."""
    return await _set(connection, repository_id, role_id, user_id=account_id)


async def set_team_role(
    connection: AsyncConnection, *, repository_id: int, team_id: int, role_id: int
) -> bool:
    """Give a team a role; say whether it had none before."""
    return await _set(connection, repository_id, role_id, team_id=team_id)


async def _set(connection: AsyncConnection, repository_id: int, role_id: int, **whom: int) -> bool:
    condition = and_(
        _GRANTS.c.repository_id == repository_id,
        *(_GRANTS.c[name] == value for name, value in whom.items()),
    )
    changed = await connection.execute(update(_GRANTS).where(condition).values(role_id=role_id))
    if changed.rowcount:
        return False
    await connection.execute(
        insert(_GRANTS).values(repository_id=repository_id, role_id=role_id, **whom)
    )
    return True


async def user_roles(
    connection: AsyncConnection, *, repository_id: int, lookups: Lookups
) -> list[tuple[Account, str]]:
    """Return (account, role) of direct grants, oldest first."""
    statement = (
        select(users, _GRANTS.c.role_id)
        .join(_GRANTS, _GRANTS.c.user_id == users.c.id)
        .where(_GRANTS.c.repository_id == repository_id)
        .order_by(_GRANTS.c.id)
    )
    return [
        (account_of(row), lookups.name("role", row.role_id))
        for row in await connection.execute(statement)
    ]


async def team_roles(
    connection: AsyncConnection, *, repository_id: int, lookups: Lookups
) -> list[tuple[str, int, str]]:
    """Return (team name, team id, role) of teams' grants, oldest first."""
    statement = (
        select(teams.c.name, teams.c.id, _GRANTS.c.role_id)
        .join(_GRANTS, _GRANTS.c.team_id == teams.c.id)
        .where(_GRANTS.c.repository_id == repository_id)
        .order_by(_GRANTS.c.id)
    )
    return [
        (row[0], row[1], lookups.name("role", row[2]))
        for row in await connection.execute(statement)
    ]


async def roles_through_teams(
    connection: AsyncConnection, *, repository_id: int, account_id: int, lookups: Lookups
) -> list[str]:
    """Return the roles that an account has through its teams."""
    statement = (
        select(_GRANTS.c.role_id)
        .join(team_members, team_members.c.team_id == _GRANTS.c.team_id)
        .where(_GRANTS.c.repository_id == repository_id, team_members.c.user_id == account_id)
        .order_by(_GRANTS.c.id)
    )
    return [
        lookups.name("role", value) for value in (await connection.execute(statement)).scalars()
    ]


async def remove_user(connection: AsyncConnection, *, repository_id: int, account_id: int) -> int:
    """Take a role back; return how many there were."""
    result = await connection.execute(
        delete(_GRANTS).where(
            _GRANTS.c.repository_id == repository_id, _GRANTS.c.user_id == account_id
        )
    )
    return result.rowcount


async def remove_team(connection: AsyncConnection, *, repository_id: int, team_id: int) -> int:
    """Take a team's role back; return how many there were."""
    result = await connection.execute(
        delete(_GRANTS).where(
            _GRANTS.c.repository_id == repository_id, _GRANTS.c.team_id == team_id
        )
    )
    return result.rowcount


async def members_among(
    connection: AsyncConnection, *, organization_id: int, account_ids: list[int]
) -> set[int]:
    """Return which of these accounts are in a team of an organization."""
    statement = (
        select(team_members.c.user_id)
        .join(teams, teams.c.id == team_members.c.team_id)
        .where(teams.c.organization_id == organization_id, team_members.c.user_id.in_(account_ids))
    )
    return set((await connection.execute(statement)).scalars())


async def find_team_id(
    connection: AsyncConnection, *, organization_id: int, name: str
) -> int | None:
    """Return the id of a team."""
    statement = select(teams.c.id).where(
        teams.c.organization_id == organization_id, teams.c.name == name
    )
    return (await connection.execute(statement)).scalar_one_or_none()


async def prototypes_of(connection: AsyncConnection, *, organization_id: int) -> list[Any]:
    """Return the rows of an organization's default permissions, oldest first."""
    statement = (
        select(permission_prototypes, teams.c.name.label("team_name"))
        .outerjoin(teams, teams.c.id == permission_prototypes.c.delegate_team_id)
        .where(permission_prototypes.c.org_id == organization_id)
        .order_by(permission_prototypes.c.id)
    )
    return list((await connection.execute(statement)).all())


async def insert_prototype(connection: AsyncConnection, *, values: dict[str, Any]) -> None:
    """Write a default permission."""
    await connection.execute(insert(permission_prototypes).values(**values))


async def change_prototype(connection: AsyncConnection, *, prototype_id: int, role_id: int) -> None:
    """Change the role of a default permission."""
    await connection.execute(
        update(permission_prototypes)
        .where(permission_prototypes.c.id == prototype_id)
        .values(role_id=role_id)
    )


async def delete_prototype(connection: AsyncConnection, *, prototype_id: int) -> None:
    """Remove a default permission."""
    await connection.execute(
        delete(permission_prototypes).where(permission_prototypes.c.id == prototype_id)
    )


async def apply_prototypes(
    connection: AsyncConnection, *, organization_id: int, repository_id: int, creator_id: int
) -> None:
    """Grant in a new repository what the organization's default permissions say."""
    statement = (
        select(permission_prototypes)
        .where(
            permission_prototypes.c.org_id == organization_id,
            or_(
                permission_prototypes.c.activating_user_id.is_(None),
                permission_prototypes.c.activating_user_id == creator_id,
            ),
        )
        .order_by(permission_prototypes.c.id)
    )
    for row in (await connection.execute(statement)).all():
        # The creator stays administrator, whatever a default says about him.
        if row.delegate_user_id is not None and row.delegate_user_id != creator_id:
            await set_user_role(
                connection,
                repository_id=repository_id,
                account_id=row.delegate_user_id,
                role_id=row.role_id,
            )
        elif row.delegate_team_id is not None:
            await set_team_role(
                connection,
                repository_id=repository_id,
                team_id=row.delegate_team_id,
                role_id=row.role_id,
            )

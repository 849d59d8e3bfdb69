"""Rows of robot accounts: `user`, their tokens, descriptions and quayrobot logins."""

import json
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.accounts.models import Account
from hatoba.registry.accounts.store import account_of
from hatoba.registry.db.lookups import Lookups
from hatoba.registry.db.tables.mirrors import repo_mirror_configs
from hatoba.registry.db.tables.permissions import permission_prototypes, repository_permissions
from hatoba.registry.db.tables.repositories import repositories
from hatoba.registry.db.tables.robots import robot_account_metadata, robot_account_tokens
from hatoba.registry.db.tables.teams import team_members, teams
from hatoba.registry.db.tables.users import federated_logins, users

MARKED_FOR_DELETION = 3


def _robots() -> Any:
    return select(
        users,
        robot_account_tokens.c.token,
        robot_account_metadata.c.description.label("robot_description"),
        robot_account_metadata.c.unstructured_json,
    ).select_from(
        users.join(
            robot_account_tokens, robot_account_tokens.c.robot_account_id == users.c.id
        ).outerjoin(robot_account_metadata, robot_account_metadata.c.robot_account_id == users.c.id)
    )


def _read(row: Any) -> tuple[Account, str, str, str]:
    return account_of(row), row.token, row.robot_description or "", row.unstructured_json or ""


async def find_robot(
    connection: AsyncConnection, *, username: str
) -> tuple[Account, str, str, str] | None:
    """Return (account, encrypted token, description, metadata JSON) of a robot."""
    statement = _robots().where(users.c.username == username, users.c.robot.is_(True))
    row = (await connection.execute(statement)).first()
    return None if row is None else _read(row)


async def robots_of(
    connection: AsyncConnection, *, namespace: str, limit: int | None
) -> list[tuple[Account, str, str, str]]:
    """Return the robots of a namespace, oldest first."""
    prefix = f"{namespace}+"
    statement = (
        _robots()
        .where(users.c.robot.is_(True), func.substr(users.c.username, 1, len(prefix)) == prefix)
        .order_by(users.c.id)
    )
    if limit is not None:
        statement = statement.limit(limit)
    return [_read(row) for row in await connection.execute(statement)]


async def insert_parts(
    connection: AsyncConnection,
    *,
    robot: Account,
    encrypted_token: str,
    description: str,
    metadata: dict[str, Any],
    lookups: Lookups,
) -> None:
    """Write what a robot has beside its account."""
    await connection.execute(
        insert(robot_account_tokens).values(
            robot_account_id=robot.id, token=encrypted_token, fully_migrated=True
        )
    )
    await connection.execute(
        insert(robot_account_metadata).values(
            robot_account_id=robot.id,
            description=description,
            unstructured_json=json.dumps(metadata),
        )
    )
    await connection.execute(
        insert(federated_logins).values(
            user_id=robot.id,
            service_id=lookups.id("loginservice", "quayrobot"),
            service_ident=f"robot:{robot.id}",
            metadata_json="{}",
        )
    )


async def set_token(connection: AsyncConnection, *, robot_id: int, encrypted_token: str) -> None:
    """Replace a robot's token."""
    await connection.execute(
        update(robot_account_tokens)
        .where(robot_account_tokens.c.robot_account_id == robot_id)
        .values(token=encrypted_token)
    )


async def is_mirroring(connection: AsyncConnection, *, robot_id: int) -> bool:
    """Say whether a mirror pushes with this robot."""
    statement = select(repo_mirror_configs.c.id).where(
        repo_mirror_configs.c.internal_robot_id == robot_id
    )
    return (await connection.execute(statement.limit(1))).first() is not None


async def delete_robot(connection: AsyncConnection, *, robot_id: int) -> None:
    """Remove a robot with all that refers to it."""
    for column in (
        repository_permissions.c.user_id,
        team_members.c.user_id,
        permission_prototypes.c.delegate_user_id,
        permission_prototypes.c.activating_user_id,
        federated_logins.c.user_id,
        robot_account_tokens.c.robot_account_id,
        robot_account_metadata.c.robot_account_id,
    ):
        await connection.execute(delete(column.table).where(column == robot_id))
    await connection.execute(delete(users).where(users.c.id == robot_id))


async def team_names_of(
    connection: AsyncConnection, *, robot_ids: list[int]
) -> list[tuple[int, str]]:
    """Return (robot id, team name)."""
    statement = (
        select(team_members.c.user_id, teams.c.name)
        .join(teams, teams.c.id == team_members.c.team_id)
        .where(team_members.c.user_id.in_(robot_ids))
        .order_by(team_members.c.id)
    )
    return [(row[0], row[1]) for row in await connection.execute(statement)]


async def grants_of(
    connection: AsyncConnection, *, robot_ids: list[int], lookups: Lookups
) -> list[tuple[int, str, bool, str]]:
    """Return (robot id, repository, is public, role) of direct grants."""
    statement = (
        select(
            repository_permissions.c.user_id,
            repositories.c.name,
            repositories.c.visibility_id,
            repository_permissions.c.role_id,
        )
        .join(repositories, repositories.c.id == repository_permissions.c.repository_id)
        .where(
            repository_permissions.c.user_id.in_(robot_ids),
            repositories.c.state != MARKED_FOR_DELETION,
        )
        .order_by(repository_permissions.c.id)
    )
    public = lookups.id("visibility", "public")
    return [
        (row[0], row[1], row[2] == public, lookups.name("role", row[3]))
        for row in await connection.execute(statement)
    ]

"""Rows of `user` and of what deletion leaves behind."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.accounts.models import Account, AccountKind
from hatoba.registry.db.tables.teams import team_members, team_roles, teams
from hatoba.registry.db.tables.users import (
    deleted_namespaces,
    federated_logins,
    login_services,
    user_prompt_kinds,
    user_prompts,
    users,
)


def account_of(row: Any) -> Account:
    """Read a row of `user`."""
    kind = AccountKind.PERSON
    if row.organization:
        kind = AccountKind.ORGANIZATION
    elif row.robot:
        kind = AccountKind.ROBOT
    return Account(
        id=row.id,
        uuid=row.uuid or "",
        username=row.username,
        email=row.email,
        kind=kind,
        verified=row.verified,
        enabled=row.enabled,
        password_hash=row.password_hash,
        invalid_login_attempts=row.invalid_login_attempts,
        last_invalid_login=row.last_invalid_login,
        tag_expiration_seconds=row.removed_tag_expiration_s,
        invoice_email=row.invoice_email,
        invoice_email_address=row.invoice_email_address,
        has_billing=bool(row.stripe_id),
        company=row.company,
        family_name=row.family_name,
        given_name=row.given_name,
        location=row.location,
        created_at=row.creation_date,
        last_accessed=row.last_accessed,
    )


async def _one(connection: AsyncConnection, statement: Select[Any]) -> Account | None:
    row = (await connection.execute(statement)).first()
    return None if row is None else account_of(row)


async def find(connection: AsyncConnection, *, username: str) -> Account | None:
    """Return the account of this name, of any kind."""
    return await _one(connection, select(users).where(users.c.username == username))


async def find_by_id(connection: AsyncConnection, *, account_id: int) -> Account | None:
    """Return an account by its id."""
    return await _one(connection, select(users).where(users.c.id == account_id))


async def find_by_uuid(connection: AsyncConnection, *, uuid: str) -> Account | None:
    """Return an account by its UUID, to which sessions are bound."""
    return await _one(connection, select(users).where(users.c.uuid == uuid))


async def find_person(connection: AsyncConnection, *, name_or_email: str) -> Account | None:
    """Return the person with this name or, failing that, this e-mail address."""
    person = and_(users.c.organization.is_(False), users.c.robot.is_(False))
    found = await _one(connection, select(users).where(users.c.username == name_or_email, person))
    if found is not None or "@" not in name_or_email:
        return found
    return await _one(connection, select(users).where(users.c.email == name_or_email, person))


async def email_is_used(
    connection: AsyncConnection, *, email: str, except_id: int | None = None
) -> bool:
    """Say whether an account that is no organization has this address."""
    statement = select(users.c.id).where(users.c.email == email, users.c.organization.is_(False))
    if except_id is not None:
        statement = statement.where(users.c.id != except_id)
    return (await connection.execute(statement.limit(1))).first() is not None


async def any_exists(connection: AsyncConnection) -> bool:
    """Say whether there is any account at all."""
    return (await connection.execute(select(users.c.id).limit(1))).first() is not None


async def lock_accounts(connection: AsyncConnection, *, is_postgresql: bool) -> None:
    """Keep others from creating accounts until the transaction ends."""
    if is_postgresql:
        await connection.execute(text('LOCK TABLE "user" IN SHARE ROW EXCLUSIVE MODE'))


async def name_is_reserved(connection: AsyncConnection, *, username: str) -> bool:
    """Say whether the name belongs to an account whose deletion is not finished."""
    statement = select(deleted_namespaces.c.id).where(
        deleted_namespaces.c.original_username == username
    )
    return (await connection.execute(statement.limit(1))).first() is not None


async def insert_account(connection: AsyncConnection, *, values: dict[str, Any]) -> Account:
    """Write a new account."""
    row = (await connection.execute(insert(users).values(**values).returning(*users.c))).one()
    return account_of(row)


async def change(connection: AsyncConnection, *, account_id: int, values: dict[str, Any]) -> None:
    """Change columns of an account."""
    await connection.execute(update(users).where(users.c.id == account_id).values(**values))


async def count_failure(connection: AsyncConnection, *, account_id: int, at: Any) -> None:
    """Count a failed login."""
    await connection.execute(
        update(users)
        .where(users.c.id == account_id)
        .values(invalid_login_attempts=users.c.invalid_login_attempts + 1, last_invalid_login=at)
    )


async def page_of_accounts(
    connection: AsyncConnection,
    *,
    kind: AccountKind,
    with_disabled: bool,
    after_id: int,
    limit: int | None,
) -> Sequence[Account]:
    """Return people or organizations by ascending id."""
    deleted = select(deleted_namespaces.c.namespace_id)
    statement = (
        select(users)
        .where(
            users.c.id > after_id,
            users.c.organization.is_(kind is AccountKind.ORGANIZATION),
            users.c.robot.is_(kind is AccountKind.ROBOT),
            users.c.id.not_in(deleted),
        )
        .order_by(users.c.id)
    )
    if not with_disabled:
        statement = statement.where(users.c.enabled.is_(True))
    if limit is not None:
        statement = statement.limit(limit)
    return [account_of(row) for row in await connection.execute(statement)]


async def by_ids(connection: AsyncConnection, *, ids: Sequence[int]) -> dict[int, Account]:
    """Return accounts by their ids."""
    rows = await connection.execute(select(users).where(users.c.id.in_(ids)))
    return {row.id: account_of(row) for row in rows}


async def organizations_of(connection: AsyncConnection, *, account_id: int) -> list[Row[Any]]:
    """Return the organizations a person is in, each with `teamrole` names, ordered by name."""
    statement = (
        select(users, func.min(teams.c.role_id).label("strongest_role"))
        .join(teams, teams.c.organization_id == users.c.id)
        .join(team_members, team_members.c.team_id == teams.c.id)
        .where(team_members.c.user_id == account_id, users.c.organization.is_(True))
        .group_by(*users.c)
        .order_by(users.c.username)
    )
    return list((await connection.execute(statement)).all())


async def team_role_names(
    connection: AsyncConnection, *, account_id: int, organization_id: int
) -> set[str]:
    """Return the roles of the teams through which an account belongs to an organization."""
    statement = (
        select(team_roles.c.name)
        .join(teams, teams.c.role_id == team_roles.c.id)
        .join(team_members, team_members.c.team_id == teams.c.id)
        .where(team_members.c.user_id == account_id, teams.c.organization_id == organization_id)
    )
    return set((await connection.execute(statement)).scalars())


async def prompts_of(connection: AsyncConnection, *, account_id: int) -> list[str]:
    """Return what a person is asked at the next visit."""
    statement = (
        select(user_prompt_kinds.c.name)
        .join(user_prompts, user_prompts.c.kind_id == user_prompt_kinds.c.id)
        .where(user_prompts.c.user_id == account_id)
        .order_by(user_prompts.c.id)
    )
    return list((await connection.execute(statement)).scalars())


async def logins_of(connection: AsyncConnection, *, account_id: int) -> list[tuple[str, str, str]]:
    """Return (service, identifier, metadata JSON) of linked external logins."""
    statement = (
        select(
            login_services.c.name,
            federated_logins.c.service_ident,
            federated_logins.c.metadata_json,
        )
        .join(login_services, login_services.c.id == federated_logins.c.service_id)
        .where(federated_logins.c.user_id == account_id)
    )
    rows = await connection.execute(statement)
    return [(row.name, row.service_ident, row.metadata_json) for row in rows]


async def remove_logins(connection: AsyncConnection, *, account_id: int) -> None:
    """Remove linked external logins."""
    await connection.execute(
        delete(federated_logins).where(federated_logins.c.user_id == account_id)
    )


async def mark_deleted(
    connection: AsyncConnection, *, account: Account, replacement: str, queue_id: str, at: Any
) -> None:
    """Free an account's name for nobody yet: it is renamed and queued, as Quay does."""
    await connection.execute(
        update(users)
        .where(users.c.id == account.id)
        .values(username=replacement, email=replacement, uuid=replacement, enabled=False)
    )
    await connection.execute(
        insert(deleted_namespaces).values(
            namespace_id=account.id,
            marked=at,
            original_username=account.username,
            original_email=account.email,
            queue_id=queue_id,
        )
    )


async def robots_under(connection: AsyncConnection, *, namespace: str) -> list[int]:
    """Return the ids of the robots of a namespace."""
    statement = select(users.c.id).where(
        users.c.robot.is_(True),
        users.c.username.like(namespace.replace("_", r"\_") + "+%", escape="\\"),
    )
    return list((await connection.execute(statement)).scalars())


async def delete_teams_of(connection: AsyncConnection, *, organization_id: int) -> None:
    """Remove the memberships of an organization that is being deleted."""
    team_ids = select(teams.c.id).where(teams.c.organization_id == organization_id)
    condition: ColumnElement[bool] = team_members.c.team_id.in_(team_ids)
    await connection.execute(delete(team_members).where(condition))

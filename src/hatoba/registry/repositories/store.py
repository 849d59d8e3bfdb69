"""Rows of `repository`, stars and counts."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.accounts.models import Account, AccountKind
from hatoba.registry.content.models import RepositoryState
from hatoba.registry.db.lookups import Lookups
from hatoba.registry.db.tables.mirrors import repo_mirror_configs
from hatoba.registry.db.tables.repositories import (
    deleted_repositories,
    repositories,
    repository_action_counts,
    repository_search_scores,
    stars,
)
from hatoba.registry.db.tables.tags import tags
from hatoba.registry.db.tables.users import users
from hatoba.registry.repositories.models import Repository

_OWNER = [column.label(f"owner_{column.name}") for column in users.c]


def _base() -> Any:
    return select(repositories, *_OWNER).join(users, users.c.id == repositories.c.namespace_user_id)


def owner_of(row: Any) -> Account:
    """Read the owner's columns of a joined row."""
    kind = AccountKind.PERSON
    if row.owner_organization:
        kind = AccountKind.ORGANIZATION
    elif row.owner_robot:
        kind = AccountKind.ROBOT
    return Account(
        id=row.owner_id,
        uuid=row.owner_uuid or "",
        username=row.owner_username,
        email=row.owner_email,
        kind=kind,
        verified=row.owner_verified,
        enabled=row.owner_enabled,
        password_hash=None,
        invalid_login_attempts=row.owner_invalid_login_attempts,
        last_invalid_login=row.owner_last_invalid_login,
        tag_expiration_seconds=row.owner_removed_tag_expiration_s,
        invoice_email=row.owner_invoice_email,
        invoice_email_address=row.owner_invoice_email_address,
        has_billing=bool(row.owner_stripe_id),
        company=row.owner_company,
        family_name=row.owner_family_name,
        given_name=row.owner_given_name,
        location=row.owner_location,
        created_at=row.owner_creation_date,
        last_accessed=row.owner_last_accessed,
    )


def repository_of(row: Any, lookups: Lookups) -> Repository:
    """Read a joined row."""
    return Repository(
        id=row.id,
        namespace=owner_of(row),
        name=row.name,
        is_public=row.visibility_id == lookups.id("visibility", "public"),
        description=row.description,
        kind=lookups.name("repositorykind", row.kind_id),
        state=RepositoryState(row.state),
        badge_token=row.badge_token,
        trust_enabled=row.trust_enabled,
    )


async def find(
    connection: AsyncConnection, *, namespace: str, name: str, lookups: Lookups
) -> Repository | None:
    """Return a repository that is not being deleted."""
    statement = _base().where(
        users.c.username == namespace,
        repositories.c.name == name,
        repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else repository_of(row, lookups)


async def insert_repository(
    connection: AsyncConnection,
    *,
    namespace_id: int,
    name: str,
    is_public: bool,
    description: str | None,
    badge_token: str,
    today: date,
    lookups: Lookups,
) -> int:
    """Write a repository with its counters; return its id."""
    statement = (
        insert(repositories)
        .values(
            namespace_user_id=namespace_id,
            name=name,
            visibility_id=lookups.id("visibility", "public" if is_public else "private"),
            kind_id=lookups.id("repositorykind", "image"),
            description=description,
            badge_token=badge_token,
        )
        .returning(repositories.c.id)
    )
    repository_id = int((await connection.execute(statement)).scalar_one())
    await connection.execute(
        insert(repository_action_counts).values(repository_id=repository_id, count=0, date=today)
    )
    await connection.execute(
        insert(repository_search_scores).values(repository_id=repository_id, score=0)
    )
    return repository_id


async def change(
    connection: AsyncConnection, *, repository_id: int, values: dict[str, Any]
) -> None:
    """Change columns of a repository."""
    await connection.execute(
        update(repositories).where(repositories.c.id == repository_id).values(**values)
    )


async def mark_deleted(
    connection: AsyncConnection,
    *,
    repository: Repository,
    replacement: str,
    queue_id: str,
    at: datetime,
) -> None:
    """Rename a repository and leave a note of what it was, as Quay does."""
    await connection.execute(
        update(repositories)
        .where(repositories.c.id == repository.id)
        .values(name=replacement, state=RepositoryState.MARKED_FOR_DELETION)
    )
    await connection.execute(
        insert(deleted_repositories).values(
            repository_id=repository.id,
            marked=at,
            original_name=repository.name,
            queue_id=queue_id,
        )
    )
    await connection.execute(delete(stars).where(stars.c.repository_id == repository.id))


async def page(
    connection: AsyncConnection,
    *,
    conditions: Sequence[ColumnElement[bool]],
    after_id: int,
    limit: int,
    lookups: Lookups,
) -> list[Repository]:
    """Return repositories by ascending id."""
    statement = (
        _base()
        .where(
            repositories.c.id > after_id,
            repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
            users.c.enabled.is_(True),
            *conditions,
        )
        .order_by(repositories.c.id)
        .limit(limit)
    )
    return [repository_of(row, lookups) for row in await connection.execute(statement)]


def in_namespace(namespace: str) -> ColumnElement[bool]:
    """Select the repositories of a namespace."""
    return users.c.username == namespace


def of_kind(kind: str, lookups: Lookups) -> ColumnElement[bool]:
    """Select repositories of a kind; an unknown kind selects none."""
    return repositories.c.kind_id == lookups.ids["repositorykind"].get(kind, 0)


def starred_by(account_id: int) -> ColumnElement[bool]:
    """Select the repositories that an account starred."""
    return repositories.c.id.in_(select(stars.c.repository_id).where(stars.c.user_id == account_id))


def visible_to(
    *,
    account_id: int | None,
    administered: Sequence[int],
    granted: Sequence[int],
    include_public: bool,
    lookups: Lookups,
) -> ColumnElement[bool]:
    """Select what an account can read."""
    choices: list[ColumnElement[bool]] = []
    if include_public:
        choices.append(repositories.c.visibility_id == lookups.id("visibility", "public"))
    if account_id is not None:
        choices.append(repositories.c.namespace_user_id.in_([account_id, *administered]))
        choices.append(repositories.c.id.in_(granted))
    return or_(*choices) if choices else repositories.c.id.in_(())


async def last_modified(
    connection: AsyncConnection, *, repository_ids: Sequence[int]
) -> dict[int, int]:
    """Return when tags were last moved, in milliseconds, by repository."""
    # The end of one index for each of them, whatever it holds: a maximum of many repositories at
    # once reads all their tags.
    moved = (
        select(tags.c.lifetime_start_ms)
        .where(
            tags.c.repository_id == repositories.c.id,
            tags.c.hidden.is_(False),
        )
        .order_by(tags.c.lifetime_start_ms.desc())
        .limit(1)
        .scalar_subquery()
    )
    statement = select(repositories.c.id, moved).where(repositories.c.id.in_(repository_ids))
    rows = await connection.execute(statement)
    return {row[0]: row[1] for row in rows if row[1] is not None}


async def popularity(
    connection: AsyncConnection, *, repository_ids: Sequence[int], since: date
) -> dict[int, int]:
    """Return the number of actions since a day, by repository."""
    statement = (
        select(
            repository_action_counts.c.repository_id,
            func.sum(repository_action_counts.c.count),
        )
        .where(
            repository_action_counts.c.repository_id.in_(repository_ids),
            repository_action_counts.c.date >= since,
        )
        .group_by(repository_action_counts.c.repository_id)
    )
    return {row[0]: int(row[1] or 0) for row in await connection.execute(statement)}


async def action_counts(
    connection: AsyncConnection, *, repository_id: int, since: date
) -> dict[date, int]:
    """Return the number of actions by day."""
    statement = select(repository_action_counts.c.date, repository_action_counts.c.count).where(
        repository_action_counts.c.repository_id == repository_id,
        repository_action_counts.c.date >= since,
    )
    return {row[0]: row[1] for row in await connection.execute(statement)}


async def mirror_robot_id(connection: AsyncConnection, *, repository_id: int) -> int | None:
    """Return the robot of a repository's mirror."""
    statement = select(repo_mirror_configs.c.internal_robot_id).where(
        repo_mirror_configs.c.repository_id == repository_id
    )
    return (await connection.execute(statement)).scalar_one_or_none()


async def starred_among(
    connection: AsyncConnection, *, account_id: int, repository_ids: Sequence[int]
) -> set[int]:
    """Return which of these repositories an account starred."""
    statement = select(stars.c.repository_id).where(
        stars.c.user_id == account_id, stars.c.repository_id.in_(repository_ids)
    )
    return set((await connection.execute(statement)).scalars())


async def add_star(
    connection: AsyncConnection, *, account_id: int, repository_id: int, at: datetime
) -> None:
    """Write a star."""
    await connection.execute(
        insert(stars).values(user_id=account_id, repository_id=repository_id, created=at)
    )


async def remove_star(connection: AsyncConnection, *, account_id: int, repository_id: int) -> None:
    """Remove a star."""
    await connection.execute(
        delete(stars).where(stars.c.user_id == account_id, stars.c.repository_id == repository_id)
    )

"""Rows of OAuth applications and their tokens, and of tokens for applications or repositories."""

from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.accounts.models import OAuthToken
from hatoba.registry.db.tables.oauth import oauth_access_tokens, oauth_applications
from hatoba.registry.db.tables.permissions import roles
from hatoba.registry.db.tables.tokens import access_tokens, app_specific_auth_tokens


async def insert_application(connection: AsyncConnection, *, values: dict[str, Any]) -> int:
    """Write an application; return its id."""
    statement = insert(oauth_applications).values(**values).returning(oauth_applications.c.id)
    return int((await connection.execute(statement)).scalar_one())


async def find_application(connection: AsyncConnection, *, client_id: str) -> Any | None:
    """Return an application's row."""
    statement = select(oauth_applications).where(oauth_applications.c.client_id == client_id)
    return (await connection.execute(statement)).first()


async def applications_of(connection: AsyncConnection, *, organization_id: int) -> list[Any]:
    """Return the applications of an organization, oldest first."""
    statement = (
        select(oauth_applications)
        .where(oauth_applications.c.organization_id == organization_id)
        .order_by(oauth_applications.c.id)
    )
    return list((await connection.execute(statement)).all())


async def change_application(
    connection: AsyncConnection, *, application_id: int, values: dict[str, Any]
) -> None:
    """Change columns of an application."""
    await connection.execute(
        update(oauth_applications).where(oauth_applications.c.id == application_id).values(**values)
    )


async def delete_application(connection: AsyncConnection, *, application_id: int) -> None:
    """Remove an application with its tokens."""
    await connection.execute(
        delete(oauth_access_tokens).where(oauth_access_tokens.c.application_id == application_id)
    )
    await connection.execute(
        delete(oauth_applications).where(oauth_applications.c.id == application_id)
    )


async def insert_token(connection: AsyncConnection, *, values: dict[str, Any]) -> int:
    """Write an access token; return its id."""
    statement = insert(oauth_access_tokens).values(**values).returning(oauth_access_tokens.c.id)
    return int((await connection.execute(statement)).scalar_one())


async def find_token(
    connection: AsyncConnection, *, token_name: str
) -> tuple[OAuthToken, str] | None:
    """Return an access token and the hash of its secret half."""
    statement = select(oauth_access_tokens).where(oauth_access_tokens.c.token_name == token_name)
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    token = OAuthToken(
        id=row.id,
        uuid=row.uuid,
        application_id=row.application_id,
        account_id=row.authorized_user_id,
        scopes=row.scope,
        expires_at=row.expires_at,
    )
    return token, row.token_code


async def insert_app_token(connection: AsyncConnection, *, values: dict[str, Any]) -> Any:
    """Write an application-specific token; return its row."""
    statement = (
        insert(app_specific_auth_tokens).values(**values).returning(*app_specific_auth_tokens.c)
    )
    return (await connection.execute(statement)).one()


async def find_app_token(
    connection: AsyncConnection,
    *,
    token_name: str | None = None,
    uuid: str | None = None,
    account_id: int | None = None,
) -> Any | None:
    """Return an application-specific token's row by its name, or by UUID and account."""
    statement = select(app_specific_auth_tokens)
    if token_name is not None:
        statement = statement.where(app_specific_auth_tokens.c.token_name == token_name)
    else:
        statement = statement.where(
            app_specific_auth_tokens.c.uuid == uuid,
            app_specific_auth_tokens.c.user_id == account_id,
        )
    return (await connection.execute(statement)).first()


async def app_tokens_of(connection: AsyncConnection, *, account_id: int) -> list[Any]:
    """Return the application-specific tokens of an account, oldest first."""
    statement = (
        select(app_specific_auth_tokens)
        .where(app_specific_auth_tokens.c.user_id == account_id)
        .order_by(app_specific_auth_tokens.c.id)
    )
    return list((await connection.execute(statement)).all())


async def touch_app_token(connection: AsyncConnection, *, token_id: int, at: Any) -> None:
    """Note that a token was used."""
    await connection.execute(
        update(app_specific_auth_tokens)
        .where(app_specific_auth_tokens.c.id == token_id)
        .values(last_accessed=at)
    )


async def delete_app_token(connection: AsyncConnection, *, token_id: int) -> None:
    """Remove an application-specific token."""
    await connection.execute(
        delete(app_specific_auth_tokens).where(app_specific_auth_tokens.c.id == token_id)
    )


async def find_access_token(connection: AsyncConnection, *, token_name: str) -> Any | None:
    """Return id, repository_id, role and token_code of a repository's token."""
    statement = (
        select(
            access_tokens.c.id,
            access_tokens.c.repository_id,
            access_tokens.c.token_code,
            roles.c.name.label("role"),
        )
        .join(roles, roles.c.id == access_tokens.c.role_id)
        .where(access_tokens.c.token_name == token_name)
    )
    return (await connection.execute(statement)).one_or_none()

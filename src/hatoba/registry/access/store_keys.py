"""Rows of keys: public halves in `servicekey`, where Quay looks too, private ones in our table."""

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.json import JsonObject
from hatoba.registry.db.tables.hatoba import signing_keys
from hatoba.registry.db.tables.service_keys import service_key_approvals, service_keys

LOCK_KEY = 0x6B657973
"""Key of the advisory lock under which a key is made ("keys")."""


@dataclass(slots=True, frozen=True, kw_only=True)
class StoredKey:
    """A signing key as stored."""

    kid: str
    encrypted_private_key: str
    sign_until: datetime


async def lock_key_creation(connection: AsyncConnection, *, is_postgresql: bool) -> None:
    """Let one process at a time make a key, until its transaction ends."""
    if is_postgresql:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})


async def current_key(connection: AsyncConnection, *, now: datetime) -> StoredKey | None:
    """Return the key that signs now."""
    statement = (
        select(signing_keys)
        .where(signing_keys.c.sign_until > now)
        .order_by(signing_keys.c.id.desc())
        .limit(1)
    )
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    return StoredKey(
        kid=row.kid, encrypted_private_key=row.encrypted_private_key, sign_until=row.sign_until
    )


async def insert_key(
    connection: AsyncConnection,
    *,
    key: StoredKey,
    public: JsonObject,
    service: str,
    created: datetime,
    expires: datetime,
) -> None:
    """Write both halves of a new key, approved."""
    approval = (
        insert(service_key_approvals)
        .values(approval_type="Automatic", approved_date=created, notes="")
        .returning(service_key_approvals.c.id)
    )
    approval_id = (await connection.execute(approval)).scalar_one()
    await connection.execute(
        insert(service_keys).values(
            name="hatoba",
            kid=key.kid,
            service=service,
            jwk=json.dumps(public),
            metadata=json.dumps({"created_by": "hatoba"}),
            created_date=created,
            expiration_date=expires,
            approval_id=approval_id,
        )
    )
    await connection.execute(
        insert(signing_keys).values(
            kid=key.kid,
            encrypted_private_key=key.encrypted_private_key,
            created_at=created,
            sign_until=key.sign_until,
        )
    )


async def public_keys(
    connection: AsyncConnection, *, service: str, now: datetime
) -> dict[str, JsonObject]:
    """Return the approved keys of a service that have not expired, by their kid."""
    statement = select(service_keys.c.kid, service_keys.c.jwk).where(
        service_keys.c.service == service,
        service_keys.c.approval_id.is_not(None),
        (service_keys.c.expiration_date.is_(None)) | (service_keys.c.expiration_date > now),
    )
    return {row.kid: json.loads(row.jwk) for row in await connection.execute(statement)}

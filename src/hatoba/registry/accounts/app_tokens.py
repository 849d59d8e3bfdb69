"""Application-specific tokens: passwords that people make for single image clients."""

from dataclasses import dataclass
from typing import Any, Final

from hatoba.kernel.clock import Clock
from hatoba.kernel.ids import new_uuid, random_text, same_secret
from hatoba.registry.accounts import store_oauth
from hatoba.registry.accounts.errors import TokenUnknown
from hatoba.registry.accounts.models import Account, AppToken
from hatoba.registry.accounts.secrets import ColumnCipher
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.sql.engine import Database

NAME_LENGTH: Final = 60
SECRET_LENGTH: Final = 60


@dataclass(slots=True, frozen=True, kw_only=True)
class AppTokens:
    """The application-specific tokens of this registry."""

    database: Database
    clock: Clock
    cipher: ColumnCipher
    audit: AuditLog

    async def create(self, account: Account, *, title: str, actor: Actor) -> AppToken:
        """Create a token without end."""
        name, secret = random_text(NAME_LENGTH), random_text(SECRET_LENGTH)
        async with self.database.begin() as connection:
            row = await store_oauth.insert_app_token(
                connection,
                values={
                    "user_id": account.id,
                    "uuid": new_uuid(),
                    "title": title,
                    "created": self.clock.now(),
                    "token_name": name,
                    "token_secret": self.cipher.encrypt(secret),
                },
            )
            entry = self._entry("create_app_specific_token", account, title, actor)
            await self.audit.record(connection, entry)
        return self._read(row)

    async def list_tokens(self, account: Account) -> list[AppToken]:
        """Return an account's tokens, oldest first."""
        async with self.database.read() as connection:
            rows = await store_oauth.app_tokens_of(connection, account_id=account.id)
        return [self._read(row) for row in rows]

    async def get(self, account: Account, *, uuid: str) -> AppToken:
        """Return a token of an account.

        Raises:
            TokenUnknown: there is none.
        """
        async with self.database.read() as connection:
            row = await store_oauth.find_app_token(connection, uuid=uuid, account_id=account.id)
        if row is None:
            raise TokenUnknown(f"There is no token {uuid}")
        return self._read(row)

    async def revoke(self, account: Account, *, uuid: str, actor: Actor) -> None:
        """Delete a token; it is refused from this moment.

        Raises:
            TokenUnknown: there is none.
        """
        token = await self.get(account, uuid=uuid)
        async with self.database.begin() as connection:
            await store_oauth.delete_app_token(connection, token_id=token.id)
            entry = self._entry("revoke_app_specific_token", account, token.title, actor)
            await self.audit.record(connection, entry)

    async def find(self, code: str) -> AppToken | None:
        """Return the token that a password is; None when it is none of ours or has expired."""
        if len(code) != NAME_LENGTH + SECRET_LENGTH:
            return None
        async with self.database.read() as connection:
            row = await store_oauth.find_app_token(connection, token_name=code[:NAME_LENGTH])
        if row is None:
            return None
        token = self._read(row)
        expired = token.expiration is not None and token.expiration <= self.clock.now()
        if expired or not same_secret(code, token.code):
            return None
        async with self.database.begin() as connection:
            await store_oauth.touch_app_token(connection, token_id=token.id, at=self.clock.now())
        return token

    def _read(self, row: Any) -> AppToken:
        return AppToken(
            id=row.id,
            uuid=row.uuid,
            account_id=row.user_id,
            title=row.title,
            created=row.created,
            expiration=row.expiration,
            last_accessed=row.last_accessed,
            code=row.token_name + self.cipher.decrypt(row.token_secret),
        )

    @staticmethod
    def _entry(kind: str, account: Account, title: str, actor: Actor) -> Entry:
        metadata = {"app_specific_token_title": title}
        return Entry(kind=kind, actor=actor, namespace_id=account.id, metadata=metadata)

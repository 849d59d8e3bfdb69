"""People: creation, change, deletion.

Used by the edges api and web. What signing in means is in `credentials`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.clock import Clock
from hatoba.kernel.ids import new_uuid, random_text
from hatoba.registry.accounts import policy, store
from hatoba.registry.accounts.errors import (
    AccountExists,
    AccountUnknown,
    EmailInUse,
    NonEmptyDatabase,
    UsernameUnavailable,
)
from hatoba.registry.accounts.models import Account, AccountKind
from hatoba.registry.accounts.secrets import SecretHasher
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.sql.engine import Database

GENERATED_PASSWORD_LENGTH: Final = 32


@dataclass(slots=True, frozen=True, kw_only=True)
class Users:
    """The people of this registry."""

    database: Database
    clock: Clock
    hasher: SecretHasher
    audit: AuditLog
    demands_email: bool
    default_tag_expiration: timedelta

    async def find(self, username: str) -> Account | None:
        """Return the person of this name."""
        async with self.database.read() as connection:
            account = await store.find(connection, username=username)
        return account if account is not None and account.kind is AccountKind.PERSON else None

    async def get(self, username: str) -> Account:
        """Return the person of this name.

        Raises:
            AccountUnknown: there is none.
        """
        account = await self.find(username)
        if account is None:
            raise AccountUnknown(f"There is no user {username}")
        return account

    async def find_any(self, username: str) -> Account | None:
        """Return the account of this name, of any kind."""
        async with self.database.read() as connection:
            return await store.find(connection, username=username)

    async def find_by_uuid(self, uuid: str) -> Account | None:
        """Return an account by its UUID."""
        async with self.database.read() as connection:
            return await store.find_by_uuid(connection, uuid=uuid)

    async def find_by_id(self, account_id: int) -> Account | None:
        """Return an account by its id."""
        async with self.database.read() as connection:
            return await store.find_by_id(connection, account_id=account_id)

    async def by_ids(self, ids: list[int]) -> dict[int, Account]:
        """Return accounts by their ids."""
        async with self.database.read() as connection:
            return await store.by_ids(connection, ids=ids)

    async def page(
        self, *, kind: AccountKind, with_disabled: bool, after_id: int = 0, limit: int | None = None
    ) -> list[Account]:
        """Return people or organizations by ascending id."""
        async with self.database.read() as connection:
            return list(
                await store.page_of_accounts(
                    connection,
                    kind=kind,
                    with_disabled=with_disabled,
                    after_id=after_id,
                    limit=limit,
                )
            )

    async def require_empty(self) -> None:
        """Do nothing while there is no account.

        Raises:
            NonEmptyDatabase: there is one.
        """
        async with self.database.read() as connection:
            if await store.any_exists(connection):
                raise NonEmptyDatabase

    async def create_first(
        self, *, username: str, password: str, email: str | None, actor: Actor
    ) -> Account:
        """Create the first person; of two who try at once, one succeeds.

        Raises:
            NonEmptyDatabase: there is an account; and what `create` raises.
        """
        return await self.create(
            username=username, password=password, email=email, actor=actor, must_be_first=True
        )

    async def create(
        self,
        *,
        username: str,
        password: str | None,
        email: str | None,
        actor: Actor,
        must_be_first: bool = False,
    ) -> Account:
        """Create a person; without password, one that cannot sign in yet.

        Raises:
            InvalidPassword, InvalidAccountName, InvalidEmail: as the names say.
            AccountExists, UsernameUnavailable, EmailInUse: it is taken.
        """
        if password is not None:
            policy.check_password(password)
        policy.check_username(username)
        if self.demands_email:
            policy.check_email(email or "")
        password_hash = None if password is None else await self.hasher.hash(password)
        async with self.database.begin() as connection:
            if must_be_first:
                await store.lock_accounts(connection, is_postgresql=self.database.is_postgresql)
                if await store.any_exists(connection):
                    raise NonEmptyDatabase
            account = await self.insert(
                connection, username=username, password_hash=password_hash, email=email
            )
            await self.audit.record(
                connection,
                Entry(
                    kind="user_create",
                    actor=actor,
                    namespace_id=account.id,
                    metadata={"username": username, "email": email},
                ),
            )
        return account

    async def insert(
        self,
        connection: AsyncConnection,
        *,
        username: str,
        password_hash: str | None,
        email: str | None,
    ) -> Account:
        """Write a person inside a transaction of the caller, who has checked the values."""
        if await store.find(connection, username=username) is not None:
            raise AccountExists(
                f"Username has already been taken by user cannot be reused: {username}"
            )
        if await store.name_is_reserved(connection, username=username):
            raise UsernameUnavailable("Username is not available")
        if email and await store.email_is_used(connection, email=email):
            raise EmailInUse
        return await store.insert_account(
            connection,
            values=self.new_row(username=username, email=email)
            | {"password_hash": password_hash, "verified": True},
        )

    def new_row(self, *, username: str, email: str | None) -> dict[str, Any]:
        """Return the columns that every new account has."""
        return {
            "uuid": new_uuid(),
            "username": username,
            # The column demands a value and is unique: a UUID stands for "none", as in Quay.
            "email": email or new_uuid(),
            "verified": False,
            "organization": False,
            "robot": False,
            "invoice_email": False,
            "invalid_login_attempts": 0,
            "last_invalid_login": self.clock.now(),
            "removed_tag_expiration_s": int(self.default_tag_expiration.total_seconds()),
            "enabled": True,
            "creation_date": self.clock.now(),
        }

    @staticmethod
    def generate_password() -> str:
        """Return a password for an account that a superuser creates."""
        return random_text(GENERATED_PASSWORD_LENGTH)

    async def set_password(self, account: Account, *, password: str, actor: Actor) -> Account:
        """Change a password; sessions of the account end.

        Raises:
            InvalidPassword: it breaks the rule.
        """
        policy.check_password(password)
        values = {
            "password_hash": await self.hasher.hash(password),
            "invalid_login_attempts": 0,
            "uuid": new_uuid(),
        }
        return await self._change(
            account, values=values, entry=Entry(kind="user_change_password", actor=actor)
        )

    async def set_email(self, account: Account, *, email: str, actor: Actor) -> Account:
        """Change an e-mail address.

        Raises:
            InvalidEmail, EmailInUse: as the names say.
        """
        if self.demands_email:
            policy.check_email(email)
        async with self.database.read() as connection:
            if await store.email_is_used(connection, email=email, except_id=account.id):
                raise EmailInUse
        metadata = {"email": email, "old_email": account.email}
        return await self._change(
            account,
            values={"email": email},
            entry=Entry(kind="user_change_email", actor=actor, metadata=metadata),
        )

    async def set_enabled(self, account: Account, *, enabled: bool, actor: Actor) -> Account:
        """Enable or disable an account."""
        kind = "user_enable" if enabled else "user_disable"
        return await self._change(
            account, values={"enabled": enabled}, entry=Entry(kind=kind, actor=actor)
        )

    async def set_profile(
        self, account: Account, *, changes: dict[str, Any], actor: Actor
    ) -> Account:
        """Change columns that need no check: names, company, location, invoices, expiration."""
        return await self._change(
            account, values=changes, entry=Entry(kind="user_change_metadata", actor=actor)
        )

    async def end_sessions(self, account: Account) -> None:
        """Sign an account out everywhere: sessions are bound to the UUID that changes here."""
        async with self.database.begin() as connection:
            await store.change(connection, account_id=account.id, values={"uuid": new_uuid()})

    async def _change(self, account: Account, *, values: dict[str, Any], entry: Entry) -> Account:
        named = Entry(
            kind=entry.kind,
            actor=entry.actor,
            namespace_id=account.id,
            metadata={"username": account.username, **entry.metadata},
        )
        async with self.database.begin() as connection:
            await store.change(connection, account_id=account.id, values=values)
            await self.audit.record(connection, named)
            changed = await store.find_by_id(connection, account_id=account.id)
        if changed is None:
            raise AccountUnknown(f"There is no user {account.username}")
        return changed

    async def organizations_of(self, account: Account) -> list[tuple[Account, set[str]]]:
        """Return a person's organizations with the roles of the teams, ordered by name."""
        async with self.database.read() as connection:
            rows = await store.organizations_of(connection, account_id=account.id)
            return [
                (
                    store.account_of(row),
                    await store.team_role_names(
                        connection, account_id=account.id, organization_id=row.id
                    ),
                )
                for row in rows
            ]

    async def details(self, account: Account) -> tuple[list[str], list[tuple[str, str, str]]]:
        """Return a person's prompts and linked logins."""
        async with self.database.read() as connection:
            prompts = await store.prompts_of(connection, account_id=account.id)
            logins = await store.logins_of(connection, account_id=account.id)
        return prompts, logins

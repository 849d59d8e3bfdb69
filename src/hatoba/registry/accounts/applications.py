"""OAuth applications, and the access tokens with which they act for people."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.clock import Clock
from hatoba.kernel.ids import new_uuid, random_text
from hatoba.registry.accounts import store_oauth
from hatoba.registry.accounts.errors import ApplicationUnknown
from hatoba.registry.accounts.models import Account, OAuthApplication, OAuthToken
from hatoba.registry.accounts.secrets import ColumnCipher, SecretHasher
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.sql.engine import Database

CLIENT_ID_LENGTH: Final = 20
CLIENT_SECRET_LENGTH: Final = 40
TOKEN_NAME_LENGTH: Final = 20
TOKEN_LENGTH: Final = 40
TOKEN_LIFETIME: Final = timedelta(days=3652, hours=12)


@dataclass(slots=True, frozen=True, kw_only=True)
class Applications:
    """The OAuth applications of this registry."""

    database: Database
    clock: Clock
    hasher: SecretHasher
    cipher: ColumnCipher
    audit: AuditLog

    async def list_applications(self, organization: Account) -> list[OAuthApplication]:
        """Return an organization's applications, oldest first."""
        async with self.database.read() as connection:
            rows = await store_oauth.applications_of(connection, organization_id=organization.id)
        return [self._read(row) for row in rows]

    async def get(self, organization: Account, *, client_id: str) -> OAuthApplication:
        """Return an application of this organization.

        Raises:
            ApplicationUnknown: there is none.
        """
        async with self.database.read() as connection:
            row = await store_oauth.find_application(connection, client_id=client_id)
        if row is None or row.organization_id != organization.id:
            raise ApplicationUnknown(f"There is no application {client_id}")
        return self._read(row)

    async def create(
        self, organization: Account, *, values: dict[str, Any], actor: Actor
    ) -> OAuthApplication:
        """Create an application; `values` are its columns that people choose."""
        client_id = random_text(CLIENT_ID_LENGTH)
        async with self.database.begin() as connection:
            await self._insert(
                connection, owner_id=organization.id, client_id=client_id, values=values
            )
            await self._record(
                connection, organization, "create_application", actor, values, client_id
            )
        return await self.get(organization, client_id=client_id)

    async def change(
        self,
        organization: Account,
        *,
        client_id: str,
        values: dict[str, Any],
        actor: Actor,
    ) -> OAuthApplication:
        """Change an application.

        Raises:
            ApplicationUnknown: there is none.
        """
        application = await self.get(organization, client_id=client_id)
        async with self.database.begin() as connection:
            await store_oauth.change_application(
                connection, application_id=application.id, values=values
            )
            await self._record(
                connection, organization, "update_application", actor, values, client_id
            )
        return await self.get(organization, client_id=client_id)

    async def reset_secret(
        self, organization: Account, *, client_id: str, actor: Actor
    ) -> OAuthApplication:
        """Give an application a new client secret.

        Raises:
            ApplicationUnknown: there is none.
        """
        application = await self.get(organization, client_id=client_id)
        secret = self.cipher.encrypt(random_text(CLIENT_SECRET_LENGTH))
        async with self.database.begin() as connection:
            await store_oauth.change_application(
                connection, application_id=application.id, values={"secure_client_secret": secret}
            )
            values = {"name": application.name}
            kind = "reset_application_client_secret"
            await self._record(connection, organization, kind, actor, values, client_id)
        return await self.get(organization, client_id=client_id)

    async def delete(self, organization: Account, *, client_id: str, actor: Actor) -> None:
        """Delete an application; its tokens are refused from this moment.

        Raises:
            ApplicationUnknown: there is none.
        """
        application = await self.get(organization, client_id=client_id)
        async with self.database.begin() as connection:
            await store_oauth.delete_application(connection, application_id=application.id)
            values = {"name": application.name}
            await self._record(
                connection, organization, "delete_application", actor, values, client_id
            )

    async def issue_first_token(self, account: Account, *, scopes: str) -> str:
        """Issue the token of the first user, for an application `automation` of his own."""
        async with self.database.begin() as connection:
            application_id = await self._insert(
                connection,
                owner_id=account.id,
                client_id=account.username,
                values={"name": "automation"},
            )
            return await self.issue_token(
                connection, application_id=application_id, account=account, scopes=scopes
            )

    async def issue_token(
        self,
        connection: AsyncConnection,
        *,
        application_id: int,
        account: Account,
        scopes: str,
        lifetime: timedelta = TOKEN_LIFETIME,
    ) -> str:
        """Write an access token and return it in clear, which is possible only now."""
        token = random_text(TOKEN_LENGTH)
        now = self.clock.now()
        await store_oauth.insert_token(
            connection,
            values={
                "uuid": new_uuid(),
                "application_id": application_id,
                "authorized_user_id": account.id,
                "scope": scopes,
                "token_type": "Bearer",
                "expires_at": now + lifetime,
                "data": "",
                "token_name": token[:TOKEN_NAME_LENGTH],
                "token_code": await self.hasher.hash(token[TOKEN_NAME_LENGTH:]),
                "created": now,
            },
        )
        return token

    async def find_token(self, token: str) -> OAuthToken | None:
        """Return what an access token stands for; None when it is none of ours.

        An expired token is returned: the caller tells it from an unknown one.
        """
        if len(token) <= TOKEN_NAME_LENGTH:
            return None
        async with self.database.read() as connection:
            found = await store_oauth.find_token(connection, token_name=token[:TOKEN_NAME_LENGTH])
        if found is None:
            return None
        record, stored = found
        if not await self.hasher.matches(token[TOKEN_NAME_LENGTH:], stored=stored):
            return None
        return record

    async def _insert(
        self,
        connection: AsyncConnection,
        *,
        owner_id: int,
        client_id: str,
        values: dict[str, Any],
    ) -> int:
        return await store_oauth.insert_application(
            connection,
            values={
                "client_id": client_id,
                "redirect_uri": "",
                "application_uri": "",
                "organization_id": owner_id,
                "description": "",
                "secure_client_secret": self.cipher.encrypt(random_text(CLIENT_SECRET_LENGTH)),
                "fully_migrated": True,
                **values,
            },
        )

    def _read(self, row: Any) -> OAuthApplication:
        secret = row.secure_client_secret
        return OAuthApplication(
            id=row.id,
            client_id=row.client_id,
            organization_id=row.organization_id,
            name=row.name,
            description=row.description,
            application_uri=row.application_uri,
            redirect_uri=row.redirect_uri,
            avatar_email=row.gravatar_email,
            client_secret=self.cipher.decrypt(secret) if secret else "",
        )

    async def _record(
        self,
        connection: AsyncConnection,
        organization: Account,
        kind: str,
        actor: Actor,
        values: dict[str, Any],
        client_id: str,
    ) -> None:
        metadata = {"application_name": values.get("name"), "client_id": client_id}
        entry = Entry(kind=kind, actor=actor, namespace_id=organization.id, metadata=metadata)
        await self.audit.record(connection, entry)

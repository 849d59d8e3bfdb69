"""Checking what people and programs sign in with.

Spec: Quay's credentials of Basic authentication: `$oauthtoken`, `$app`, `$token`, a robot's
name, or a user's name or e-mail with the password in clear or encrypted. Each failure of a
password makes the next attempt wait longer.
"""

from dataclasses import dataclass
from math import ceil

from hatoba.kernel.clock import Clock
from hatoba.kernel.ids import same_secret
from hatoba.registry.accounts import policy, store, store_oauth, store_robots
from hatoba.registry.accounts.app_tokens import AppTokens
from hatoba.registry.accounts.applications import Applications
from hatoba.registry.accounts.errors import (
    AccountDisabled,
    InvalidCredentials,
    RobotUnknown,
    TooManyLogins,
)
from hatoba.registry.accounts.models import AccessToken, Account, AppToken, OAuthToken
from hatoba.registry.accounts.secrets import ColumnCipher, PasswordCipher, SecretHasher
from hatoba.sql.engine import Database

OAUTH_USERNAME = "$oauthtoken"
APP_USERNAME = "$app"
ACCESS_TOKEN_USERNAME = "$token"  # noqa: S105 -- a user name, not a password


TOKEN_NAME_LENGTH = 32
"""Quay: the first characters of a repository's token find it, the others are its secret."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Recognised:
    """Whom credentials belong to, and the token they were, if they were one."""

    account: Account | None
    """None for the token of a repository, which belongs to nobody."""
    kind: str
    oauth_token: OAuthToken | None = None
    app_token: AppToken | None = None
    access_token: AccessToken | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Credentials:
    """Recognises people, robots and tokens."""

    database: Database
    clock: Clock
    hasher: SecretHasher
    passwords: PasswordCipher
    cipher: ColumnCipher
    applications: Applications
    app_tokens: AppTokens
    robots_are_disallowed: bool
    """ROBOTS_DISALLOW."""
    demands_encrypted: bool
    """FEATURE_REQUIRE_ENCRYPTED_BASIC_AUTH."""

    async def check_basic(self, *, username: str, password: str) -> Recognised:
        """Recognise what an image client sends.

        Raises:
            InvalidCredentials: with the sentence to show.
            TooManyLogins: a failure was too recent.
        """
        if username == ACCESS_TOKEN_USERNAME:
            return await self._check_access_token(password)
        if username == OAUTH_USERNAME:
            return await self._check_oauth(password)
        if username == APP_USERNAME:
            return await self._check_app_token(password)
        if "+" in username:
            return await self._check_robot(username, password)
        clear = self.passwords.decrypt(password)
        if clear is None and self.demands_encrypted:
            raise InvalidCredentials(
                "Client login with unencrypted passwords is disabled. Please generate an"
                " encrypted password in the user admin panel for use here."
            )
        account = await self.check_password(
            username=username, password=password if clear is None else clear
        )
        return Recognised(account=account, kind="user")

    async def check_password(self, *, username: str, password: str) -> Account:
        """Recognise a person by name or e-mail and password.

        Raises:
            InvalidCredentials, AccountDisabled, TooManyLogins: as the names say.
        """
        async with self.database.read() as connection:
            account = await store.find_person(connection, name_or_email=username)
        if account is None or account.password_hash is None:
            await self.hasher.waste_time(password)
            raise InvalidCredentials("Invalid Username or Password")
        self._throttle(account)
        if not await self.hasher.matches(password, stored=account.password_hash):
            async with self.database.begin() as connection:
                await store.count_failure(connection, account_id=account.id, at=self.clock.now())
            raise InvalidCredentials("Invalid Username or Password")
        if not account.enabled:
            raise AccountDisabled
        if account.invalid_login_attempts:
            async with self.database.begin() as connection:
                await store.change(
                    connection, account_id=account.id, values={"invalid_login_attempts": 0}
                )
        return account

    async def check_bearer(self, token: str) -> Recognised | None:
        """Recognise an OAuth access token; None when it is worth nothing (any more)."""
        record = await self.applications.find_token(token)
        if record is None or record.expires_at <= self.clock.now():
            return None
        account = await self._account(record.account_id)
        if not account.enabled:
            return None
        return Recognised(account=account, kind="oauthtoken", oauth_token=record)

    def _throttle(self, account: Account) -> None:
        if account.invalid_login_attempts == 0:
            return
        allowed_at = policy.next_attempt_at(
            failures=account.invalid_login_attempts, last_failure=account.last_invalid_login
        )
        wait = (allowed_at - self.clock.now()).total_seconds()
        if wait > 0:
            raise TooManyLogins(retry_after_seconds=ceil(wait))

    async def _check_oauth(self, password: str) -> Recognised:
        record = await self.applications.find_token(password)
        if record is None:
            raise InvalidCredentials("OAuth access token could not be validated")
        if record.expires_at <= self.clock.now():
            raise InvalidCredentials("OAuth access token has expired")
        account = await self._account(record.account_id)
        if not account.enabled:
            raise InvalidCredentials("Granter of the oauth access token is disabled")
        return Recognised(account=account, kind="oauthtoken", oauth_token=record)

    async def _check_app_token(self, password: str) -> Recognised:
        token = await self.app_tokens.find(password)
        if token is None:
            raise InvalidCredentials("Invalid token")
        account = await self._account(token.account_id)
        if not account.enabled:
            raise AccountDisabled
        return Recognised(account=account, kind="appspecifictoken", app_token=token)

    async def _check_access_token(self, password: str) -> Recognised:
        name, secret = password[:TOKEN_NAME_LENGTH], password[TOKEN_NAME_LENGTH:]
        async with self.database.read() as connection:
            row = await store_oauth.find_access_token(connection, token_name=name)
        if row is None or not same_secret(secret, self.cipher.decrypt(row.token_code)):
            raise InvalidCredentials("Invalid access token")
        token = AccessToken(id=row.id, repository_id=row.repository_id, role=row.role)
        return Recognised(account=None, kind="token", access_token=token)

    async def _check_robot(self, username: str, password: str) -> Recognised:
        if self.robots_are_disallowed:
            raise InvalidCredentials(
                "Robot account have been disabled. Please contact your administrator."
            )
        async with self.database.read() as connection:
            found = await store_robots.find_robot(connection, username=username)
            owner = await store.find(connection, username=username.partition("+")[0])
        if found is None:
            raise InvalidCredentials(str(RobotUnknown()))
        account, encrypted, _, _ = found
        if not same_secret(password, self.cipher.decrypt(encrypted)):
            raise InvalidCredentials(
                f"Could not find robot with username: {username} and supplied password."
            )
        if not account.enabled:
            raise AccountDisabled
        if owner is None or not owner.enabled:
            raise InvalidCredentials(
                f"Robot {username} owner {username.partition('+')[0]} is disabled"
            )
        return Recognised(account=account, kind="robot")

    async def _account(self, account_id: int) -> Account:
        async with self.database.read() as connection:
            account = await store.find_by_id(connection, account_id=account_id)
        if account is None:
            raise InvalidCredentials("The account of this token does not exist")
        return account

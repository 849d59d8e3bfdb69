"""Accounts and what belongs to them, as the rooms and edges see them."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from hatoba.kernel.json import JsonObject


class AccountKind(Enum):
    """What an account is."""

    PERSON = "user"
    ORGANIZATION = "org"
    ROBOT = "robot"


@dataclass(slots=True, frozen=True, kw_only=True)
class Account:
    """A row of `user`: a person, an organization or a robot."""

    id: int
    uuid: str
    username: str
    email: str
    kind: AccountKind
    verified: bool
    enabled: bool
    password_hash: str | None
    invalid_login_attempts: int
    last_invalid_login: datetime
    tag_expiration_seconds: int
    invoice_email: bool
    invoice_email_address: str | None
    has_billing: bool
    company: str | None
    family_name: str | None
    given_name: str | None
    location: str | None
    created_at: datetime | None
    last_accessed: datetime | None

    @property
    def is_robot(self) -> bool:
        """Whether this is a robot account."""
        return self.kind is AccountKind.ROBOT

    @property
    def is_organization(self) -> bool:
        """Whether this is an organization."""
        return self.kind is AccountKind.ORGANIZATION

    @property
    def owner_name(self) -> str:
        """The namespace a robot belongs to; the account itself otherwise."""
        return self.username.partition("+")[0]


@dataclass(slots=True, frozen=True, kw_only=True)
class Team:
    """A team of an organization."""

    id: int
    name: str
    organization_id: int
    role: str
    description: str
    member_count: int = 0
    repository_count: int = 0
    is_synced: bool = False


@dataclass(slots=True, frozen=True, kw_only=True)
class Robot:
    """A robot account with its token in clear."""

    account: Account
    description: str
    metadata: JsonObject | None
    token: str


@dataclass(slots=True, frozen=True, kw_only=True)
class OAuthApplication:
    """An OAuth application of an organization."""

    id: int
    client_id: str
    organization_id: int
    name: str
    description: str
    application_uri: str
    redirect_uri: str
    avatar_email: str | None
    client_secret: str


@dataclass(slots=True, frozen=True, kw_only=True)
class OAuthToken:
    """A token with which an application acts for an account."""

    id: int
    uuid: str
    application_id: int
    account_id: int
    scopes: str
    expires_at: datetime


@dataclass(slots=True, frozen=True, kw_only=True)
class AppToken:
    """An application-specific token: a password for image clients."""

    id: int
    uuid: str
    account_id: int
    title: str
    created: datetime
    expiration: datetime | None
    last_accessed: datetime | None
    code: str


@dataclass(slots=True, frozen=True, kw_only=True)
class AccessToken:
    """A token that opens one repository and belongs to nobody, as adopted registries may have."""

    id: int
    repository_id: int
    role: str

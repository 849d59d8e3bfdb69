"""Repositories and what is granted in them."""

from dataclasses import dataclass

from hatoba.registry.accounts.models import Account
from hatoba.registry.content.models import RepositoryState


@dataclass(slots=True, frozen=True, kw_only=True)
class Repository:
    """A row of `repository` with its namespace."""

    id: int
    namespace: Account
    name: str
    is_public: bool
    description: str | None
    kind: str
    state: RepositoryState
    badge_token: str
    trust_enabled: bool

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace.username}/{self.name}"


@dataclass(slots=True, frozen=True, kw_only=True)
class ListedRepository:
    """A repository in a list, with what lists show beside it."""

    repository: Repository
    last_modified_ms: int | None = None
    popularity: float = 0.0
    is_starred: bool = False


@dataclass(slots=True, frozen=True, kw_only=True)
class UserGrant:
    """A role of a person or robot in a repository."""

    account: Account
    role: str
    is_member: bool


@dataclass(slots=True, frozen=True, kw_only=True)
class TeamGrant:
    """A role of a team in a repository."""

    team_name: str
    role: str


@dataclass(slots=True, frozen=True, kw_only=True)
class Prototype:
    """A default permission: granted in each new repository of an organization."""

    id: int
    uuid: str
    role: str
    activating: Account | None
    delegate: Account | None
    delegate_team: str | None
    delegate_team_id: int | None

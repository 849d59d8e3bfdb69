"""Who is asking."""

from dataclasses import dataclass
from enum import IntEnum

from hatoba.registry.access.scopes import EVERYTHING, Scope, Scopes
from hatoba.registry.accounts.models import Account
from hatoba.registry.audit.models import Actor


class Role(IntEnum):
    """What somebody may do in a repository; each includes those below."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3

    @classmethod
    def named(cls, name: str) -> "Role":
        """Return the role that the table `role` calls so."""
        return cls[name.upper()]


@dataclass(slots=True, frozen=True, kw_only=True)
class RepositoryGrant:
    """What the token of one repository allows there, and nowhere else."""

    repository_id: int
    role: Role


@dataclass(slots=True, frozen=True, kw_only=True)
class Identity:
    """Who is asking, and by what means.

    `scopes` caps what the account may do through this credential; a person who signed in and a
    robot hold every scope. `credential` and `reference` name the credential in registry
    tokens and audit rows.
    """

    account: Account | None = None
    repository_grant: RepositoryGrant | None = None
    scopes: Scopes = EVERYTHING
    credential: str = "anonymous"
    reference: str = ""
    ip: str | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody was recognised."""
        return self.account is None and self.repository_grant is None

    @property
    def actor(self) -> Actor:
        """The one whom audit rows name."""
        account_id = None if self.account is None else self.account.id
        return Actor(account_id=account_id, ip=self.ip)

    def has(self, scope: Scope) -> bool:
        """Say whether the credential carries a scope."""
        return scope in self.scopes


ANONYMOUS = Identity()

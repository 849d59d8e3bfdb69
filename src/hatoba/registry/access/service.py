"""What an identity may do: the one place where grants, scopes and superusers meet.

Edges ask before they call a room; rooms below do not ask again.
"""

from collections.abc import Collection
from dataclasses import dataclass

from hatoba.registry.access import policy, store
from hatoba.registry.access.models import Identity, Role
from hatoba.registry.access.scopes import Scope
from hatoba.registry.accounts.models import Account
from hatoba.sql.engine import Database


@dataclass(slots=True, frozen=True, kw_only=True)
class RepositoryFacts:
    """What decides over access to a repository, existing (`id`) or not yet (None)."""

    id: int | None
    namespace: Account
    is_public: bool = False


@dataclass(slots=True, frozen=True, kw_only=True)
class Access:
    """Decides over access."""

    database: Database
    superusers: Collection[str]
    """Empty where FEATURE_SUPER_USERS is off."""
    superusers_reach_everything: bool
    """FEATURE_SUPERUSERS_FULL_ACCESS."""

    def is_superuser(self, account: Account | None) -> bool:
        """Say whether an account is a superuser by name."""
        return account is not None and account.username in self.superusers

    def has_superpower(self, identity: Identity) -> bool:
        """Say whether an identity may use the superuser API."""
        return self.is_superuser(identity.account) and identity.has(Scope.SUPERUSER)

    def reaches_everything(self, identity: Identity) -> bool:
        """Say whether an identity is treated as administrator everywhere."""
        return self.superusers_reach_everything and self.has_superpower(identity)

    async def role_in(self, identity: Identity, repository: RepositoryFacts) -> Role:
        """Return what an identity may do in a repository."""
        if self.reaches_everything(identity):
            return Role.ADMIN
        grant = identity.repository_grant
        if grant is None:
            granted = await self._granted(identity.account, repository)
        else:
            granted = grant.role if grant.repository_id == repository.id else Role.NONE
        return policy.effective_role(
            granted=granted, is_public=repository.is_public, scopes=identity.scopes
        )

    async def _granted(self, account: Account | None, repository: RepositoryFacts) -> Role:
        if account is None:
            return Role.NONE
        if account.id == repository.namespace.id:
            return Role.ADMIN
        async with self.database.read() as connection:
            if repository.namespace.is_organization:
                teams = await store.team_roles_in(
                    connection, account_id=account.id, organization_id=repository.namespace.id
                )
                if "admin" in teams:
                    return Role.ADMIN
            if repository.id is None:
                return Role.NONE
            names = await store.granted_roles(
                connection, account_id=account.id, repository_id=repository.id
            )
        return policy.strongest(names)

    async def can_create_in(self, identity: Identity, namespace: Account) -> bool:
        """Say whether an identity may create repositories in a namespace."""
        account = identity.account
        if account is None or not identity.has(Scope.CREATE_REPO):
            return False
        if account.id == namespace.id or self.reaches_everything(identity):
            return True
        return bool({"admin", "creator"} & await self.team_roles(account, namespace))

    async def administers(self, identity: Identity, namespace: Account) -> bool:
        """Say whether an identity administers an organization, or is the person himself."""
        account = identity.account
        if account is None:
            return False
        if self.reaches_everything(identity):
            return True
        if account.id == namespace.id:
            return identity.has(Scope.ADMIN_USER)
        if not identity.has(Scope.ORG_ADMIN):
            return False
        return "admin" in await self.team_roles(account, namespace)

    async def belongs_to(self, identity: Identity, organization: Account) -> bool:
        """Say whether an identity is in any team of an organization, and may act as a member."""
        account = identity.account
        if account is None:
            return False
        if self.reaches_everything(identity):
            return True
        if not identity.has(Scope.ORG_ADMIN):
            return False
        return bool(await self.team_roles(account, organization))

    async def team_roles(self, account: Account, organization: Account) -> set[str]:
        """Return the roles of an account's teams in an organization."""
        async with self.database.read() as connection:
            return await store.team_roles_in(
                connection, account_id=account.id, organization_id=organization.id
            )

    async def reach(self, account: Account) -> store.Reach:
        """Return what an account reaches, for lists."""
        async with self.database.read() as connection:
            return await store.reach_of(connection, account_id=account.id)

"""Repositories: finding, creating, changing, listing, deleting."""

import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.clock import Clock
from hatoba.kernel.ids import new_uuid
from hatoba.registry.accounts.models import Account
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.content.models import RepositoryState
from hatoba.registry.db.lookups import Lookups
from hatoba.registry.db.tables.queue import queue_items
from hatoba.registry.repositories import policy, store, store_permissions
from hatoba.registry.repositories.errors import RepositoryExists, RepositoryUnknown
from hatoba.registry.repositories.models import ListedRepository, Repository
from hatoba.sql.engine import Database

PAGE_SIZE: Final = 100
STATISTICS_DAYS: Final = 91
POPULARITY_PERIOD: Final = timedelta(days=7)
QUEUE_DELAY: Final = timedelta(minutes=1)
RETRIES: Final = 5


@dataclass(slots=True, frozen=True, kw_only=True)
class Listing:
    """What to list.

    `administered` and `granted` are what the account reaches (see `access.service`); with
    `everything` all repositories are visible.
    """

    account_id: int | None = None
    administered: frozenset[int] = frozenset()
    granted: frozenset[int] = frozenset()
    everything: bool = False
    include_public: bool = True
    namespace: str | None = None
    only_starred: bool = False
    kind: str = "image"


@dataclass(slots=True, frozen=True, kw_only=True)
class Repositories:
    """The repositories of this registry."""

    database: Database
    clock: Clock
    lookups: Lookups
    audit: AuditLog
    allow_slashes: bool
    """FEATURE_EXTENDED_REPOSITORY_NAMES."""

    async def find(self, namespace: str, name: str) -> Repository | None:
        """Return a repository that is not being deleted."""
        async with self.database.read() as connection:
            return await store.find(
                connection, namespace=namespace, name=name, lookups=self.lookups
            )

    async def get(self, namespace: str, name: str) -> Repository:
        """Return a repository that is not being deleted.

        Raises:
            RepositoryUnknown: there is none.
        """
        repository = await self.find(namespace, name)
        if repository is None:
            raise RepositoryUnknown(f"There is no repository {namespace}/{name}")
        return repository

    async def create(
        self,
        *,
        namespace: Account,
        name: str,
        is_public: bool,
        description: str | None,
        creator: Account,
        actor: Actor,
    ) -> Repository:
        """Create a repository with the organization's default permissions.

        Raises:
            InvalidRepositoryName, RepositoryExists: as the names say.
        """
        policy.check_repository_name(name, allow_slashes=self.allow_slashes)
        try:
            async with self.database.begin() as connection:
                repository_id = await self._create(
                    connection, namespace, name, is_public, description, creator
                )
                shown = {"description": description or ""}
                await self._record(
                    connection, "create_repo", namespace, name, actor, repository_id, **shown
                )
        except IntegrityError as error:
            # Two requests at once: the unique index decided.
            raise RepositoryExists from error
        return await self.get(namespace.username, name)

    async def _create(
        self,
        connection: AsyncConnection,
        namespace: Account,
        name: str,
        is_public: bool,  # noqa: FBT001 -- private, handed through
        description: str | None,
        creator: Account,
    ) -> int:
        existing = await store.find(
            connection, namespace=namespace.username, name=name, lookups=self.lookups
        )
        if existing is not None:
            raise RepositoryExists
        repository_id = await store.insert_repository(
            connection,
            namespace_id=namespace.id,
            name=name,
            is_public=is_public,
            description=description,
            badge_token=new_uuid(),
            today=self._today(),
            lookups=self.lookups,
        )
        if creator.id != namespace.id:
            await store_permissions.set_user_role(
                connection,
                repository_id=repository_id,
                account_id=creator.id,
                role_id=self.lookups.id("role", "admin"),
            )
        await store_permissions.apply_prototypes(
            connection,
            organization_id=namespace.id,
            repository_id=repository_id,
            creator_id=creator.id,
        )
        return repository_id

    async def describe(self, repository: Repository, *, description: str, actor: Actor) -> None:
        """Change the description."""
        await self._change(
            repository, {"description": description}, "set_repo_description", actor, description
        )

    async def set_visibility(
        self, repository: Repository, *, visibility: str, actor: Actor
    ) -> None:
        """Make a repository `public` or `private`."""
        values = {"visibility_id": self.lookups.id("visibility", visibility)}
        await self._change(repository, values, "change_repo_visibility", actor, visibility)

    async def set_state(
        self, repository: Repository, *, state: RepositoryState, actor: Actor
    ) -> None:
        """Change the state."""
        values = {"state": state.value}
        await self._change(repository, values, "change_repo_state", actor, state.name)

    async def delete(self, repository: Repository, *, actor: Actor) -> None:
        """Delete a repository: its name is free at once, its content is collected later."""
        now = self.clock.now()
        async with self.database.begin() as connection:
            item = insert(queue_items).values(
                queue_name=f"repositorygc/{repository.namespace.username}/{repository.id}/",
                body=json.dumps({"marker_id": None, "original_name": repository.name}),
                available_after=now + QUEUE_DELAY,
                available=True,
                retries_remaining=RETRIES,
                state_id=new_uuid(),
            )
            queue_id = (await connection.execute(item.returning(queue_items.c.id))).scalar_one()
            await store.mark_deleted(
                connection,
                repository=repository,
                replacement=new_uuid(),
                queue_id=str(queue_id),
                at=now,
            )
            namespace, name = repository.namespace, repository.name
            await self._record(connection, "delete_repo", namespace, name, actor, repository.id)

    async def list_page(
        self,
        listing: Listing,
        *,
        after_id: int = 0,
        with_last_modified: bool = False,
        with_popularity: bool = False,
    ) -> tuple[list[ListedRepository], int | None]:
        """Return a page, and after which id the next one begins; None on the last page."""
        async with self.database.read() as connection:
            found = await store.page(
                connection,
                conditions=self._conditions(listing),
                after_id=after_id,
                limit=PAGE_SIZE + 1,
                lookups=self.lookups,
            )
            shown = found[:PAGE_SIZE]
            ids = [repository.id for repository in shown]
            modified: dict[int, int] = {}
            popular: dict[int, int] = {}
            starred: set[int] = set()
            if with_last_modified:
                modified = await store.last_modified(connection, repository_ids=ids)
            if with_popularity:
                since = self._today() - POPULARITY_PERIOD
                popular = await store.popularity(connection, repository_ids=ids, since=since)
            if listing.account_id is not None:
                starred = await store.starred_among(
                    connection, account_id=listing.account_id, repository_ids=ids
                )
        listed = [
            ListedRepository(
                repository=repository,
                last_modified_ms=modified.get(repository.id),
                popularity=float(popular.get(repository.id, 0)),
                is_starred=repository.id in starred,
            )
            for repository in shown
        ]
        return listed, shown[-1].id if len(found) > PAGE_SIZE else None

    def _conditions(self, listing: Listing) -> list[ColumnElement[bool]]:
        conditions = [store.of_kind(listing.kind, self.lookups)]
        if listing.namespace is not None:
            conditions.append(store.in_namespace(listing.namespace))
        if listing.only_starred and listing.account_id is not None:
            conditions.append(store.starred_by(listing.account_id))
        if not listing.everything:
            conditions.append(
                store.visible_to(
                    account_id=listing.account_id,
                    administered=sorted(listing.administered),
                    granted=sorted(listing.granted),
                    include_public=listing.include_public,
                    lookups=self.lookups,
                )
            )
        return conditions

    async def is_starred(self, repository: Repository, *, account_id: int) -> bool:
        """Say whether an account starred a repository."""
        async with self.database.read() as connection:
            found = await store.starred_among(
                connection, account_id=account_id, repository_ids=[repository.id]
            )
        return bool(found)

    async def star(self, repository: Repository, *, account_id: int) -> None:
        """Star a repository; starring twice is starring once."""
        async with self.database.begin() as connection:
            ids = [repository.id]
            if not await store.starred_among(connection, account_id=account_id, repository_ids=ids):
                await store.add_star(
                    connection,
                    account_id=account_id,
                    repository_id=repository.id,
                    at=self.clock.now(),
                )

    async def unstar(self, repository: Repository, *, account_id: int) -> None:
        """Take a star back."""
        async with self.database.begin() as connection:
            await store.remove_star(connection, account_id=account_id, repository_id=repository.id)

    async def mirror_robot_id(self, repository: Repository) -> int | None:
        """Return the account that pushes into a mirror; None where there is no mirror."""
        async with self.database.read() as connection:
            return await store.mirror_robot_id(connection, repository_id=repository.id)

    async def statistics(self, repository: Repository) -> list[tuple[date, int]]:
        """Return the number of actions of each of the 91 days before today, newest first."""
        today = self._today()
        first = today - timedelta(days=STATISTICS_DAYS)
        async with self.database.read() as connection:
            counts = await store.action_counts(connection, repository_id=repository.id, since=first)
        days = [today - timedelta(days=offset + 1) for offset in range(STATISTICS_DAYS)]
        return [(day, counts.get(day, 0)) for day in days]

    async def _change(
        self,
        repository: Repository,
        values: dict[str, Any],
        kind: str,
        actor: Actor,
        shown: str,
    ) -> None:
        async with self.database.begin() as connection:
            await store.change(connection, repository_id=repository.id, values=values)
            key = {"set_repo_description": "description", "change_repo_visibility": "visibility"}
            entry = Entry(
                kind=kind,
                actor=actor,
                namespace_id=repository.namespace.id,
                repository_id=repository.id,
                metadata={
                    "namespace": repository.namespace.username,
                    "repo": repository.name,
                    key.get(kind, "state_changed"): shown,
                },
            )
            await self.audit.record(connection, entry)

    async def _record(
        self,
        connection: AsyncConnection,
        kind: str,
        namespace: Account,
        name: str,
        actor: Actor,
        repository_id: int,
        **metadata: str,
    ) -> None:
        entry = Entry(
            kind=kind,
            actor=actor,
            namespace_id=namespace.id,
            repository_id=repository_id,
            metadata={"namespace": namespace.username, "repo": name, **metadata},
        )
        await self.audit.record(connection, entry)

    def _today(self) -> date:
        return self.clock.now().date()

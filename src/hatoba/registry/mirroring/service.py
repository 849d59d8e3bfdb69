"""Mirror configurations: reading, changing, asking for a synchronisation now, cancelling one."""

from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.kernel.names import NamespaceName
from hatoba.net.http import is_public
from hatoba.net.registry.errors import ReferenceMalformed
from hatoba.net.registry.reference import RemoteRepository
from hatoba.registry.accounts.errors import RobotUnknown as NoSuchRobot
from hatoba.registry.accounts.models import Account
from hatoba.registry.accounts.robots import Robots
from hatoba.registry.audit.models import NOBODY, Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.content.models import RepositoryState
from hatoba.registry.mirroring import policy
from hatoba.registry.mirroring.errors import (
    MirrorExists,
    MirrorUnknown,
    RobotForeign,
    RobotUnknown,
    SourceForbidden,
    SyncStateConflict,
)
from hatoba.registry.mirroring.models import MirrorRecord, Schedule, SyncStatus
from hatoba.registry.mirroring.store import MirrorStore
from hatoba.registry.repositories.models import Repository
from hatoba.registry.repositories.permissions import Permissions
from hatoba.registry.repositories.service import Repositories
from hatoba.sql.engine import Database

_ATTEMPTS: Final = 3
"""How often a schedule is written anew when a worker wrote one meanwhile."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Mirroring:
    """The mirror configurations of this registry."""

    database: Database
    store: MirrorStore
    clock: Clock
    robots: Robots
    repositories: Repositories
    permissions: Permissions
    audit: AuditLog
    allowed_private_hosts: frozenset[str]
    """SSRF_ALLOWED_HOSTS."""

    async def get(self, repository: Repository) -> MirrorRecord:
        """Return a repository's configuration.

        Raises:
            MirrorUnknown: it has none.
        """
        async with self.database.read() as connection:
            found = await self.store.find(connection, repository.id)
        if found is None:
            raise MirrorUnknown(f"{repository.full_name} is not mirrored")
        return found

    async def create(self, repository: Repository, mirror: MirrorRecord, *, actor: Actor) -> None:
        """Make a repository a mirror; its robot gets the right to write.

        Raises:
            RobotUnknown, RobotForeign, SourceForbidden: nothing was changed.
            MirrorExists: it is a mirror already.
        """
        robot = await self._robot(repository, mirror.robot)
        self._check_source(mirror.external_reference)
        async with self.database.read() as connection:
            existing = await self.store.find(connection, repository.id)
        if existing is not None:
            # Quay's own spelling; clients compare it.
            raise MirrorExists(
                f"Mirror configuration already exits for repository {repository.full_name}"
            )
        # The configuration comes last: where this is interrupted, the same call succeeds again.
        await self._grant(repository, robot, actor=actor)
        await self.repositories.set_state(repository, state=RepositoryState.MIRROR, actor=actor)
        async with self.database.begin() as connection:
            await self.store.create(connection, mirror, robot_id=robot.id, now=self.clock.now())
            await self._record(
                connection, repository, actor,
                changed="external_reference", to=mirror.external_reference,
            )  # fmt: skip

    async def change(
        self, repository: Repository, *, before: MirrorRecord, after: MirrorRecord, actor: Actor
    ) -> None:
        """Write what changed; nothing is written where nothing did.

        Raises:
            RobotUnknown, RobotForeign, SourceForbidden: nothing was changed.
        """
        if before == after:
            return
        self._check_source(after.external_reference)
        robot = None
        if after.robot != before.robot:
            robot = await self._robot(repository, after.robot)
            await self._grant(repository, robot, actor=actor)
        async with self.database.begin() as connection:
            await self.store.change(connection, after, robot_id=robot.id if robot else None)
            for key, value in _differences(before, after):
                await self._record(connection, repository, actor, changed=key, to=value)

    async def request_now(self, repository: Repository, *, actor: Actor) -> None:
        """Ask for a synchronisation at the next look of a worker.

        Raises:
            MirrorUnknown, SyncStateConflict: one is running.
        """
        for _ in range(_ATTEMPTS):
            mirror = await self.get(repository)
            schedule = policy.requested_now(mirror)
            if schedule is None:
                break
            if await self._write_by(repository, mirror, schedule, actor=actor):
                return
        raise SyncStateConflict(f"{repository.full_name} is being synchronised")

    async def cancel(self, repository: Repository, *, actor: Actor) -> None:
        """Cancel a synchronisation that runs or waits; the worker stops after the tag at hand.

        Raises:
            MirrorUnknown, SyncStateConflict: there is nothing to cancel.
        """
        for _ in range(_ATTEMPTS):
            mirror = await self.get(repository)
            if not policy.is_cancellable(mirror):
                break
            if await self._write_by(repository, mirror, policy.cancelled(mirror), actor=actor):
                return
        raise SyncStateConflict(f"{repository.full_name} is not being synchronised")

    async def candidates(self, *, limit: int) -> list[MirrorRecord]:
        """Return mirrors that may be due, those waiting longest first."""
        async with self.database.read() as connection:
            return await self.store.candidates(connection, now=self.clock.now(), limit=limit)

    async def write(self, mirror: MirrorRecord, schedule: Schedule) -> str | None:
        """Write a schedule; None where somebody else wrote one since `mirror` was read."""
        async with self.database.begin() as connection:
            return await self.store.write_schedule(connection, mirror, schedule)

    async def current(self, mirror: MirrorRecord) -> MirrorRecord | None:
        """Read a mirror again."""
        async with self.database.read() as connection:
            return await self.store.find(connection, mirror.repository_id)

    async def note(self, mirror: MirrorRecord, kind: str, **details: JsonValue) -> None:
        """Write an audit row about a synchronisation."""
        repository = await self.repositories.find(
            str(mirror.repository.namespace), mirror.repository.name
        )
        metadata = {
            "verb": None, "namespace": str(mirror.repository.namespace),
            "repo": mirror.repository.name, "message": "", "tag": None, "tags": None,
            "stdout": None, "stderr": None, **details,
        }  # fmt: skip
        entry = Entry(
            kind=kind,
            actor=NOBODY,
            namespace_id=repository.namespace.id if repository else None,
            repository_id=mirror.repository_id,
            metadata=metadata,
        )
        async with self.database.begin() as connection:
            await self.audit.record(connection, entry)

    async def counts(self, namespace: str | None) -> dict[SyncStatus, int]:
        """Return how many mirrors stand at each status."""
        name = NamespaceName(namespace) if namespace else None
        async with self.database.read() as connection:
            return await self.store.counts(connection, namespace=name)

    def may_be_private(self, source: RemoteRepository) -> bool:
        """Tell whether this host may have a private address."""
        return bool({source.host, _bare(source.host)} & self.allowed_private_hosts)

    def _check_source(self, reference: str) -> None:
        """Refuse what can be seen to be private; names are checked when they are connected to.

        Raises:
            SourceForbidden: as the name says.
        """
        if not reference:
            raise SourceForbidden("External registry reference is required")
        try:
            source = RemoteRepository.parse(reference)
        except ReferenceMalformed as error:
            raise SourceForbidden(f"The registry location is not valid: {error}") from error
        if not self.may_be_private(source) and _is_private(_bare(source.host)):
            raise SourceForbidden("The provided registry location is not allowed")

    async def _robot(self, repository: Repository, username: str) -> Account:
        namespace, plus, short_name = username.partition("+")
        unknown = RobotUnknown("Could not find robot with specified username")
        if not plus:
            raise unknown
        try:
            robot = await self.robots.get(namespace=namespace, short_name=short_name)
        except NoSuchRobot as error:
            raise unknown from error
        if namespace != repository.namespace.username:
            raise RobotForeign("Invalid robot")
        return robot.account

    async def _grant(self, repository: Repository, robot: Account, *, actor: Actor) -> None:
        await self.permissions.set_user(
            repository, username=robot.username, role="write", actor=actor
        )

    async def _write_by(
        self, repository: Repository, mirror: MirrorRecord, schedule: Schedule, *, actor: Actor
    ) -> bool:
        async with self.database.begin() as connection:
            if await self.store.write_schedule(connection, mirror, schedule) is None:
                return False
            await self._record(
                connection, repository, actor, changed="sync_status", to=schedule.status.name
            )
        return True

    async def _record(
        self,
        connection: AsyncConnection,
        repository: Repository,
        actor: Actor,
        **metadata: JsonValue,
    ) -> None:
        entry = Entry(
            kind="repo_mirror_config_changed",
            actor=actor,
            namespace_id=repository.namespace.id,
            repository_id=repository.id,
            metadata={
                "repo": repository.name,
                "namespace": repository.namespace.username,
                **metadata,
            },
        )
        await self.audit.record(connection, entry)


def _differences(before: MirrorRecord, after: MirrorRecord) -> list[tuple[str, JsonValue]]:
    """Return what changed, under the names that Quay's log shows; never a password."""
    old, new = _shown(before), _shown(after)
    changed = [(key, value) for key, value in new.items() if old[key] != value]
    if before.password != after.password:
        changed.append(("external_registry_password", "********"))
    return changed


def _shown(mirror: MirrorRecord) -> JsonObject:
    proxy = asdict(mirror.registry.proxy)
    return {
        "is_enabled": mirror.is_enabled,
        "external_reference": mirror.external_reference,
        "external_registry_username": mirror.username,
        "verify_tls": mirror.registry.verify_tls,
        "unsigned_images": mirror.registry.unsigned_images,
        **proxy,
        "sync_interval": mirror.interval_seconds,
        "sync_start_date": mirror.start_at.isoformat() if mirror.start_at else None,
        "mirror_rule": list(mirror.patterns),
        "robot_username": mirror.robot,
        "skopeo_timeout_interval": mirror.timeout_seconds,
    }


def _bare(host: str) -> str:
    """Return a host without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _is_private(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return not is_public(host)
    except ValueError:
        return False

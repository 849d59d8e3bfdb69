"""What the services of this room share: database, bytes, audit log, clock, policy and caches."""

from dataclasses import dataclass, field

from hatoba.kernel.cache import TimedCache
from hatoba.kernel.clock import Clock, milliseconds
from hatoba.kernel.digests import Digest
from hatoba.kernel.json import JsonObject
from hatoba.kernel.names import RepositoryName
from hatoba.registry.audit.models import Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.blobs.driver import BlobDriver
from hatoba.registry.content.ledger import PushLedger
from hatoba.registry.content.models import (
    BlobRecord,
    Caller,
    ContentPolicy,
    ManifestRecord,
    RepositoryRecord,
)
from hatoba.registry.content.upload_ids import UploadIds
from hatoba.registry.db.lookups import Lookups
from hatoba.sql.engine import Database
from hatoba.sql.prepared import Questions

MANIFEST_CACHE_BYTES = 32 << 20
BLOB_CACHE_ENTRIES = 50_000

CacheKey = tuple[RepositoryName, Digest]


@dataclass(slots=True, kw_only=True)
class Caches:
    """Answers to pulls by digest, which name immutable content.

    What can change is only whether it is still there; the age bounds how late that is noticed
    by other processes than the one that deleted it.
    """

    manifests: TimedCache[CacheKey, ManifestRecord]
    blobs: TimedCache[CacheKey, BlobRecord]

    def clear(self) -> None:
        """Forget everything: something was deleted somewhere."""
        self.manifests.clear()
        self.blobs.clear()


def make_caches(clock: Clock, *, lifetime_seconds: float) -> Caches:
    """Return empty caches with this room's bounds."""
    return Caches(
        manifests=TimedCache(
            clock=clock,
            lifetime_seconds=lifetime_seconds,
            capacity=MANIFEST_CACHE_BYTES,
            weigh=lambda record: len(record.content) + 500,
        ),
        blobs=TimedCache(
            clock=clock, lifetime_seconds=lifetime_seconds, capacity=BLOB_CACHE_ENTRIES
        ),
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class Shelf:
    """Collaborators of the content services."""

    database: Database
    blobs: BlobDriver
    lookups: Lookups
    audit: AuditLog
    clock: Clock
    caches: Caches
    ledger: PushLedger
    upload_ids: UploadIds
    policy: ContentPolicy = field(default_factory=ContentPolicy)
    questions: Questions | None = None
    """Asks PostgreSQL what is asked often; SQLite has none."""

    def now_ms(self) -> int:
        """Return the present moment as tag rows write it."""
        return milliseconds(self.clock.now())


def audit_entry(
    kind: str, *, repository: RepositoryRecord, caller: Caller, metadata: JsonObject
) -> Entry:
    """Return an audit row in Quay's form."""
    return Entry(
        kind=kind,
        actor=caller.actor,
        namespace_id=repository.namespace_id,
        repository_id=repository.id,
        metadata=audit_metadata(repository.name, caller=caller, metadata=metadata),
    )


def audit_metadata(name: RepositoryName, *, caller: Caller, metadata: JsonObject) -> JsonObject:
    """Return what an audit row tells of a repository and of who touched it."""
    return {
        "repo": name.name,
        "namespace": str(name.namespace),
        "user-agent": caller.user_agent,
        **metadata,
        **({"username": caller.username} if caller.username else {}),
    }

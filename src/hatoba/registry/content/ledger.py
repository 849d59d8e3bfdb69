"""The rows of pushes: what uploads, blobs and manifests write, one step of a push a method.

A push waits for each of its statements, so they are few: on PostgreSQL a step is one round trip
(`ledger_prepared`). `ledger_sql` does the same through SQLAlchemy, for SQLite. Both pass the tests
of this room. Services decide; a ledger knows no rule but those that its rows need.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName
from hatoba.oci.manifests import Manifest
from hatoba.registry.audit.models import Entry
from hatoba.registry.content.errors import ManifestContentUnknown, ManifestSizeMismatch
from hatoba.registry.content.models import RepositoryRecord, RepositoryState, UploadRecord
from hatoba.registry.content.upload_ids import UploadId

HeldBlobs: TypeAlias = Mapping[str, tuple[int, int | None]]
"""By digest: the id of a blob's row, and its size where that is known."""


@dataclass(slots=True, frozen=True, kw_only=True)
class BlobPush:
    """An upload that becomes a blob."""

    name: RepositoryName
    upload_id: UploadId
    received: int
    """How much of the upload was acknowledged before: whoever else went on with it wins."""
    digest: Digest
    size: int
    now: datetime
    lifetime: timedelta
    """For how long the repository holds a blob that no manifest names."""


@dataclass(slots=True, frozen=True, kw_only=True)
class NewTag:
    """A tag row to come. Its life begins no earlier than the last row of its name ended."""

    name: str
    is_hidden: bool
    now_ms: int
    lifetime_ms: int | None
    kind_id: int


@dataclass(slots=True, frozen=True, kw_only=True)
class ManifestPush:
    """A manifest, and the tag that names it or, hidden, keeps it for a while."""

    name: RepositoryName
    states: frozenset[RepositoryState]
    """In which the repository takes it."""
    manifest: Manifest
    absent: Sequence[Digest]
    """Blobs whose bytes are not there, whatever the rows say."""
    media_type_id: int
    labels: Sequence[dict[str, object]]
    """Rows of the table `label`; for a manifest that has none yet."""
    tag: NewTag
    now: datetime
    entry: Entry
    """The audit row, without the ids of repository and namespace."""


class PushLedger(Protocol):
    """The rows of pushes, as one process writes them."""

    async def find_repository(self, name: RepositoryName) -> RepositoryRecord | None:
        """Return a repository that is not being deleted."""

    async def find_upload(
        self, name: RepositoryName, *, upload_id: UploadId
    ) -> UploadRecord | None:
        """Return an upload of a repository; with a claim that nobody made, it is only begun."""

    async def has_upload(self, upload_id: str) -> bool:
        """Say whether an upload in any repository has a row."""

    async def advance_upload(
        self,
        upload: UploadRecord,
        *,
        received: int,
        hash_state: str | None,
        storage_state: str | None,
    ) -> bool:
        """Acknowledge bytes durably; False when the upload has gone or moved meanwhile.

        One that was only begun gets its claim and its row.
        """

    async def end_upload(self, upload: UploadRecord) -> bool:
        """Forget an upload durably, however far it came meanwhile; False when it had ended."""

    def publish_blob(self, push: BlobPush) -> AbstractAsyncContextManager[RepositoryRecord]:
        """Make a blob of an upload: durable at the end of the block, nothing when it raises.

        Within the block its bytes are put in place: nobody else stores or collects this blob
        meanwhile.

        Raises:
            RepositoryUnknown: no such repository.
            UploadUnknown: another request went on with the upload, or ended it.
        """

    async def push_manifest(self, push: ManifestPush) -> RepositoryRecord:
        """Store a manifest with references, labels, tag and audit row, durably and all at once.

        Returns the repository. Where its state is none of `push.states`, nothing was written.

        Raises:
            RepositoryUnknown: no such repository.
            ManifestContentUnknown: a blob or child manifest is missing.
            ManifestSizeMismatch: a descriptor contradicts its blob.
            TagImmutable: the tag exists and may not move.
        """


def require_parts(manifest: Manifest, *, blobs: HeldBlobs, children: Mapping[str, int]) -> None:
    """Do nothing where a repository holds all that a manifest names, with the sizes it tells.

    Raises:
        ManifestSizeMismatch: a descriptor tells another size than its blob is known to have.
        ManifestContentUnknown: a blob or child manifest is missing.
    """
    for blob in manifest.blobs:
        _, size = blobs.get(str(blob.digest), (0, None))
        if size is not None and size != blob.size:
            raise ManifestSizeMismatch(
                f"the descriptor of {blob.digest} says {blob.size} bytes; it has {size}"
            )
    missing: list[Digest] = [one.digest for one in manifest.blobs if str(one.digest) not in blobs]
    missing += [one.digest for one in manifest.children if str(one.digest) not in children]
    if missing:
        raise ManifestContentUnknown(*dict.fromkeys(missing))

"""The rows of pushes on PostgreSQL: prepared statements and functions on bare connections.

Each method of `ledger` is one round trip here where `SqlLedger` takes several: a push of a small
blob was spent on statements, not on bytes.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn

import asyncpg
import structlog
from typing_extensions import override

from hatoba.kernel.ids import new_uuid
from hatoba.kernel.names import RepositoryName
from hatoba.oci.manifests import Manifest
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.content.errors import RepositoryUnknown, TagImmutable, UploadUnknown
from hatoba.registry.content.ledger import (
    BlobPush,
    ManifestPush,
    NewTag,
    PushLedger,
    require_parts,
)
from hatoba.registry.content.ledger_functions import FUNCTIONS
from hatoba.registry.content.ledger_sql import SqlLedger
from hatoba.registry.content.models import RepositoryRecord, RepositoryState, UploadRecord
from hatoba.registry.content.sql_fragments import repository_named
from hatoba.registry.content.upload_ids import UploadId
from hatoba.sql.engine import Database, DatabaseUnavailable, ServerConnection
from hatoba.sql.prepared import BY_INDEX, Questions, open_questions

CONNECTIONS: Final = 8
"""A process pushes so many things at once; others wait for a connection."""

_REPOSITORY: Final = f"""
SELECT * FROM {repository_named("$1", "$2")} found WHERE state <> 3
"""  # noqa: S608 -- made of constants
_LOCATION: Final = """
WITH added AS (
     INSERT INTO imagestoragelocation (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id)
SELECT id FROM added
 UNION ALL
SELECT id FROM imagestoragelocation WHERE name = $1
"""
_UPLOAD: Final = f"""
SELECT b.id, r.id AS repository_id, b.byte_count, b.sha_state, b.storage_metadata, b.chunk_count
  FROM {repository_named("$1", "$2")} r
  LEFT JOIN blobupload b ON b.repository_id + 0 = r.id AND b.uuid = $3
 WHERE (b.id IS NOT NULL
        OR r.state <> 3 AND $4::uuid IS NOT NULL
           AND NOT EXISTS (SELECT FROM hatoba_upload_claim WHERE id = $4))
"""  # noqa: S608 -- made of constants
_HAS_UPLOAD: Final = "SELECT id FROM blobupload WHERE uuid = $1"
_ADVANCE_UPLOAD: Final = """
UPDATE blobupload
   SET byte_count = $3, sha_state = $4, storage_metadata = $5, chunk_count = chunk_count + 1
 WHERE id = $1 AND byte_count = $2
RETURNING id
"""
_INSERT_UPLOAD: Final = """
WITH claimed AS (
     INSERT INTO hatoba_upload_claim (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id)
INSERT INTO blobupload
       (repository_id, uuid, location_id, byte_count, sha_state, storage_metadata, chunk_count,
        created)
SELECT $2::int, $3::text, $4::int, $5::bigint, $6::text, $7::text, 1, $8::timestamp FROM claimed
RETURNING id
"""
_STANDS: Final = """
SELECT id FROM blobupload
 WHERE uuid = $1 AND byte_count = $2 AND sha_state IS NOT DISTINCT FROM $3 AND storage_metadata = $4
"""
_END_UPLOAD: Final = "SELECT pg_temp.hatoba_end_upload($1, $2, $3) AS has_ended"
_PUBLISH_BLOB: Final = """
SELECT * FROM pg_temp.hatoba_publish_blob($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
_WAIT_FOR_BLOB: Final = "SELECT pg_advisory_xact_lock(hashtextextended('blob:' || $1, 0))"
_IS_PUBLISHED: Final = """
SELECT h.id
  FROM uploadedblob h
  JOIN imagestorage s ON s.id = h.blob_id
 WHERE h.repository_id = $1 AND s.content_checksum = $2 AND h.uploaded_at = $3
 LIMIT 1
"""
_PUSH_MANIFEST: Final = f"""
SELECT * FROM pg_temp.hatoba_push_manifest({", ".join(f"${number}" for number in range(1, 31))})
"""  # noqa: S608 -- made of numbers
_LABEL_COLUMNS: Final = ("uuid", "key", "value", "media_type_id", "source_type_id")

log = structlog.get_logger()


@asynccontextmanager
async def open_ledger(
    database: Database, *, audit: AuditLog, location: str, connections: int = CONNECTIONS
) -> AsyncIterator[PushLedger]:
    """Open the ledger that a database allows; on PostgreSQL with so many connections at most.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    async with AsyncExitStack() as stack:
        plain = SqlLedger(database=database, audit=audit, location=location)
        yield await _open(stack, plain, connections=connections)


async def _open(stack: AsyncExitStack, plain: SqlLedger, *, connections: int) -> PushLedger:
    if not plain.database.is_postgresql:
        return plain
    opening = open_questions(
        plain.database, connections=connections, preparation=BY_INDEX + FUNCTIONS
    )
    try:
        questions = await stack.enter_async_context(opening)
    except asyncpg.InsufficientPrivilegeError:
        log.warning(
            "pushes take many statements: the database role may not make temporary functions",
            remedy="GRANT TEMPORARY ON DATABASE",
        )
        return plain
    return PreparedLedger(questions=questions, audit=plain.audit, location=plain.location)


@dataclass(slots=True, kw_only=True)
class PreparedLedger(PushLedger):
    """Asks asyncpg, whose connections keep each statement prepared."""

    questions: Questions
    audit: AuditLog
    location: str
    _location_id: int | None = field(default=None, repr=False)

    @override
    async def find_repository(self, name: RepositoryName) -> RepositoryRecord | None:
        row = await self.questions.ask_one(_REPOSITORY, name.namespace, name.name)
        return None if row is None else _repository(name, *row)

    @override
    async def find_upload(
        self, name: RepositoryName, *, upload_id: UploadId
    ) -> UploadRecord | None:
        row = await self.questions.ask_one(
            _UPLOAD, name.namespace, name.name, upload_id.text, upload_id.claim
        )
        if row is None:
            return None
        return UploadRecord(
            id=row["id"],
            upload_id=upload_id,
            repository_id=row["repository_id"],
            received=row["byte_count"] or 0,
            hash_state=row["sha_state"],
            storage_state=row["storage_metadata"],
            chunks=row["chunk_count"] or 0,
        )

    @override
    async def has_upload(self, upload_id: str) -> bool:
        return await self.questions.ask_one(_HAS_UPLOAD, upload_id) is not None

    @override
    async def advance_upload(
        self,
        upload: UploadRecord,
        *,
        received: int,
        hash_state: str | None,
        storage_state: str | None,
    ) -> bool:
        state = received, hash_state, storage_state or "{}"
        statement = _ADVANCE_UPLOAD
        values: tuple[object, ...] = (upload.id, upload.received, *state)
        if upload.id is None:
            statement = _INSERT_UPLOAD
            values = (
                upload.upload_id.claim,
                upload.repository_id,
                upload.upload_id.text,
                await self._location(),
                *state,
                _plain(upload.upload_id.begun_at),
            )

        async def put(connection: ServerConnection, *, is_again: bool) -> bool:
            moved = await connection.fetchrow(statement, *values)
            if moved is None and is_again:
                # Nobody else comes to this very state: the first time it was done.
                moved = await connection.fetchrow(_STANDS, upload.upload_id.text, *state)
            return moved is not None

        return await self.questions.change(put)

    @override
    async def end_upload(self, upload: UploadRecord) -> bool:
        async def put(connection: ServerConnection, *, is_again: bool) -> bool:
            has_ended = await connection.fetchval(
                _END_UPLOAD, upload.repository_id, upload.upload_id.text, upload.upload_id.claim
            )
            if is_again and not has_ended:
                raise DatabaseUnavailable("nobody knows who ended the upload")
            return bool(has_ended)

        return await self.questions.change(put)

    @override
    @asynccontextmanager
    async def publish_blob(self, push: BlobPush) -> AsyncIterator[RepositoryRecord]:
        values = (
            push.name.namespace,
            push.name.name,
            push.upload_id.text,
            push.upload_id.claim if push.received == 0 else None,
            push.received,
            str(push.digest),
            new_uuid(),
            push.size,
            await self._location(),
            _plain(push.now),
            _plain(push.now + push.lifetime),
        )
        begun = self.questions.transact(
            lambda connection: connection.fetchrow(_PUBLISH_BLOB, *values)
        )
        repository: RepositoryRecord | None = None
        try:
            async with begun as row:
                found = _published(push, row)
                yield found
                # From here on an error is one of COMMIT, of which nobody knows what it did.
                repository = found
        except DatabaseUnavailable:
            if repository is None or not await self._is_published(push, repository=repository):
                raise
            log.info(
                "a blob was stored, though its commit was not answered", digest=str(push.digest)
            )

    @override
    async def push_manifest(self, push: ManifestPush) -> RepositoryRecord:
        values = (
            push.name.namespace,
            push.name.name,
            sorted(push.states),
            *_manifest_values(push.manifest, media_type_id=push.media_type_id),
            [str(digest) for digest in push.absent],
            *([row[column] for row in push.labels] for column in _LABEL_COLUMNS),
            *_tag_values(push.tag),
            _plain(push.now),
            *self.audit.values_of(push.entry),
        )
        row = await self.questions.change(
            lambda connection, *, is_again: connection.fetchrow(_PUSH_MANIFEST, *values, is_again)
        )
        outcome = row["outcome"]
        if outcome == "no repository":
            raise RepositoryUnknown("repository not found")
        if outcome == "immutable":
            raise TagImmutable(f"Tag {push.tag.name} is immutable")
        if outcome == "parts":
            _refuse_parts(push.manifest, row)
        return _repository(
            push.name, row["found_repository"], row["found_namespace"], row["found_state"]
        )

    async def _is_published(self, push: BlobPush, *, repository: RepositoryRecord) -> bool:
        """Say whether the transaction of a push was done, whose connection is lost.

        A session that is still at it holds the lock of the blob until it is done or undone.

        Raises:
            DatabaseUnavailable: that cannot be known now.
        """

        async def look(connection: ServerConnection) -> bool:
            # Two statements: the second one sees what was committed while the first one waited.
            await connection.fetchval(_WAIT_FOR_BLOB, str(push.digest))
            values = repository.id, str(push.digest), _plain(push.now)
            return await connection.fetchval(_IS_PUBLISHED, *values) is not None

        return await self.questions.read(look)

    async def _location(self) -> int:
        """Return the id of the location; its row is never removed."""
        if self._location_id is None:
            self._location_id = await self.questions.change(self._found_location)
        return self._location_id

    async def _found_location(self, connection: ServerConnection, **_: bool) -> int:
        found: int | None = await connection.fetchval(_LOCATION, self.location)
        if found is None:
            # Another process was quicker; its row is seen by a statement that begins now.
            found = await connection.fetchval(_LOCATION, self.location)
        assert found is not None
        return found


def _published(push: BlobPush, row: "asyncpg.Record") -> RepositoryRecord:
    """Return the repository of a blob whose rows were written, or say why they were not."""
    outcome, *found = row
    match outcome:
        case "done":
            return _repository(push.name, *found)
        case "no repository":
            raise RepositoryUnknown("repository not found")
        case _:
            raise UploadUnknown("another request went on with this upload, or ended it")


def _manifest_values(manifest: Manifest, *, media_type_id: int) -> tuple[object, ...]:
    # Each once and in the order in which the function finds them.
    blobs = sorted({(str(blob.digest), blob.size) for blob in manifest.blobs})
    return (
        str(manifest.digest),
        media_type_id,
        manifest.content.decode("utf-8"),
        manifest.config.media_type if manifest.config else None,
        None if manifest.is_index else manifest.layers_size,
        str(manifest.subject.digest) if manifest.subject else None,
        manifest.artifact_type,
        [digest for digest, _ in blobs],
        [size for _, size in blobs],
        [str(child.digest) for child in manifest.children],
    )


def _refuse_parts(manifest: Manifest, row: "asyncpg.Record") -> NoReturn:
    """Say which parts of a manifest are not here, or of another size."""
    digests, sizes = row["held_digests"] or [], row["held_sizes"] or []
    require_parts(
        manifest,
        blobs={digest: (0, size) for digest, size in zip(digests, sizes, strict=True)},
        children=dict.fromkeys(row["held_children"] or [], 0),
    )
    raise AssertionError("the database misses parts that are there")


def _repository(
    name: RepositoryName, repository_id: int, namespace_id: int, state: int
) -> RepositoryRecord:
    return RepositoryRecord(
        id=repository_id, namespace_id=namespace_id, name=name, state=RepositoryState(state)
    )


def _tag_values(tag: NewTag) -> tuple[object, ...]:
    return tag.name, tag.is_hidden, tag.kind_id, tag.now_ms, tag.lifetime_ms


def _plain(moment: datetime) -> datetime:
    """Return a moment as its column holds it: UTC, without saying so."""
    return moment.replace(tzinfo=None)

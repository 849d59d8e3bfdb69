"""The rows of pushes on PostgreSQL: prepared statements on bare connections.

Each method of `ledger` is one round trip here where `SqlLedger` takes several: a push of a small
blob was spent on statements, not on bytes. Column meanings are those that `store` tells.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
from typing_extensions import override

from hatoba.kernel.digests import Digest
from hatoba.kernel.ids import new_uuid
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.oci.manifests import Manifest
from hatoba.registry.audit.models import Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.content.errors import TagImmutable
from hatoba.registry.content.ledger import (
    ManifestParts,
    NewTag,
    PushLedger,
    PushTransaction,
    SqlLedger,
)
from hatoba.registry.content.models import RepositoryRecord, RepositoryState, UploadRecord
from hatoba.registry.content.quarantine import blob_key
from hatoba.registry.content.store import tag_key
from hatoba.sql.engine import Database, translated
from hatoba.sql.prepared import PreparedConnection, prepared_pool

CONNECTIONS: Final = 8
"""A process pushes so many things at once; others wait for a connection."""

_REPOSITORY: Final = """
SELECT r.id, r.namespace_user_id, r.state
  FROM "user" u
  JOIN repository r ON r.namespace_user_id = u.id
 WHERE u.username = $1 AND r.name = $2 AND r.state <> 3
"""
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_LOCATION: Final = """
WITH added AS (
     INSERT INTO imagestoragelocation (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id)
SELECT id FROM added
 UNION ALL
SELECT id FROM imagestoragelocation WHERE name = $1
"""
# What an upload is lost with in a crash is the upload alone: no commit to wait for.
_BEGIN_UPLOAD: Final = """
INSERT INTO blobupload
       (repository_id, uuid, byte_count, location_id, storage_metadata, chunk_count, created)
SELECT $1::int, $2::text, 0, $3::int, '{}', 0, $4::timestamp
 WHERE set_config('synchronous_commit', 'off', true) = 'off'
"""
_UPLOAD: Final = """
SELECT b.id, b.uuid, b.repository_id, b.byte_count, b.sha_state, b.storage_metadata, b.chunk_count
  FROM blobupload b
  JOIN repository r ON r.id = b.repository_id
  JOIN "user" u ON u.id = r.namespace_user_id
 WHERE b.uuid = $3 AND u.username = $1 AND r.name = $2
"""
_ADVANCE_UPLOAD: Final = """
UPDATE blobupload
   SET byte_count = $3, sha_state = $4, storage_metadata = $5, chunk_count = chunk_count + 1
 WHERE id = $1 AND byte_count = $2
RETURNING id
"""
_END_UPLOAD: Final = """
WITH gone AS (DELETE FROM blobupload WHERE id = $1 AND byte_count = $2 RETURNING id)
SELECT (SELECT count(*) FROM gone), pg_advisory_xact_lock(hashtextextended($3, 0))
"""
_ADD_BLOB: Final = """
WITH found AS (
     SELECT id FROM imagestorage WHERE content_checksum = $1 AND cas_path ORDER BY id LIMIT 1),
added AS (
     INSERT INTO imagestorage (uuid, image_size, uploading, cas_path, content_checksum)
     SELECT $2, $3::bigint, false, true, $1 WHERE NOT EXISTS (SELECT FROM found)
     RETURNING id),
blob AS (SELECT id FROM found UNION ALL SELECT id FROM added),
placed AS (
     INSERT INTO imagestorageplacement (storage_id, location_id)
     SELECT id, $4::int FROM blob
     ON CONFLICT DO NOTHING),
taken_back AS (
     DELETE FROM hatoba_blob_quarantine WHERE storage_id IN (SELECT id FROM found)),
healed AS (
     DELETE FROM hatoba_blob_damage WHERE digest = $1 AND EXISTS (SELECT FROM found))
INSERT INTO uploadedblob (repository_id, blob_id, uploaded_at, expires_at)
SELECT $5::int, id, $6::timestamp, $7::timestamp FROM blob
"""
# One EXISTS over both: of two, the planner may read all that any repository holds.
_HELD_BLOBS: Final = """
SELECT s.content_checksum, s.id, s.image_size
  FROM imagestorage s
 WHERE s.content_checksum = ANY($2::text[])
   AND EXISTS (
       SELECT FROM manifestblob m WHERE m.repository_id = $1 AND m.blob_id = s.id
        UNION ALL
       SELECT FROM uploadedblob h
        WHERE h.repository_id = $1 AND h.blob_id = s.id AND h.expires_at > $3)
   AND NOT EXISTS (SELECT FROM hatoba_blob_damage d WHERE d.digest = s.content_checksum)
   FOR KEY SHARE OF s
"""
_MANIFEST_IDS: Final = """
SELECT digest, id FROM manifest WHERE repository_id = $1 AND digest = ANY($2::text[])
"""
_ADD_MANIFEST: Final = """
WITH added AS (
     INSERT INTO manifest
            (repository_id, digest, media_type_id, manifest_bytes, config_media_type,
             layers_compressed_size, subject, subject_backfilled, artifact_type,
             artifact_type_backfilled)
     VALUES ($1, $2, $3, $4, $5, $6, $7, true, $8, true)
     ON CONFLICT DO NOTHING
     RETURNING id),
target AS (
     SELECT id FROM added
      UNION ALL
     SELECT id FROM manifest WHERE repository_id = $1 AND digest = $2),
blobs AS (
     INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
     SELECT $1, target.id, blob FROM target, unnest($9::int[]) AS blob
     ON CONFLICT DO NOTHING),
children AS (
     INSERT INTO manifestchild (repository_id, manifest_id, child_manifest_id)
     SELECT $1, target.id, child FROM target, unnest($10::int[]) AS child
     ON CONFLICT DO NOTHING)
SELECT id FROM target
"""
_ADD_LABELS: Final = """
WITH added AS (
     INSERT INTO label (uuid, key, value, media_type_id, source_type_id)
     SELECT given.*
       FROM unnest($3::text[], $4::text[], $5::text[], $6::int[], $7::int[]) AS given
      WHERE NOT EXISTS (SELECT FROM manifestlabel WHERE manifest_id = $2)
     RETURNING id)
INSERT INTO manifestlabel (repository_id, manifest_id, label_id)
SELECT $1::int, $2::int, id FROM added ORDER BY id
"""
_LABEL_COLUMNS: Final = ("uuid", "key", "value", "media_type_id", "source_type_id")
# Where a row of the tag ends later than now, and `$7` says so, nothing is done.
_MOVE_TAG: Final = """
WITH moment AS (
     SELECT greatest($4::bigint, max(lifetime_end_ms) + 1) AS ms
       FROM tag
      WHERE repository_id = $1 AND name = $2 AND lifetime_end_ms <= $4::bigint + 1000),
later AS MATERIALIZED (
     SELECT $7::boolean AND EXISTS (
            SELECT FROM tag
             WHERE repository_id = $1 AND name = $2 AND lifetime_end_ms > $4::bigint) AS found),
current AS (
     SELECT t.id, t.immutable
       FROM tag t, moment
      WHERE t.repository_id = $1 AND t.name = $2 AND NOT t.hidden
        AND (t.lifetime_end_ms IS NULL OR t.lifetime_end_ms > moment.ms)
      ORDER BY t.lifetime_start_ms DESC
      LIMIT 1),
ended AS (
     UPDATE tag SET lifetime_end_ms = moment.ms
       FROM moment, current, later
      WHERE tag.id = current.id AND NOT current.immutable AND NOT later.found),
added AS (
     INSERT INTO tag
            (name, repository_id, manifest_id, lifetime_start_ms, lifetime_end_ms, tag_kind_id,
             hidden, reversion, immutable)
     SELECT $2, $1, $3::int, moment.ms, moment.ms + $5::bigint, $6::int, false, false, false
       FROM moment, later
      WHERE NOT later.found AND NOT EXISTS (SELECT FROM current WHERE immutable)
     RETURNING id)
SELECT later.found, EXISTS (SELECT FROM added) FROM later
"""
# As `store.next_moment_ms` does it: each overtaken row gets a moment at which no other ended,
# and the present one is left to the newest.
_END_OVERTAKEN: Final = """
WITH overtaken AS (
     SELECT id, row_number() OVER (ORDER BY lifetime_start_ms DESC, id DESC) AS number
       FROM tag
      WHERE repository_id = $1 AND name = $2
        AND (lifetime_end_ms IS NULL OR lifetime_end_ms > $3)
      ORDER BY lifetime_start_ms DESC, id DESC
     OFFSET 1),
past AS (
     SELECT lifetime_end_ms AS ms FROM tag
      WHERE repository_id = $1 AND name = $2 AND lifetime_end_ms <= $3),
free AS (
     SELECT $3 - gap AS ms, row_number() OVER (ORDER BY gap) + 1 AS number
       FROM generate_series(
            1::bigint, (SELECT count(*) FROM past) + (SELECT count(*) FROM overtaken)) AS gap
      WHERE NOT EXISTS (SELECT FROM past WHERE past.ms = $3 - gap))
UPDATE tag SET lifetime_end_ms = free.ms
  FROM overtaken JOIN free USING (number)
 WHERE tag.id = overtaken.id
"""
_ADD_HOLD: Final = """
INSERT INTO tag
       (name, repository_id, manifest_id, lifetime_start_ms, lifetime_end_ms, tag_kind_id,
        hidden, reversion, immutable)
VALUES ($2, $1, $3, $4::bigint, $4::bigint + $5::bigint, $6, true, false, false)
"""


@asynccontextmanager
async def open_ledger(
    database: Database, *, audit: AuditLog, location: str
) -> AsyncIterator[PushLedger]:
    """Open the ledger that a database allows.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    if not database.is_postgresql:
        yield SqlLedger(database=database, audit=audit, location=location)
        return
    async with prepared_pool(database, connections=CONNECTIONS) as pool:
        yield PreparedLedger(pool=pool, audit=audit, location=location)


@dataclass(slots=True, kw_only=True)
class PreparedLedger(PushLedger):
    """Asks asyncpg, whose connections keep each statement prepared."""

    pool: "asyncpg.Pool[Any]"
    audit: AuditLog
    location: str
    _location_id: int | None = field(default=None, repr=False)

    @override
    async def find_repository(self, name: RepositoryName) -> RepositoryRecord | None:
        with translated():
            row = await self.pool.fetchrow(_REPOSITORY, name.namespace, name.name)
        return _repository(name, row)

    @override
    async def insert_upload(self, *, repository_id: int, upload_id: str, now: datetime) -> None:
        with translated():
            await self.pool.execute(
                _BEGIN_UPLOAD, repository_id, upload_id, await self._location(), _plain(now)
            )

    @override
    async def find_upload(self, name: RepositoryName, *, upload_id: str) -> UploadRecord | None:
        with translated():
            row = await self.pool.fetchrow(_UPLOAD, name.namespace, name.name, upload_id)
        if row is None:
            return None
        return UploadRecord(
            id=row["id"],
            upload_id=row["uuid"],
            repository_id=row["repository_id"],
            received=row["byte_count"],
            hash_state=row["sha_state"],
            storage_state=row["storage_metadata"],
            chunks=row["chunk_count"],
        )

    @override
    async def advance_upload(
        self,
        upload: UploadRecord,
        *,
        received: int,
        hash_state: str | None,
        storage_state: str | None,
    ) -> bool:
        with translated():
            moved = await self.pool.fetchval(
                _ADVANCE_UPLOAD, upload.id, upload.received, received, hash_state, storage_state
            )
        return moved is not None

    @override
    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PushTransaction]:
        location_id = await self._location()
        with translated():
            async with self.pool.acquire() as connection, connection.transaction():
                yield _PreparedTransaction(
                    connection=connection, audit=self.audit, location_id=location_id
                )

    async def _location(self) -> int:
        """Return the id of the location; its row is never removed."""
        if self._location_id is None:
            with translated():
                self._location_id = await self.pool.fetchval(_LOCATION, self.location)
        assert self._location_id is not None
        return self._location_id


@dataclass(slots=True, frozen=True, kw_only=True)
class _PreparedTransaction(PushTransaction):
    connection: PreparedConnection
    audit: AuditLog
    location_id: int

    @override
    async def keep_repository(
        self, name: RepositoryName, *, tag: TagName | None = None
    ) -> RepositoryRecord | None:
        row = await self.connection.fetchrow(
            _REPOSITORY + " FOR KEY SHARE OF r", name.namespace, name.name
        )
        repository = _repository(name, row)
        if repository is not None and tag is not None:
            # A statement of its own: the next one must see what the last holder committed.
            await self.connection.execute(_LOCK, tag_key(repository.id, tag))
        return repository

    @override
    async def end_upload(self, upload: UploadRecord, *, digest: Digest) -> bool:
        gone = await self.connection.fetchval(
            _END_UPLOAD, upload.id, upload.received, blob_key(digest)
        )
        return bool(gone)

    @override
    async def add_blob(
        self, *, repository_id: int, digest: Digest, size: int, now: datetime, lifetime: timedelta
    ) -> None:
        await self.connection.execute(
            _ADD_BLOB,
            str(digest),
            new_uuid(),
            size,
            self.location_id,
            repository_id,
            _plain(now),
            _plain(now + lifetime),
        )

    @override
    async def find_parts(
        self,
        *,
        repository_id: int,
        blobs: Sequence[Digest],
        children: Sequence[Digest],
        now: datetime,
    ) -> ManifestParts:
        held, found = [], []
        if blobs:
            texts = [str(digest) for digest in blobs]
            held = await self.connection.fetch(_HELD_BLOBS, repository_id, texts, _plain(now))
        if children:
            texts = [str(digest) for digest in children]
            found = await self.connection.fetch(_MANIFEST_IDS, repository_id, texts)
        return ManifestParts(
            blobs={digest: (blob_id, size) for digest, blob_id, size in held},
            children=dict(found),
        )

    @override
    async def insert_manifest(
        self,
        manifest: Manifest,
        *,
        repository_id: int,
        media_type_id: int,
        blob_ids: Sequence[int],
        child_ids: Sequence[int],
    ) -> int:
        values = (
            repository_id,
            str(manifest.digest),
            media_type_id,
            manifest.content.decode("utf-8"),
            manifest.config.media_type if manifest.config else None,
            None if manifest.is_index else manifest.layers_size,
            str(manifest.subject.digest) if manifest.subject else None,
            manifest.artifact_type,
            blob_ids,
            child_ids,
        )
        manifest_id = await self.connection.fetchval(_ADD_MANIFEST, *values)
        if manifest_id is None:
            # Another push of the same manifest was quicker, and committed while this one waited
            # for it: a new statement sees its row.
            manifest_id = await self.connection.fetchval(_ADD_MANIFEST, *values)
        return int(manifest_id)

    @override
    async def add_labels(
        self, *, repository_id: int, manifest_id: int, rows: Sequence[dict[str, object]]
    ) -> None:
        columns = [[row[column] for row in rows] for column in _LABEL_COLUMNS]
        await self.connection.execute(_ADD_LABELS, repository_id, manifest_id, *columns)

    @override
    async def move_tag(self, *, repository_id: int, tag: NewTag) -> None:
        later, added = await self._move(repository_id, tag=tag, unless_later=True)
        if later:
            await self.connection.execute(_END_OVERTAKEN, repository_id, tag.name, tag.now_ms)
            _, added = await self._move(repository_id, tag=tag, unless_later=False)
        if not added:
            raise TagImmutable(f"Tag {tag.name} is immutable")

    async def _move(
        self, repository_id: int, *, tag: NewTag, unless_later: bool
    ) -> tuple[bool, bool]:
        row = await self.connection.fetchrow(_MOVE_TAG, repository_id, *_values(tag), unless_later)
        assert row is not None
        later, added = row
        return later, added

    @override
    async def add_hold(self, *, repository_id: int, tag: NewTag) -> None:
        await self.connection.execute(_ADD_HOLD, repository_id, *_values(tag))

    @override
    async def record(self, entry: Entry) -> None:
        await self.audit.record_prepared(self.connection, entry)


def _repository(name: RepositoryName, row: "asyncpg.Record | None") -> RepositoryRecord | None:
    if row is None:
        return None
    repository_id, namespace_id, state = row
    return RepositoryRecord(
        id=repository_id, namespace_id=namespace_id, name=name, state=RepositoryState(state)
    )


def _values(tag: NewTag) -> tuple[object, ...]:
    return tag.name, tag.manifest_id, tag.now_ms, tag.lifetime_ms, tag.kind_id


def _plain(moment: datetime) -> datetime:
    """Return a moment as its column holds it: UTC, without saying so."""
    return moment.replace(tzinfo=None)

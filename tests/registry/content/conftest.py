"""The content room in process, on every database, with blobs in memory and a clock that obeys."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from hatoba.config.schema import QuayConfig
from hatoba.kernel.clock import FixedClock
from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.oci import media_types
from hatoba.registry.audit.models import NOBODY, Actor
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.blobs.memory import MemoryBlobs
from hatoba.registry.content.holdings import Holdings
from hatoba.registry.content.ledger_prepared import open_ledger
from hatoba.registry.content.listings import Listings
from hatoba.registry.content.manifests import Manifests
from hatoba.registry.content.models import Caller
from hatoba.registry.content.resolver import SqlTagResolver
from hatoba.registry.content.shelf import Shelf, make_caches
from hatoba.registry.content.tagging import Tagging, TagPlace
from hatoba.registry.content.upload_ids import UploadIds
from hatoba.registry.content.uploads import Uploads
from hatoba.registry.db.lookups import load_lookups
from hatoba.registry.rooms import Rooms, open_rooms

NAME = RepositoryName.parse("someone/app")
CALLER = Caller(actor=Actor(), username=None, user_agent="test")


async def once(content: bytes):
    yield content


@dataclass(kw_only=True)
class Room:
    """The services, and shorthands for what tests do with them."""

    shelf: Shelf
    clock: FixedClock
    manifests: Manifests
    uploads: Uploads
    holdings: Holdings
    listings: Listings
    rooms: Rooms

    @property
    def tagging(self) -> Tagging:
        return self.rooms.tagging

    async def place(self) -> TagPlace:
        found = await self.rooms.repositories.find("someone", "app")
        assert found is not None
        return TagPlace(
            repository_id=found.id,
            namespace_id=found.namespace.id,
            namespace="someone",
            name="app",
        )

    async def push_blob(self, content: bytes) -> Digest:
        digest = Digest.of(content)
        upload = await self.uploads.start_upload(NAME)
        await self.uploads.finish_upload(
            NAME, upload_id=upload, digest=digest, chunks=once(content)
        )
        return digest

    async def image(self, *, labels=None, **extra) -> bytes:
        config = json.dumps({"config": {"Labels": labels or {}}}).encode()
        described = {
            "mediaType": media_types.OCI_CONFIG,
            "digest": str(await self.push_blob(config)),
            "size": len(config),
        }
        return json.dumps({"schemaVersion": 2, "config": described, "layers": [], **extra}).encode()

    async def push(self, reference, content, *, kind=media_types.OCI_MANIFEST):
        return await self.manifests.push_manifest(
            NAME,
            reference=reference if isinstance(reference, Digest) else TagName(reference),
            content=content,
            content_type=kind,
            caller=CALLER,
        )

    async def pull(self, reference):
        return await self.manifests.resolve_reference(
            NAME,
            reference=reference if isinstance(reference, Digest) else TagName(reference),
            caller=CALLER,
        )

    async def rows(self, table):
        async with self.shelf.database.read() as connection:
            return (await connection.execute(select(table).order_by(table.c.id))).all()


@pytest.fixture
async def room(database):
    clock = FixedClock(datetime(2026, 11, 23, 12, tzinfo=UTC))
    lookups = await load_lookups(database)
    settings = QuayConfig.model_validate({"SECRET_KEY": "s", "DATABASE_SECRET_KEY": "d"})
    rooms = open_rooms(settings, database=database, lookups=lookups, clock=clock, password_rounds=4)
    owner = await rooms.users.create(
        username="someone", password=None, email="someone@example.com", actor=NOBODY
    )
    await rooms.repositories.create(
        namespace=owner, name="app", is_public=False, description=None, creator=owner, actor=NOBODY
    )
    audit = AuditLog(database=database, lookups=lookups, clock=clock)
    async with open_ledger(database, audit=audit, location="default") as ledger:
        shelf = Shelf(
            database=database,
            blobs=MemoryBlobs(),
            lookups=lookups,
            audit=audit,
            clock=clock,
            caches=make_caches(clock, lifetime_seconds=60),
            ledger=ledger,
            upload_ids=UploadIds.of_secret(b"secret"),
        )
        yield make_room(shelf, rooms)


def make_room(shelf: Shelf, rooms: Rooms) -> Room:
    database, clock = shelf.database, shelf.clock
    assert isinstance(clock, FixedClock)
    return Room(
        shelf=shelf,
        clock=clock,
        manifests=Manifests(shelf=shelf, resolver=SqlTagResolver(database=database, clock=clock)),
        uploads=Uploads(shelf=shelf),
        holdings=Holdings(shelf=shelf),
        listings=Listings(shelf=shelf),
        rooms=rooms,
    )

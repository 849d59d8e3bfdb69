"""Two repositories of one namespace, and shorthands for what tests do with them."""

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, update

from hatoba.config.schema import QuayConfig
from hatoba.kernel.clock import FixedClock
from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.oci import media_types
from hatoba.registry.accounts.models import Account
from hatoba.registry.audit.models import NOBODY, Actor
from hatoba.registry.blobs.memory import MemoryBlobs
from hatoba.registry.content.holdings import Holdings
from hatoba.registry.content.ledger import PushLedger
from hatoba.registry.content.ledger_prepared import open_ledger
from hatoba.registry.content.ledger_sql import SqlLedger
from hatoba.registry.content.manifests import Manifests
from hatoba.registry.content.models import Caller
from hatoba.registry.content.resolver import SqlTagResolver
from hatoba.registry.content.shelf import Shelf, make_caches
from hatoba.registry.content.tagging import Tagging, TagPlace
from hatoba.registry.content.upload_ids import UploadIds
from hatoba.registry.content.uploads import Uploads
from hatoba.registry.db.lookups import load_lookups
from hatoba.registry.db.tables.users import users
from hatoba.registry.repositories.service import Repositories
from hatoba.registry.retention.service import Collector
from hatoba.registry.rooms import Rooms, open_rooms

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
CALLER = Caller(actor=Actor(), username=None, user_agent="test")
SETTINGS = QuayConfig.model_validate({"SECRET_KEY": "s", "DATABASE_SECRET_KEY": "d"})
TIME_MACHINE = timedelta(days=1)
NAMES = [RepositoryName.parse("someone/app"), RepositoryName.parse("someone/other")]


def descriptor(content: bytes, media_type: str) -> dict:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def image(config: bytes, *layers: bytes, subject: bytes | None = None) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": descriptor(config, media_types.OCI_CONFIG),
            "layers": [
                descriptor(one, "application/vnd.oci.image.layer.v1.tar+gzip") for one in layers
            ],
            **({"subject": descriptor(subject, media_types.OCI_MANIFEST)} if subject else {}),
        }
    ).encode()


def index(*children: bytes) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [descriptor(one, media_types.OCI_MANIFEST) for one in children],
        }
    ).encode()


async def once(content: bytes):
    yield content


@dataclass(kw_only=True)
class House:
    shelf: Shelf
    clock: FixedClock
    manifests: Manifests
    uploads: Uploads
    holdings: Holdings
    tagging: Tagging
    collector: Collector
    rooms: Rooms

    @property
    def repositories(self) -> Repositories:
        return self.rooms.repositories

    async def push_blob(self, content: bytes, name=NAMES[0]) -> Digest:
        digest = Digest.of(content)
        upload = await self.uploads.start_upload(name)
        await self.uploads.finish_upload(
            name, upload_id=upload, digest=digest, chunks=once(content)
        )
        return digest

    async def push(self, reference, content: bytes, name=NAMES[0]):
        return await self.manifests.push_manifest(
            name,
            reference=reference if isinstance(reference, Digest) else TagName(reference),
            content=content,
            content_type=json.loads(content)["mediaType"],
            caller=CALLER,
        )

    async def push_image(self, reference, *blobs: bytes, name=NAMES[0], subject=None) -> bytes:
        for blob in blobs:
            await self.push_blob(blob, name)
        content = image(*blobs, subject=subject)
        await self.push(Digest.of(content) if reference is None else reference, content, name)
        return content

    async def delete(self, tag: str, name=NAMES[0]):
        await self.manifests.delete_manifest(name, reference=TagName(tag), caller=CALLER)

    async def place(self, name=NAMES[0]) -> TagPlace:
        found = await self.repositories.find(str(name.namespace), name.name)
        assert found is not None
        return TagPlace(
            repository_id=found.id,
            namespace_id=found.namespace.id,
            namespace=str(name.namespace),
            name=name.name,
        )

    async def point(self, tag: str, content: bytes, name=NAMES[0], *, is_reversion: bool = False):
        await self.tagging.point(
            await self.place(name),
            tag=TagName(tag),
            digest=str(Digest.of(content)),
            actor=NOBODY,
            is_reversion=is_reversion,
        )

    async def set_time_machine(self, window: timedelta) -> None:
        async with self.shelf.database.begin() as connection:
            await connection.execute(
                update(users).values(removed_tag_expiration_s=int(window.total_seconds()))
            )

    async def pull(self, reference, name=NAMES[0]):
        return await self.manifests.resolve_reference(
            name,
            reference=reference if isinstance(reference, Digest) else TagName(reference),
            caller=None,
        )

    async def count(self, table) -> int:
        async with self.shelf.database.read() as connection:
            return (await connection.execute(select(func.count()).select_from(table))).scalar_one()

    async def collect_until_nothing_waits(self):
        """Collect, and again after the quarantine."""
        done = await self.collector.collect_everything()
        self.clock.at += self.collector.policy.quarantine
        done.add(await self.collector.collect_everything())
        return done

    @property
    def stored(self) -> set[bytes]:
        """The bytes in the storage."""
        assert isinstance(self.shelf.blobs, MemoryBlobs)
        return set(self.shelf.blobs.blobs.values())


async def make_owner(rooms: Rooms) -> Account:
    return await rooms.users.create(
        username="someone", password=None, email="someone@example.com", actor=NOBODY
    )


async def open_house(
    database,
    *,
    blobs=None,
    is_new: bool = True,
    time_machine: timedelta = TIME_MACHINE,
    stack: AsyncExitStack | None = None,
) -> House:
    """With a stack, pushes are written as a server writes them; without, through SQLAlchemy."""
    clock = FixedClock(START)
    lookups = await load_lookups(database)
    rooms = open_rooms(SETTINGS, database=database, lookups=lookups, clock=clock, password_rounds=4)
    if is_new:
        owner = await make_owner(rooms)
        for name in NAMES:
            await rooms.repositories.create(
                namespace=owner,
                name=name.name,
                is_public=False,
                description=None,
                creator=owner,
                actor=NOBODY,
            )
    ledger: PushLedger = SqlLedger(database=database, audit=rooms.audit, location="default")
    if stack is not None:
        ledger = await stack.enter_async_context(
            open_ledger(database, audit=rooms.audit, location="default")
        )
    shelf = Shelf(
        database=database,
        blobs=blobs or MemoryBlobs(),
        lookups=lookups,
        audit=rooms.audit,
        clock=clock,
        caches=make_caches(clock, lifetime_seconds=60),
        ledger=ledger,
        upload_ids=UploadIds.of_secret(b"secret"),
    )
    house = House(
        shelf=shelf,
        clock=clock,
        manifests=Manifests(shelf=shelf, resolver=SqlTagResolver(database=database, clock=clock)),
        uploads=Uploads(shelf=shelf),
        holdings=Holdings(shelf=shelf),
        tagging=Tagging(database=database, clock=clock, lookups=lookups, audit=rooms.audit),
        collector=Collector(shelf=shelf),
        rooms=rooms,
    )
    if is_new:
        await house.set_time_machine(time_machine)
    return house

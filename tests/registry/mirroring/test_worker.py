import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from tests.registry.mirroring.test_policy import NOW, mirror

from hatoba.kernel.clock import FixedClock
from hatoba.kernel.digests import Digest
from hatoba.net.registry.client import RemoteManifest
from hatoba.net.registry.errors import RegistryUnreachable, RemoteUnknown
from hatoba.registry.mirroring.models import SyncStatus
from hatoba.registry.mirroring.policy import cancelled, with_schedule
from hatoba.registry.mirroring.worker import MirrorWorker

pytestmark = pytest.mark.anyio
IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class MemorySource:
    """Another registry in memory."""

    tagged: dict[str, RemoteManifest] = field(default_factory=dict)
    manifests: dict[str, RemoteManifest] = field(default_factory=dict)
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    fetched: list[Digest] = field(default_factory=list)

    def add(self, tag, body, media_type):
        content = json.dumps(body).encode()
        manifest = RemoteManifest(content=content, media_type=media_type, digest=Digest.of(content))
        self.manifests[str(manifest.digest)] = manifest
        if tag:
            self.tagged[tag] = manifest
        return {"mediaType": media_type, "digest": str(manifest.digest), "size": len(content)}

    def image(self, tag, *layers: bytes):
        for layer in (b"{}", *layers):
            self.blobs[Digest.of(layer)] = layer
        descriptors = [{"mediaType": "x", "digest": str(Digest.of(one))} for one in layers]
        config = {"mediaType": "x", "digest": str(Digest.of(b"{}"))}
        return self.add(tag, {"config": config, "layers": descriptors}, IMAGE)

    async def list_tags(self):
        return list(self.tagged)

    async def manifest(self, reference):
        found = self.tagged.get(reference) or self.manifests.get(reference)
        if found is None:
            raise RemoteUnknown(reference)
        return found

    @asynccontextmanager
    async def blob(self, digest):
        if digest not in self.blobs:
            raise RemoteUnknown(str(digest))
        self.fetched.append(digest)

        async def chunks():
            yield self.blobs[digest]

        yield chunks()


@dataclass
class MemoryTarget:
    """Our repository in memory; refuses a manifest whose content is not there."""

    stored: dict[Digest, bytes] = field(default_factory=dict)
    tagged: dict[str, Digest] = field(default_factory=dict)

    async def has_blob(self, digest):
        return digest in self.stored

    has_manifest = has_blob

    async def store_blob(self, digest, chunks):
        content = b"".join([chunk async for chunk in chunks])
        assert sha256(content).hexdigest() == digest.hex
        self.stored[digest] = content

    async def push_manifest(self, manifest, *, tag):
        body = json.loads(manifest.content)
        needed = [*body.get("layers", []), *body.get("manifests", [])]
        assert all(Digest.parse(one["digest"]) in self.stored for one in needed)
        self.stored[manifest.digest] = manifest.content
        if tag:
            self.tagged[tag] = manifest.digest

    async def tags(self):
        return list(self.tagged)

    async def delete_tag(self, tag):
        del self.tagged[tag]


class MemoryMirrors:
    """Schedules in memory, with the store's rule for concurrent writers."""

    def __init__(self, record):
        self.record, self.notes, self.serial = record, [], 0

    async def candidates(self, *, limit):
        return [self.record]

    async def write(self, record, schedule):
        if record.transaction_id != self.record.transaction_id:
            return None
        self.serial += 1
        self.record = with_schedule(self.record, schedule, f"t{self.serial}")
        return self.record.transaction_id

    async def current(self, record):
        return self.record

    async def note(self, record, kind, **details):
        self.notes.append(kind)


@pytest.fixture
def source():
    return MemorySource()


@pytest.fixture
def target():
    return MemoryTarget()


def worker(mirrors, source, target):
    @asynccontextmanager
    async def open_source(_):
        yield source

    clock = FixedClock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    return MirrorWorker(
        mirrors=mirrors, open_source=open_source, open_target=lambda _: target, clock=clock
    )


async def test_matching_tags_are_copied_and_others_deleted(source, target):
    source.image("v1", b"one")
    source.image("dev", b"two")
    target.tagged["v0"] = Digest.of(b"old")
    mirrors = MemoryMirrors(mirror(patterns=("v*",)))
    assert await worker(mirrors, source, target).look() == 1
    assert target.tagged == {"v1": source.tagged["v1"].digest}
    assert mirrors.record.status is SyncStatus.SUCCESS
    assert mirrors.record.start_at > NOW


async def test_an_index_comes_with_its_images(source, target):
    children = [source.image(None, b"amd64"), source.image(None, b"arm64")]
    source.add("both", {"manifests": children}, INDEX)
    await worker(MemoryMirrors(mirror()), source, target).look()
    assert target.tagged["both"] == source.tagged["both"].digest


async def test_what_is_there_is_not_fetched_again(source, target):
    source.image("v1", b"one", b"two")
    target.stored[Digest.of(b"one")] = b"one"
    await worker(MemoryMirrors(mirror()), source, target).look()
    assert Digest.of(b"one") not in source.fetched


async def test_a_tag_that_fails_fails_the_sync_but_not_the_others(source, target):
    source.image("v1", b"one")
    source.image("v2", b"two")
    del source.blobs[Digest.of(b"one")]
    mirrors = MemoryMirrors(mirror())
    await worker(mirrors, source, target).look()
    assert list(target.tagged) == ["v2"]
    assert mirrors.record.status is SyncStatus.FAIL
    assert mirrors.record.retries_remaining == 2
    assert "repo_mirror_sync_tag_failed" in mirrors.notes


async def test_an_unreachable_registry_deletes_nothing(source, target):
    async def unreachable():
        raise RegistryUnreachable("nobody there")

    source.list_tags = unreachable
    target.tagged["v1"] = Digest.of(b"kept")
    mirrors = MemoryMirrors(mirror())
    await worker(mirrors, source, target).look()
    assert list(target.tagged) == ["v1"]
    assert mirrors.record.status is SyncStatus.FAIL


async def test_a_cancelled_sync_stops_after_the_tag_and_stays_cancelled(source, target):
    source.image("v1", b"one")
    source.image("v2", b"two")
    mirrors = MemoryMirrors(mirror())
    push = target.push_manifest

    async def push_and_cancel(manifest, *, tag):
        await push(manifest, tag=tag)
        mirrors.record = with_schedule(mirrors.record, cancelled(mirrors.record), "cancelled")

    target.push_manifest = push_and_cancel
    await worker(mirrors, source, target).look()
    assert list(target.tagged) == ["v1"]
    assert mirrors.record.status is SyncStatus.CANCEL


async def test_a_claim_that_another_worker_made_first_is_left_alone(source, target):
    source.image("v1", b"one")
    mirrors = MemoryMirrors(mirror())
    stale = mirrors.record
    mirrors.record = with_schedule(mirrors.record, cancelled(mirrors.record), "another")

    async def candidates(*, limit):
        return [stale]

    mirrors.candidates = candidates
    assert await worker(mirrors, source, target).look() == 0
    assert target.tagged == {}

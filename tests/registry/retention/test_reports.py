"""The plan says what the collection then does; explanations name what keeps a digest."""

from datetime import timedelta

import pytest
from tests.registry.retention.house import NAMES, TIME_MACHINE, image, index

from hatoba.kernel.digests import Digest
from hatoba.registry.audit.models import NOBODY
from hatoba.registry.retention.reports import Reports

pytestmark = pytest.mark.anyio


@pytest.fixture
def reports(house):
    return Reports(collector=house.collector)


async def test_a_plan_is_what_the_collection_then_does(house, reports):
    child = await house.push_image(None, b"{}", b"layer")
    await house.push("index", index(child))
    await house.push_image("kept", b"{}", b"shared", name=NAMES[1])
    subject = await house.push_image("signed", b"{ }", b"shared")
    await house.push_image(None, b"{  }", b"signature", subject=subject)
    await house.delete("index")
    await house.delete("signed")
    house.clock.elapsed += TIME_MACHINE
    await house.push_blob(b"on its way")
    plan = await reports.plan()
    assert {(one.repository, one.digest) for one in plan.manifests} == {
        ("someone/app", str(Digest.of(one)))
        for one in (child, index(child), subject, image(b"{  }", b"signature", subject=subject))
    }
    assert {blob.digest for blob in plan.blobs} == {
        str(Digest.of(one)) for one in (b"layer", b"{ }", b"{  }", b"signature")
    }
    assert plan.total_bytes == len(b"layer{ }{  }signature")
    assert "tag index ended 2026-11-23T12:00:00Z" in {one.reason for one in plan.manifests}
    assert await reports.plan() == plan
    done = await house.collect_until_nothing_waits()
    assert (done.manifests, done.blobs, done.bytes) == (4, 4, plan.total_bytes)
    assert house.stored == {b"{}", b"shared", b"on its way"}


async def test_the_plan_names_deleted_repositories(house, reports):
    await house.push_image("latest", b"{}", b"layer")
    await house.repositories.delete(await house.repositories.find("someone", "app"), actor=NOBODY)
    plan = await reports.plan()
    assert plan.repositories == ["someone/app"]
    assert [one.reason for one in plan.manifests] == ["its repository was deleted"]
    assert plan.total_bytes == len(b"{}layer")


async def test_explanations_name_what_keeps_a_manifest(house, reports):
    child = await house.push_image(None, b"{}", b"layer")
    parent = index(child)
    await house.push("latest", parent)
    told = await reports.explain(Digest.of(child))
    assert told.is_kept
    assert told.reasons == [
        "someone/app: it was pushed by digest, and is held until 2026-11-23T13:00:00Z",
        f"someone/app: index {Digest.of(parent)} names it",
    ]
    await house.delete("latest")
    assert (await reports.explain(Digest.of(parent))).reasons == [
        "someone/app: tag latest can be restored to it until 2026-11-24T12:00:00Z"
    ]
    house.clock.elapsed += timedelta(days=3)
    told = await reports.explain(Digest.of(child))
    assert not told.is_kept
    assert told.reasons == ["someone/app: nothing keeps it; the next collection removes it"]


async def test_explanations_name_what_keeps_a_blob(house, reports):
    content = await house.push_image("latest", b"{}", b"layer")
    told = await reports.explain(Digest.of(b"layer"))
    assert told.is_kept
    assert told.reasons == [
        f"someone/app: manifest {Digest.of(content)} names it",
        "someone/app: a push or mount holds it until 2026-11-23T13:00:00Z",
        "the storage has 5 bytes of it",
    ]
    await house.delete("latest")
    house.clock.elapsed += timedelta(days=3)
    await house.collector.collect_everything()
    told = await reports.explain(Digest.of(b"layer"))
    assert not told.is_kept
    assert told.reasons[0].startswith("in quarantine since 2026-11-26T12:00:00Z")


async def test_an_unknown_digest_is_unknown(reports):
    assert not (await reports.explain(Digest.of(b"nobody pushed this"))).is_known

"""Two scanners on one database."""

import asyncio
from datetime import timedelta

import pytest
from tests.scanner.conftest import running_scanner, settings_for
from tests.scanner.test_flow import debian_image

from hatoba.kernel.clock import SystemClock
from hatoba.scanner.tables import LEASES
from hatoba.sql.leases import Leases

pytestmark = pytest.mark.anyio


@pytest.fixture
async def replicas(database, database_uri):
    settings = settings_for(database_uri)
    async with running_scanner(settings) as one, running_scanner(settings) as other:
        for scanner in (one, other):
            scanner.services.indexer._poll_seconds = 0.02
        yield one, other


async def test_a_manifest_is_indexed_by_one_of_them(replicas, registry):
    manifest = debian_image(registry)
    answers = await asyncio.gather(*(scanner.index(manifest) for scanner in replicas))
    assert [index["state"] for _, index in answers] == ["IndexFinished"] * 2
    assert sorted(registry.requests) == sorted(layer["hash"] for layer in manifest["layers"])


async def test_what_a_dead_one_held_is_taken_over(replicas, registry, database):
    manifest = debian_image(registry)
    leases = Leases(database=database, table=LEASES, clock=SystemClock())
    await leases.claim(
        f"index:{manifest['hash']}", holder="dead", lifetime=timedelta(milliseconds=200)
    )
    _, index = await replicas[0].index(manifest)
    assert index["state"] == "IndexFinished"


async def test_both_tell_the_same_report(replicas, registry):
    manifest = debian_image(registry)
    await replicas[0].index(manifest)
    path = f"/indexer/api/v1/index_report/{manifest['hash']}"
    reports = [(await scanner.call("GET", path))[1] for scanner in replicas]
    assert reports[0] == reports[1]

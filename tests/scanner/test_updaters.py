"""Where advisories come from, and what happens when they do not come."""

import gzip
import json
from datetime import timedelta

import aiohttp
import pytest
from tests.scanner.test_flow import SECDB, TRACKER

from hatoba.kernel.clock import SystemClock
from hatoba.kernel.ids import new_uuid
from hatoba.net.http import HttpClient
from hatoba.scanner.tables import LEASES
from hatoba.scanner.updaters.errors import AdvisoriesMalformed
from hatoba.scanner.updaters.service import UpdateService
from hatoba.scanner.updaters.sources import configured_updaters
from hatoba.scanner.updaters.store import UpdateStore
from hatoba.serving.listeners import listening
from hatoba.sql.leases import Leases

pytestmark = pytest.mark.anyio


class MovableClock(SystemClock):
    def __init__(self):
        self.offset = timedelta()

    def now(self):
        return super().now() + self.offset


class Site:
    """A web site of advisories that knows entity tags."""

    def __init__(self):
        self.files = {}
        self.requests = []

    async def __call__(self, scope, receive, send):
        headers = dict(scope["headers"])
        content = self.files.get(scope["path"])
        tag = f'"{hash(content)}"'.encode()
        status = 404 if content is None else 200
        if headers.get(b"if-none-match") == tag:
            status, content = 304, b""
        self.requests.append((scope["path"], status))
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", tag)]})
        await send({"type": "http.response.body", "body": content or b""})


async def without_pause(_seconds):
    return None


@pytest.fixture
async def site():
    made = Site()
    async with listening(made) as server:
        made.url = server.url
        yield made


@pytest.fixture
async def service(database):
    clock = MovableClock()
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        def make(config):
            return UpdateService(
                store=UpdateStore(database, clock=clock),
                leases=Leases(database=database, table=LEASES, clock=clock),
                clock=clock,
                updaters=configured_updaters(
                    config, HttpClient(session=session, sleep=without_pause)
                ),
                period=timedelta(hours=6),
                retention=2,
            )

        yield make


async def test_updaters_run_when_due_and_fetch_only_what_changed(service, site):
    site.files["/tracker"] = json.dumps(TRACKER).encode()
    updating = service({"debian": {"url": site.url + "/tracker"}})
    assert await updating.run_due() == 1
    assert await updating.run_due() == 0
    updating.clock.offset += timedelta(hours=7)
    assert await updating.run_due() == 1
    assert site.requests == [("/tracker", 200), ("/tracker", 304)]
    assert len(await updating.store.operations(latest=False)) == 1


async def test_old_operations_are_retired_with_their_advisories(service, site, database):
    updating = service({"debian": {"url": site.url + "/tracker"}})
    for number in range(4):
        issues = {f"CVE-2023-{number}": {"releases": {"bookworm": {"status": "open"}}}}
        site.files["/tracker"] = json.dumps({"zlib": issues}).encode()
        await updating.run_due()
        updating.clock.offset += timedelta(hours=7)
    kept = await updating.store.operations(latest=False)
    assert len(kept) == 2
    names = set()
    for operation in kept:
        names |= {one.name for one in (await updating.store.advisories_of(operation.ref)).values()}
    assert names == {"CVE-2023-2", "CVE-2023-3"}


async def test_releases_that_do_not_exist_are_no_failure(service, site):
    site.files["/v3.18/main.json"] = json.dumps(SECDB).encode()
    updating = service({"alpine": {"url": site.url, "releases": ["v3.18"]}})
    assert await updating.run_due() == 2
    attempts = await updating.store.attempts()
    assert {name: well for name, (_, well) in attempts.items()} == {
        "alpine-main-v3.18-updater": True,
        "alpine-community-v3.18-updater": True,
    }


async def test_an_unreachable_site_keeps_what_is_known_and_is_tried_sooner(service, site):
    site.files["/tracker"] = json.dumps(TRACKER).encode()
    await service({"debian": {"url": site.url + "/tracker"}}).run_due()
    updating = service({"debian": {"url": "http://127.0.0.1:1/tracker"}})
    updating.clock.offset += timedelta(hours=7)
    assert await updating.run_due() == 1
    assert await updating.run_due() == 0
    assert len(await updating.store.operations(latest=True)) == 1
    updating.clock.offset += timedelta(minutes=11)
    assert await updating.run_due() == 1


async def test_an_empty_file_does_not_declare_everything_healthy(service, site):
    site.files["/tracker"] = b"{}"
    updating = service({"debian": {"url": site.url + "/tracker"}})
    await updating.run_due()
    assert await updating.store.operations(latest=False) == []


async def test_only_one_process_updates_at_a_time(service, site):
    site.files["/tracker"] = json.dumps(TRACKER).encode()
    updating = service({"debian": {"url": site.url + "/tracker"}})
    await updating.leases.claim("updates", holder="another", lifetime=timedelta(minutes=1))
    assert await updating.run_due() == 0


async def test_files_of_paths_are_read(service, tmp_path):
    path = tmp_path / "tracker.json.gz"
    path.write_bytes(gzip.compress(json.dumps(TRACKER).encode()))
    updating = service({"debian": {"files": [str(path)]}})
    assert await updating.run_due() == 1
    assert len(await updating.store.operations(latest=False)) == 1


def exported(ref, did, name):
    return {
        "Updater": "debian/updater",
        "Fingerprint": "f",
        "Ref": ref,
        "Kind": "vulnerability",
        "Vuln": {
            "updater": "debian/updater",
            "name": name,
            "package": {"name": "zlib", "kind": "source"},
            "distribution": {"did": did, "version_id": "12"},
            "normalized_severity": "High",
            "fixed_in_version": "2",
        },
    }


async def test_an_export_of_clairctl_is_imported(service):
    ref = new_uuid()
    lines = [
        exported(ref, "debian", "CVE-1"),
        exported(ref, "suse", "CVE-2"),
        exported(ref, "debian", "CVE-3"),
    ]
    content = gzip.compress("\n".join(map(json.dumps, lines)).encode())
    assert await service({}).import_file(content) == {"debian/updater": 2}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"not json",
        b'{"distroversion": 3}',
        b"\x1f\x8b broken",
        b'{"distroversion":"../x","reponame":"main","packages":[]}',
    ],
)
async def test_other_files_are_refused(service, content):
    with pytest.raises(AdvisoriesMalformed):
        await service({}).import_file(content)

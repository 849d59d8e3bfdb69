import json

import pytest
from sqlalchemy import insert, update

from hatoba.kernel.digests import Digest
from hatoba.registry.audit.models import NOBODY
from hatoba.registry.db.tables.manifests import manifests
from hatoba.registry.scanning.client import IndexResult
from hatoba.registry.scanning.errors import ManifestRefused, ScannerUnavailable
from hatoba.registry.scanning.models import IndexStatus

pytestmark = pytest.mark.anyio

IMAGE = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": "sha256:" + "c" * 64,
        "size": 2,
    },
    "layers": [
        {
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": "sha256:" + "1" * 64,
            "size": 9,
        }
    ],
}
REPORT = {
    "manifest_hash": "sha256:x",
    "packages": {"1": {"name": "openssl", "version": "1.1.1n-0+deb11u3"}},
    "environments": {"1": [{"introduced_in": "sha256:layer"}]},
    "package_vulnerabilities": {"1": ["7"]},
    "vulnerabilities": {
        "7": {
            "id": "7",
            "name": "CVE-2023-0286",
            "updater": "debian/updater",
            "normalized_severity": "High",
            "links": "https://example.org/a https://example.org/b",
            "fixed_in_version": "1.1.1n-0+deb11u4",
            "description": "text",
            "distribution": {"name": "Debian GNU/Linux", "version": "11 (bullseye)"},
        }
    },
    "enrichments": {},
}


class FakeScanner:
    """A scanner that answers what it is told to."""

    def __init__(self):
        self.current, self.asked, self.answer, self.found = "state-1", [], None, REPORT

    async def state(self):
        return self.current

    async def index(self, *, digest, layers):
        self.asked.append((digest, list(layers)))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or IndexResult(is_finished=True, error="", indexer_hash=self.current)

    async def report(self, *, digest):
        return self.found


@pytest.fixture
async def scanned(open_console):
    settings = {
        "FEATURE_SECURITY_SCANNER": True,
        "SECURITY_SCANNER_V4_ENDPOINT": "http://127.0.0.1:1",
        "SECURITY_SCANNER_V4_PSK": "c2VjcmV0",
        "SECURITY_SCANNER_REGISTRY_URL": "http://quay-app:8080",
        "SECURITY_SCANNER_MAX_SCAN_RETRIES": 2,
    }
    async with open_console(**settings) as console:
        body = {"username": "quayadmin", "password": "quaypass123", "access_token": True}
        first = await console.client.post("/api/v1/user/initialize", json=body)
        console.token = first.json()["access_token"]
        console.client.cookies.clear()
        account = await console.rooms.users.get("quayadmin")
        console.repository = await console.rooms.repositories.create(
            namespace=account,
            name="app",
            is_public=False,
            description="",
            creator=account,
            actor=NOBODY,
        )
        console.scanner = FakeScanner()
        object.__setattr__(console.rooms.scanning, "scanner", console.scanner)
        yield console


async def push(console, manifest=IMAGE):
    content = json.dumps(manifest)
    digest = str(Digest.of(content.encode()))
    rooms = console.rooms
    async with rooms.repositories.database.begin() as connection:
        row = insert(manifests).values(
            repository_id=console.repository.id,
            digest=digest,
            media_type_id=rooms.repositories.lookups.id("mediatype", manifest["mediaType"]),
            manifest_bytes=content,
        )
        identity = (await connection.execute(row.returning(manifests.c.id))).scalar_one()
    return identity, digest


async def security(console, digest):
    return await console.call("GET", f"/repository/quayadmin/app/manifest/{digest}/security")


async def test_what_was_pushed_is_indexed_once_and_reported(scanned):
    _, digest = await push(scanned)
    assert (await security(scanned, digest)).json() == {"status": "queued", "data": None}
    assert await scanned.rooms.scanning.index_due() == 1
    assert await scanned.rooms.scanning.index_due() == 0
    answer = (await security(scanned, digest)).json()
    assert answer["status"] == "scanned"
    layer = answer["data"]["Layer"]
    assert (layer["Name"], layer["IndexedByVersion"]) == (digest, 4)
    (feature,) = layer["Features"]
    assert (feature["Name"], feature["AddedBy"]) == ("openssl", "sha256:layer")
    (found,) = feature["Vulnerabilities"]
    assert (found["Name"], found["Severity"]) == ("CVE-2023-0286", "High")
    assert found["FixedBy"] == "1.1.1n-0+deb11u4"
    assert found["Metadata"]["DistroName"] == "Debian GNU/Linux"


async def test_what_is_due_far_below_the_newest_is_found_by_rounds(scanned):
    service = scanned.rooms.scanning
    service.rows_per_page, service.older_pages = 2, 1
    images = [IMAGE | {"annotations": {"n": str(number)}} for number in range(9)]
    digests = [(await push(scanned, image))[1] for image in images]
    # Each round looks at the newest page, and at the next one of those below it; then all over.
    counts = [await service.index_due() for _ in range(5)]
    assert counts == [4, 2, 2, 1, 0]
    assert {asked for asked, _ in scanned.scanner.asked} == set(digests)
    _, late = await push(scanned)
    assert [await service.index_due(), await service.index_due()] == [1, 0]
    assert scanned.scanner.asked[-1][0] == late


async def test_the_scanner_is_told_where_layers_are_and_may_pull_them(scanned):
    _, digest = await push(scanned)
    await scanned.rooms.scanning.index_due()
    ((asked, (layer,)),) = scanned.scanner.asked
    assert asked == digest
    assert layer.uri == f"http://quay-app:8080/v2/quayadmin/app/blobs/{layer.digest}"
    claims = await scanned.rooms.verifier.verify(layer.authorization.removeprefix("Bearer "))
    assert claims.allows("pull", "quayadmin/app")
    assert not claims.allows("push", "quayadmin/app")


async def test_what_is_no_image_is_unsupported(scanned):
    identity, digest = await push(scanned, {**IMAGE, "layers": []})
    await scanned.rooms.scanning.index_due()
    assert scanned.scanner.asked == []
    assert (await security(scanned, digest)).json()["status"] == "unsupported"
    record = await scanned.rooms.scanning.record_of(identity)
    assert record.status is IndexStatus.UNSUPPORTED


async def test_a_failure_is_tried_again_later_and_given_up_at_last(scanned, clock):
    identity, digest = await push(scanned)
    scanned.scanner.answer = ScannerUnavailable("down")
    await scanned.rooms.scanning.index_due()
    assert (await security(scanned, digest)).json()["status"] == "queued"
    assert await scanned.rooms.scanning.index_due() == 0
    clock.advance(minutes=6)
    await scanned.rooms.scanning.index_due()
    assert (await security(scanned, digest)).json()["status"] == "failed"
    clock.advance(minutes=6)
    assert await scanned.rooms.scanning.index_due() == 0
    assert (await scanned.rooms.scanning.record_of(identity)).retries == 2


async def test_what_the_scanner_refuses_is_not_tried_again(scanned, clock):
    _, digest = await push(scanned)
    scanned.scanner.answer = ManifestRefused("a layer is no tar")
    await scanned.rooms.scanning.index_due()
    clock.advance(days=2)
    assert await scanned.rooms.scanning.index_due() == 0
    assert (await security(scanned, digest)).json()["status"] == "unsupported"


async def test_a_changed_scanner_is_worth_another_look_after_a_while(scanned, clock):
    await push(scanned)
    await scanned.rooms.scanning.index_due()
    scanned.scanner.current = "state-2"
    assert await scanned.rooms.scanning.index_due() == 0
    clock.advance(days=2)
    assert await scanned.rooms.scanning.index_due() == 1


async def test_a_scanner_that_fails_is_said_to_fail(scanned):
    _, digest = await push(scanned)
    await scanned.rooms.scanning.index_due()

    async def fail(*, digest):
        raise ScannerUnavailable("the security scanner answered 500")

    scanned.scanner.report = fail
    response = await security(scanned, digest)
    assert (response.status_code, response.json()["error_type"]) == (520, "downstream_issue")


async def test_without_a_scanner_there_is_no_report(console):
    await console.call(
        "POST",
        "/repository",
        body={"repository": "app", "visibility": "private", "description": ""},
    )
    response = await console.call(
        "GET", "/repository/quayadmin/app/manifest/sha256:" + "0" * 64 + "/security"
    )
    assert response.status_code == 404


async def test_what_is_marked_for_deletion_is_left_alone(scanned):
    from hatoba.registry.db.tables.repositories import repositories

    await push(scanned)
    async with scanned.rooms.repositories.database.begin() as connection:
        await connection.execute(update(repositories).values(state=3))
    assert await scanned.rooms.scanning.index_due() == 0

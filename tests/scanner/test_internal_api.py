"""What the notifier and clairctl ask: operations, their differences, affected manifests."""

import json

import pytest
from tests.scanner.test_flow import TRACKER, debian_image

pytestmark = pytest.mark.anyio


async def test_update_operations_and_their_differences_are_told(scanner):
    updating = scanner.services.updating
    await updating.import_file(json.dumps(TRACKER).encode())
    await updating.import_file(json.dumps({"zlib": TRACKER["zlib"]}).encode())
    path = "/matcher/api/v1/internal/update_operation"
    response, operations = await scanner.call("GET", path)
    newest, oldest = operations["debian/updater"]
    assert newest["kind"] == "vulnerability"
    unmodified, _ = await scanner.call(
        "GET", path, headers={"If-None-Match": response.headers["ETag"]}
    )
    assert unmodified.status == 304
    _, latest = await scanner.call("GET", path + "?latest=true")
    assert latest == {"debian/updater": [newest]}
    _, difference = await scanner.call(
        "GET", f"/matcher/api/v1/internal/update_diff?prev={oldest['ref']}&cur={newest['ref']}"
    )
    assert (len(difference["added"]), len(difference["removed"])) == (0, 5)
    await scanner.call("DELETE", f"{path}/{newest['ref']}")
    _, operations = await scanner.call("GET", path)
    assert operations == {"debian/updater": [oldest]}


async def test_affected_manifests_are_found(scanner, registry):
    manifest = debian_image(registry)
    await scanner.services.updating.import_file(json.dumps(TRACKER).encode())
    await scanner.index(manifest)
    _, report = await scanner.call(
        "GET", f"/matcher/api/v1/vulnerability_report/{manifest['hash']}"
    )
    asked = list(report["vulnerabilities"].values())
    _, affected = await scanner.call(
        "POST",
        "/indexer/api/v1/internal/affected_manifest/",
        document={"vulnerabilities": asked},
    )
    [ids] = affected["vulnerable_manifests"].values()
    names = [affected["vulnerabilities"][number]["name"] for number in ids]
    assert names == ["CVE-2023-0001", "CVE-2023-0003"]

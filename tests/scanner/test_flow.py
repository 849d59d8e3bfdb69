"""From layers in a registry to a vulnerability report, over HTTP."""

import asyncio
import json

import pytest
from tests.scanner.images import (
    ALPINE_RELEASE,
    DEBIAN_RELEASE,
    apk_installed,
    dpkg_status,
    layer,
)

pytestmark = pytest.mark.anyio

TRACKER = {
    "openssl": {
        "CVE-2023-0001": {
            "description": "A flaw.",
            "releases": {
                "bookworm": {
                    "status": "resolved",
                    "fixed_version": "3.0.11-1~deb12u2",
                    "urgency": "high",
                },
                "bullseye": {"status": "open", "urgency": "low"},
            },
        },
        "CVE-2023-0002": {
            "releases": {"bookworm": {"status": "resolved", "fixed_version": "0", "urgency": "low"}}
        },
        "CVE-2023-0003": {
            "releases": {"bookworm": {"status": "open", "urgency": "not yet assigned"}}
        },
        "CVE-2020-0004": {
            "releases": {
                "bookworm": {"status": "resolved", "fixed_version": "1.0-1", "urgency": "low"}
            }
        },
    },
    "zlib": {"CVE-2023-9": {"releases": {"bookworm": {"status": "open", "urgency": "medium"}}}},
}
SECDB = {
    "distroversion": "v3.18",
    "reponame": "main",
    "packages": [
        {
            "pkg": {
                "name": "busybox",
                "secfixes": {
                    "1.36.1-r6": ["CVE-2023-42366 XSA-1 (partial)"],
                    "1.30.0-r0": ["CVE-2019-5747"],
                    "0": ["CVE-2022-1"],
                },
            }
        }
    ],
}


def debian_image(registry):
    base = layer(
        {
            "etc/os-release": DEBIAN_RELEASE,
            "var/lib/dpkg/status": dpkg_status(("libc6", "2.36-9", "glibc")),
        }
    )
    top = layer(
        {
            "var/lib/dpkg/status": dpkg_status(
                ("libc6", "2.36-9", "glibc"), ("libssl3", "3.0.11-1~deb12u1", "openssl")
            )
        }
    )
    return registry.manifest(registry.url, base, top)


def vulnerabilities_by_package(report):
    return {
        report["packages"][package]["name"]: sorted(
            report["vulnerabilities"][number]["name"] for number in numbers
        )
        for package, numbers in report["package_vulnerabilities"].items()
    }


async def report_of(scanner, manifest):
    return await scanner.call("GET", f"/matcher/api/v1/vulnerability_report/{manifest['hash']}")


async def test_a_debian_image_is_indexed_and_matched(scanner, registry):
    await scanner.services.updating.import_file(json.dumps(TRACKER).encode())
    manifest = debian_image(registry)
    response, index = await scanner.index(manifest)
    assert (response.status, index["state"], index["success"]) == (201, "IndexFinished", True)
    by_name = {package["name"]: number for number, package in index["packages"].items()}
    assert set(by_name) == {"libc6", "libssl3"}
    base, top = (one["hash"] for one in manifest["layers"])
    [environment] = index["environments"][by_name["libssl3"]]
    assert environment["introduced_in"] == top
    assert environment["package_db"] == "var/lib/dpkg/status"
    assert index["environments"][by_name["libc6"]][0]["introduced_in"] == base
    assert index["distributions"][environment["distribution_id"]]["version_code_name"] == "bookworm"

    response, report = await report_of(scanner, manifest)
    assert response.status == 200
    assert vulnerabilities_by_package(report) == {"libssl3": ["CVE-2023-0001", "CVE-2023-0003"]}
    [fixed] = [v for v in report["vulnerabilities"].values() if v["name"] == "CVE-2023-0001"]
    assert fixed["fixed_in_version"] == "3.0.11-1~deb12u2"
    assert fixed["normalized_severity"] == "Critical"
    assert fixed["distribution"]["name"] == "Debian GNU/Linux"
    assert report["enrichments"] == {}


async def test_an_alpine_image_is_matched_by_origin(scanner, registry):
    await scanner.services.updating.import_file(json.dumps(SECDB).encode())
    content = apk_installed(("ssl_client", "1.36.1-r5", "busybox"), ("musl", "1.2.4-r2", "musl"))
    image = layer({"etc/os-release": ALPINE_RELEASE, "lib/apk/db/installed": content})
    manifest = registry.manifest(registry.url, image)
    await scanner.index(manifest)
    _, report = await report_of(scanner, manifest)
    assert vulnerabilities_by_package(report) == {"ssl_client": ["CVE-2023-42366", "XSA-1"]}


async def test_a_newer_update_replaces_an_older_one_of_its_updater(scanner, registry):
    manifest = debian_image(registry)
    await scanner.index(manifest)
    await scanner.services.updating.import_file(json.dumps(TRACKER).encode())
    corrected = {"openssl": {"CVE-2023-0003": TRACKER["openssl"]["CVE-2023-0003"]}}
    await scanner.services.updating.import_file(json.dumps(corrected).encode())
    _, report = await report_of(scanner, manifest)
    assert vulnerabilities_by_package(report) == {"libssl3": ["CVE-2023-0003"]}


async def test_a_report_is_202_without_advisories_and_404_without_an_index(scanner, registry):
    manifest = debian_image(registry)
    response, body = await report_of(scanner, manifest)
    assert (response.status, body) == (202, None)
    await scanner.services.updating.import_file(json.dumps(TRACKER).encode())
    response, body = await report_of(scanner, manifest)
    assert (response.status, body["code"]) == (404, "not-found")


async def test_a_layer_shared_by_images_is_fetched_once(scanner, registry):
    await scanner.index(debian_image(registry))
    before = list(registry.requests)
    base = next(iter(registry.blobs.values()))
    response, index = await scanner.index(registry.manifest(registry.url, base, name=b"other"))
    assert (response.status, index["state"]) == (201, "IndexFinished")
    assert registry.requests == before


async def test_many_requests_for_one_manifest_index_it_once(scanner, registry):
    manifest = debian_image(registry)
    answers = await asyncio.gather(*(scanner.index(manifest) for _ in range(8)))
    assert {response.status for response, _ in answers} == {201}
    assert sorted(registry.requests) == sorted(one["hash"] for one in manifest["layers"])


async def test_a_registry_that_stumbles_is_asked_again(scanner, registry):
    manifest = debian_image(registry)
    registry.failures = 1
    response, index = await scanner.index(manifest)
    assert (response.status, index["state"]) == (201, "IndexFinished")


async def test_a_refused_layer_is_an_index_error_that_can_be_tried_again(scanner, registry):
    manifest = debian_image(registry)
    good, registry.token = registry.token, "Bearer other"
    response, index = await scanner.index(manifest)
    assert (response.status, index["state"], index["success"]) == (201, "IndexError", False)
    assert "answered 401" in index["err"]
    registry.token = good
    response, index = await scanner.index(manifest)
    assert index["state"] == "IndexFinished"


async def test_bytes_with_another_digest_are_an_index_error(scanner, registry):
    manifest = debian_image(registry)
    registry.blobs[manifest["layers"][0]["hash"]] += b"\0"
    _, index = await scanner.index(manifest)
    assert index["state"] == "IndexError"
    assert "another digest" in index["err"]


async def test_a_layer_that_is_no_archive_is_a_bad_request(scanner, registry):
    manifest = registry.manifest(registry.url, b"not a tar archive" * 100)
    response, body = await scanner.index(manifest)
    assert (response.status, body["code"]) == (400, "bad-request")
    _, kept = await scanner.call("GET", f"/indexer/api/v1/index_report/{manifest['hash']}")
    assert kept["state"] == "IndexError"


async def test_a_zstd_layer_is_refused_by_name(scanner, registry):
    manifest = registry.manifest(registry.url, b"\x28\xb5\x2f\xfd" + bytes(100))
    _, index = await scanner.index(manifest)
    assert index["state"] == "IndexError"
    assert "zstd" in index["err"]

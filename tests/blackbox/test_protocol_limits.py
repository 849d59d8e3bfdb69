"""The limits of /v2 at their edges, with other values than the usual ones."""

import json

import pytest
from tests.blackbox.conftest import on_postgresql
from tests.blackbox.test_protocol import Client

from hatoba.kernel.digests import Digest
from hatoba.oci import media_types

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]
CAP = 5 << 20


@pytest.fixture(scope="module")
def limited(postgres_server, tmp_path_factory):
    directory = tmp_path_factory.mktemp("limited")
    limits = {
        "MAXIMUM_MANIFEST_SIZE": CAP,
        "MAXIMUM_RANGES_PER_REQUEST": 2,
        "MAXIMUM_LAYER_SIZE": "1M",
        "V2_PAGINATION_SIZE": 101,
    }
    with (
        postgres_server.database() as url,
        on_postgresql(directory, url, **limits) as running,
    ):
        yield running


@pytest.fixture
def client(limited, request):
    return Client(limited, f"admin/{request.node.originalname.replace('_', '-')[:60].strip('-')}")


def padded(content: bytes, size: int) -> bytes:
    document = {**json.loads(content), "x": ""}
    document["x"] = "p" * (size - len(json.dumps(document)))
    return json.dumps(document).encode()


@pytest.mark.parametrize(("size", "status"), [(CAP, 201), (CAP + 1, 413)])
def test_a_manifest_is_as_large_as_configured(client, size, status) -> None:
    content = padded(client.image("x"), size)
    answer = client.push("v1", content)
    assert answer.status == status
    if status == 201:
        assert client.call("GET", "/manifests/v1").body == content
    else:
        assert answer.code == "SIZE_INVALID"


@pytest.mark.parametrize(("size", "status"), [(1 << 20, 201), ((1 << 20) + 1, 413)])
def test_a_blob_is_as_large_as_configured(client, size, status) -> None:
    content = bytes(size)
    answer = client.call("POST", f"/blobs/uploads/?digest={Digest.of(content)}", body=content)
    assert answer.status == status
    assert (
        client.call("HEAD", f"/blobs/{Digest.of(content)}").status == {201: 200, 413: 404}[status]
    )


@pytest.mark.parametrize(("asked", "status"), [("0-0,2-2", 206), ("0-0,2-2,4-4", 416)])
def test_as_many_ranges_as_configured(client, asked, status) -> None:
    digest = client.push_blob(b"0123456789")
    assert client.call("GET", f"/blobs/{digest}", Range=f"bytes={asked}").status == status


def test_a_page_is_as_long_as_configured(client) -> None:
    content = client.image("x")
    for number in range(102):
        assert client.push(f"t{number:03}", content).status == 201
    for query in ("", "?n=101", "?n=102", "?n=100000", "?n=abc"):
        answer = client.call("GET", f"/tags/list{query}")
        assert len(answer.json["tags"]) == 101
        assert "n=101&last=t100" in answer.headers["link"]
    assert client.call("GET", "/tags/list?last=t100").json["tags"] == ["t101"]
    assert "link" not in client.call("GET", "/tags/list?last=t100").headers


def test_referrers_that_are_large_together_come_in_two_pages(client) -> None:
    subject = {"mediaType": media_types.OCI_MANIFEST, "digest": f"sha256:{'5' * 64}", "size": 1}
    for text in ("one", "two"):
        content = padded(client.image(text, subject=subject), 3 << 20)
        assert client.push(text, content).headers["oci-subject"] == subject["digest"]
    first = client.call("GET", f"/referrers/{subject['digest']}")
    assert len(first.json["manifests"]) == 1
    following = first.headers["link"].partition(f"/v2/{client.name}")[2].partition(">")[0]
    second = client.call("GET", following)
    assert len(second.json["manifests"]) == 1
    assert "link" not in second.headers
    assert first.json["manifests"] != second.json["manifests"]


@pytest.mark.parametrize("count", [100, 101])
def test_so_many_missing_blobs_are_named(client, count) -> None:
    document = json.loads(client.image("x"))
    layer = document["layers"][0]
    document["layers"] = [{**layer, "digest": f"sha256:{number:064}"} for number in range(count)]
    assert len(client.push("v1", json.dumps(document).encode()).json["errors"]) == 100

"""The protocol over plain HTTP: codes, headers and bodies of every endpoint."""

import gzip
import hashlib
import json
import re

import pytest

from hatoba.kernel.digests import Digest
from hatoba.oci import media_types

pytestmark = pytest.mark.timeout(120)

EMPTY_LIKE = {"Content-Type": "application/octet-stream"}


class Client:
    """Speaks /v2 to one repository."""

    def __init__(self, registry, name, *, scopes=None):
        self.registry, self.name = registry, name
        self.headers = registry.bearer(*(scopes or [f"repository:{name}:pull,push"]))

    def call(self, method, path, *, body=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.registry.call(
            method, f"/v2/{self.name}{path}", body=body, headers={**self.headers, **named}
        )

    def start(self) -> str:
        answer = self.call("POST", "/blobs/uploads/")
        assert answer.status == 202, answer.body
        return "/blobs/uploads/" + answer.headers["docker-upload-uuid"]

    def push_blob(self, content: bytes) -> str:
        digest = str(Digest.of(content))
        answer = self.call("POST", f"/blobs/uploads/?digest={digest}", body=content)
        assert answer.status == 201, answer.body
        return digest

    def image(self, text: str, **extra) -> bytes:
        config = json.dumps({"architecture": "amd64", "os": "linux", "text": text}).encode()
        layer = gzip.compress(text.encode(), mtime=0)
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": {
                "mediaType": media_types.OCI_CONFIG,
                "digest": self.push_blob(config),
                "size": len(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": self.push_blob(layer),
                    "size": len(layer),
                }
            ],
            **extra,
        }
        return json.dumps(manifest).encode()

    def push(self, reference, content, media_type=media_types.OCI_MANIFEST):
        return self.call("PUT", f"/manifests/{reference}", body=content, Content_Type=media_type)


@pytest.fixture
def client(registry, request):
    """A repository of the test's own."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.lower()).strip("-")[:60]
    return Client(registry, f"admin/{name}")


# ---- tokens


def test_end_1_demands_a_token(registry) -> None:
    answer = registry.call("GET", "/v2/")
    assert answer.status == 401
    assert answer.code == "UNAUTHORIZED"
    realm = f'Bearer realm="http://{registry.host}/v2/auth",service="{registry.host}"'
    assert answer.headers["www-authenticate"] == realm
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


def test_end_1_with_a_token(registry) -> None:
    assert registry.call("GET", "/v2/", headers=registry.bearer()).status == 200


@pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer a.b.c", "Basic YTpi", "Bearer "])
def test_a_bad_token_is_refused(registry, header) -> None:
    answer = registry.call("GET", "/v2/admin/x/tags/list", headers={"Authorization": header})
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert 'scope="repository:admin/x:pull"' in answer.headers["www-authenticate"]


def test_a_token_of_another_repository_is_refused(registry) -> None:
    client = Client(registry, "admin/other", scopes=["repository:admin/mine:pull,push"])
    answer = client.call("POST", "/blobs/uploads/")
    assert answer.status == 401
    assert 'scope="repository:admin/other:pull,push"' in answer.headers["www-authenticate"]


def test_a_tampered_token_is_refused(registry) -> None:
    header = registry.bearer("repository:admin/x:pull")["Authorization"]
    head, payload, signature = header.split(".")
    flipped = ("A" if signature[10] != "A" else "B") + signature[11:]
    forged = f"{head}.{payload}.{signature[:10]}{flipped}"
    assert registry.call("GET", "/v2/", headers={"Authorization": forged}).status == 401


def test_anonymous_sees_nothing_private(client, registry) -> None:
    client.push("v1", client.image("private"))
    headers = registry.bearer(f"repository:{client.name}:pull", user=None)
    answer = registry.call("GET", f"/v2/{client.name}/manifests/v1", headers=headers)
    assert answer.status == 401


# ---- blobs


def test_end_2_a_blob_comes_back(client) -> None:
    content = bytes(range(256)) * 9000
    digest = client.push_blob(content)
    answer = client.call("GET", f"/blobs/{digest}")
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["docker-content-digest"] == digest
    assert answer.headers["accept-ranges"] == "bytes"
    head = client.call("HEAD", f"/blobs/{digest}")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(content))


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=90-", 206, 90, 100),
        ("bytes=-5", 206, 95, 100),
        ("bytes=-500", 206, 0, 100),
        ("bytes=50-5000", 206, 50, 100),
        ("lines=1-2", 200, 0, 100),
        ("bytes=5-2", 200, 0, 100),
    ],
)
def test_ranges_of_a_blob(client, asked, status, start, end) -> None:
    content = hashlib.sha512(b"x").digest() + bytes(36)
    digest = client.push_blob(content)
    answer = client.call("GET", f"/blobs/{digest}", Range=asked)
    assert (answer.status, answer.body) == (status, content[start:end])
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/100"


def test_a_range_outside_the_blob(client) -> None:
    digest = client.push_blob(b"0123456789")
    answer = client.call("GET", f"/blobs/{digest}", Range="bytes=10-")
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */10")


def test_an_unchanged_blob_is_not_sent_again(client) -> None:
    digest = client.push_blob(b"etag")
    etag = client.call("HEAD", f"/blobs/{digest}").headers["etag"]
    answer = client.call("GET", f"/blobs/{digest}", If_None_Match=etag)
    assert (answer.status, answer.body) == (304, b"")


def test_unknown_and_malformed_digests(client) -> None:
    client.push_blob(b"makes the repository")
    unknown = client.call("GET", f"/blobs/sha256:{'0' * 64}")
    assert (unknown.status, unknown.code) == (404, "BLOB_UNKNOWN")
    malformed = client.call("GET", "/blobs/sha256:zz")
    assert (malformed.status, malformed.code) == (400, "DIGEST_INVALID")


def test_a_blob_of_another_repository_is_unknown(client, registry) -> None:
    digest = client.push_blob(b"of one repository")
    other = Client(registry, f"{client.name}-2")
    other.push_blob(b"of the other")
    assert other.call("GET", f"/blobs/{digest}").status == 404


# ---- uploads


def test_chunks_become_a_blob(client) -> None:
    content = bytes(range(256)) * 40_000
    upload, size = client.start(), 3_000_001
    for start in range(0, len(content), size):
        part = content[start : start + size]
        span = f"{start}-{start + len(part) - 1}"
        answer = client.call("PATCH", upload, body=part, Content_Range=span, **EMPTY_LIKE)
        assert (answer.status, answer.headers["range"]) == (202, f"0-{start + len(part) - 1}")
    digest = str(Digest.of(content))
    assert client.call("PUT", f"{upload}?digest={digest}").status == 201
    assert client.call("GET", f"/blobs/{digest}").body == content


def test_a_last_chunk_comes_with_the_put(client) -> None:
    upload = client.start()
    assert client.call("PATCH", upload, body=b"first ").status == 202
    digest = str(Digest.of(b"first second"))
    assert client.call("PUT", f"{upload}?digest={digest}", body=b"second").status == 201
    assert client.call("GET", f"/blobs/{digest}").body == b"first second"


@pytest.mark.parametrize("span", ["7-9", "0-4", "4-9"])
def test_a_chunk_out_of_order_is_refused(client, span) -> None:
    upload = client.start()
    client.call("PATCH", upload, body=b"hello", Content_Range="0-4")
    answer = client.call("PATCH", upload, body=b"x" * 5, Content_Range=span)
    assert (answer.status, answer.headers["range"]) == (416, "0-4")
    status = client.call("GET", upload)
    assert (status.status, status.headers["range"]) == (204, "0-4")


def test_a_malformed_content_range(client) -> None:
    answer = client.call("PATCH", client.start(), body=b"x", Content_Range="garbage")
    assert (answer.status, answer.code) == (400, "BLOB_UPLOAD_INVALID")


def test_a_chunk_shorter_than_its_range_is_refused(client) -> None:
    upload = client.start()
    answer = client.call("PATCH", upload, body=b"abc", Content_Range="0-9")
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")
    assert client.call("PATCH", upload, body=b"abc", Content_Range="0-2").status == 202


def test_a_wrong_digest_stores_nothing_and_ends_the_upload(client) -> None:
    upload = client.start()
    wrong = str(Digest.of(b"something else"))
    answer = client.call("PUT", f"{upload}?digest={wrong}", body=b"content")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert client.call("HEAD", f"/blobs/{wrong}").status == 404
    ended = client.call("GET", upload)
    assert (ended.status, ended.code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_put_without_a_digest(client) -> None:
    answer = client.call("PUT", client.start())
    assert (answer.status, answer.code) == (400, "BLOB_UPLOAD_INVALID")
    reason = answer.json["errors"][0]["detail"]["message"]
    assert reason == "Missing digest arg on monolithic upload"


def test_sha512(client) -> None:
    content = b"long digest" * 1000
    digest = str(Digest.of(content, "sha512"))
    upload = client.start()
    client.call("PATCH", upload, body=content[:5000])
    assert client.call("PUT", f"{upload}?digest={digest}", body=content[5000:]).status == 201
    assert client.call("GET", f"/blobs/{digest}").body == content


def test_a_cancelled_upload_is_gone(client) -> None:
    upload = client.start()
    assert client.call("DELETE", upload).status == 204
    assert client.call("DELETE", upload).status == 404
    assert client.call("PATCH", upload, body=b"x").code == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_belongs_to_its_repository(client, registry) -> None:
    upload = client.start()
    other = Client(registry, f"{client.name}-2")
    assert other.call("PATCH", upload, body=b"x").status == 404


def test_mount(client, registry) -> None:
    digest = client.push_blob(b"mounted")
    name = f"{client.name}-2"
    both = [f"repository:{name}:pull,push", f"repository:{client.name}:pull"]
    other = Client(registry, name, scopes=both)
    mounting = f"/blobs/uploads/?mount={digest}&from={client.name}"
    answer = other.call("POST", mounting)
    assert (answer.status, answer.headers["docker-content-digest"]) == (201, digest)
    assert other.call("GET", f"/blobs/{digest}").body == b"mounted"


def test_mount_falls_back_to_an_upload(client, registry) -> None:
    digest = client.push_blob(b"not for everybody")
    without_pull = Client(registry, f"{client.name}-2")
    for source, blob in ((client.name, digest), ("admin/nothing", digest), ("", digest)):
        path = f"/blobs/uploads/?mount={blob}&from={source}"
        assert without_pull.call("POST", path).status == 202


# ---- manifests


def test_end_3_a_manifest_comes_back(client) -> None:
    content = client.image("one")
    pushed = client.push("v1", content)
    digest = str(Digest.of(content))
    assert (pushed.status, pushed.body) == (201, b"OK")
    assert pushed.headers["docker-content-digest"] == digest
    assert pushed.headers["location"] == f"/v2/{client.name}/manifests/{digest}"
    for reference in ("v1", digest):
        answer = client.call("GET", f"/manifests/{reference}")
        assert (answer.status, answer.body) == (200, content)
        assert answer.headers["content-type"] == media_types.OCI_MANIFEST
        assert answer.headers["docker-content-digest"] == digest
        head = client.call("HEAD", f"/manifests/{reference}")
        assert (head.status, head.headers["content-length"]) == (200, str(len(content)))


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        (b"{", media_types.OCI_MANIFEST, 400, "MANIFEST_INVALID"),
        (b"{}", media_types.OCI_MANIFEST, 400, "MANIFEST_INVALID"),
        (b"", media_types.DOCKER_MANIFEST, 400, "MANIFEST_INVALID"),
        (b"{}", "application/x-foo", 415, "MANIFEST_INVALID"),
        (b"{}", media_types.DOCKER_SCHEMA1_SIGNED, 415, "MANIFEST_INVALID"),
        (b"x" * ((4 << 20) + 1), media_types.OCI_MANIFEST, 413, "SIZE_INVALID"),
    ],
)
def test_end_7_bad_manifests(client, body, media_type, status, code) -> None:
    client.push_blob(b"makes the repository")
    answer = client.push("bad", body, media_type)
    assert (answer.status, answer.code) == (status, code)
    assert client.call("GET", "/manifests/bad").status == 404


def test_end_7_unknown_blob(client) -> None:
    document = json.loads(client.image("x"))
    missing = document["layers"][0]["digest"] = f"sha256:{'1' * 64}"
    answer = client.push("v1", json.dumps(document).encode())
    assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert answer.json["errors"][0]["detail"] == {"digest": missing}


def test_a_manifest_pushed_under_another_digest(client) -> None:
    answer = client.push(f"sha256:{'3' * 64}", client.image("x"))
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize(
    ("reference", "code"),
    [("-bad", "MANIFEST_INVALID"), ("a" * 129, "MANIFEST_INVALID"), ("x:y", "DIGEST_INVALID")],
)
def test_malformed_references(client, reference, code) -> None:
    answer = client.push(reference, client.image("x"))
    assert (answer.status, answer.code) == (400, code)


def test_unknown_names(client, registry) -> None:
    client.push_blob(b"makes the repository")
    missing = client.call("GET", "/manifests/nothing")
    assert (missing.status, missing.code) == (404, "MANIFEST_UNKNOWN")
    nowhere = Client(registry, "admin/nowhere", scopes=["repository:admin/nowhere:pull"])
    answer = nowhere.call("GET", "/manifests/v1")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


def test_end_9_deleting_a_tag(client) -> None:
    content = client.image("x")
    client.push("v1", content)
    client.push("v2", content)
    assert client.call("DELETE", "/manifests/v1").status == 202
    gone = client.call("GET", "/manifests/v1")
    assert (gone.status, gone.code) == (404, "MANIFEST_UNKNOWN")
    assert gone.json["errors"][0]["detail"] == {"reason": "TAG_EXPIRED"}
    assert client.call("GET", "/manifests/v2").status == 200
    assert client.call("DELETE", "/manifests/v1").code == "MANIFEST_UNKNOWN"


def test_end_9_deleting_a_digest(client) -> None:
    content = client.image("x")
    client.push("v1", content)
    digest = str(Digest.of(content))
    assert client.call("GET", f"/manifests/{digest}").status == 200
    assert client.call("DELETE", f"/manifests/{digest}").status == 202
    for _ in range(8):  # whichever worker answers
        answer = client.call("GET", f"/manifests/{digest}")
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
    assert client.call("GET", "/manifests/v1").status == 404


def test_a_deleted_tag_can_be_pushed_again(client) -> None:
    content = client.image("x")
    for _ in range(3):
        assert client.push("v1", content).status == 201
        assert client.call("GET", "/manifests/v1").status == 200
        assert client.call("DELETE", "/manifests/v1").status == 202


def test_an_index_needs_its_children(client) -> None:
    child = client.image("child")
    described = {
        "mediaType": media_types.OCI_MANIFEST,
        "digest": str(Digest.of(child)),
        "size": len(child),
    }
    index = json.dumps({"schemaVersion": 2, "manifests": [described]}).encode()
    assert client.push("multi", index, media_types.OCI_INDEX).code == "MANIFEST_BLOB_UNKNOWN"
    assert client.push(described["digest"], child).status == 201
    assert client.push("multi", index, media_types.OCI_INDEX).status == 201
    assert client.call("GET", "/manifests/multi").body == index


# ---- lists


def test_end_8_tags_page_by_page(client) -> None:
    content = client.image("x")
    names = sorted(f"t{number:02}" for number in range(7))
    for name in reversed(names):
        client.push(name, content)
    seen, path = [], "/tags/list?n=3"
    while path:
        answer = client.call("GET", path)
        assert answer.json["name"] == client.name
        seen += answer.json["tags"]
        link = answer.headers.get("link", "")
        path = link[len(f"</v2/{client.name}") : link.index(">")] if link else ""
    assert seen == names
    assert client.call("GET", "/tags/list?n=0").json["tags"] == []
    assert client.call("GET", "/tags/list?last=t04").json["tags"] == ["t05", "t06"]


def test_end_12_referrers(client) -> None:
    subject = client.image("subject")
    client.push("v1", subject)
    described = {
        "mediaType": media_types.OCI_MANIFEST,
        "digest": str(Digest.of(subject)),
        "size": len(subject),
    }
    path = f"/referrers/{described['digest']}"
    empty = client.call("GET", path)
    assert (empty.status, empty.json["manifests"]) == (200, [])
    signature = client.image(
        "signature",
        subject=described,
        artifactType="application/signature",
        annotations={"who": "me"},
    )
    pushed = client.push(str(Digest.of(signature)), signature)
    assert pushed.headers["oci-subject"] == described["digest"]
    client.push("sbom", client.image("sbom", subject=described, artifactType="application/sbom"))
    answer = client.call("GET", path)
    assert answer.headers["content-type"] == media_types.OCI_INDEX
    found = {one["artifactType"]: one for one in answer.json["manifests"]}
    assert set(found) == {"application/signature", "application/sbom"}
    assert found["application/signature"]["annotations"] == {"who": "me"}
    filtered = client.call("GET", f"{path}?artifactType=application/sbom")
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    assert len(filtered.json["manifests"]) == 1
    assert client.call("DELETE", f"/manifests/{Digest.of(signature)}").status == 202
    assert len(client.call("GET", path).json["manifests"]) == 1


def test_the_catalog_lists_what_one_may_see(client, registry) -> None:
    client.push("v1", client.image("x"))
    names = registry.call("GET", "/v2/_catalog", headers=registry.bearer()).json["repositories"]
    assert client.name in names
    assert names == sorted(names)
    first = registry.call("GET", "/v2/_catalog?n=1", headers=registry.bearer())
    assert first.json["repositories"] == names[:1]
    following = first.headers["link"].partition("<")[2].partition(">")[0]
    second = registry.call("GET", following, headers=registry.bearer())
    assert second.json["repositories"] == names[1:2]
    assert registry.call("GET", "/v2/_catalog").json == {"repositories": []}


# ---- everything else


def test_unknown_paths_and_methods(client, registry) -> None:
    headers = registry.bearer()
    assert registry.call("GET", "/v2/zzz", headers=headers).status == 404
    assert registry.call("POST", "/v2/", headers=headers).status == 405
    answer = client.call("GET", "/blobs/uploads/")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.headers["allow"] == "POST"


def test_slashes_in_names(registry) -> None:
    client = Client(registry, "admin/a/manifests/deep/tags")
    assert client.push("list", client.image("x")).status == 201
    assert client.call("GET", "/tags/list").json["tags"] == ["list"]


def test_health(registry) -> None:
    for path in ("/health/instance", "/health/endtoend"):
        answer = registry.call("GET", path)
        assert answer.status == 200
        assert all(answer.json["data"]["services"].values())


@pytest.mark.parametrize(
    "path",
    [
        "/v2/admin/x%0d%0aEvil:%20yes/tags/list",
        '/v2/admin/x"/tags/list',
        "/v2/admin/%00/tags/list",
        "/v2/admin/x/manifests/%00",
        "/v2/admin/x/blobs/sha256:%00",
        "/v2/admin/x/blobs/uploads/%00",
        "/v2/admin/x/blobs/uploads/..%2f..%2fetc",
        "/v2/admin/x/tags/list?n=" + "9" * 5000,
        "/v2/admin/x/tags/list?last=%00",
        "/v2/admin/x/referrers/sha256:" + "0" * 64 + "?artifactType=%00",
        "/v2/_catalog?last=%00&n=%D9%A3",
        "/v2/%ff%fe/manifests/x",
        "/v2/../v2/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_hostile_paths_get_a_refusal(registry, path, method) -> None:
    push = registry.bearer("repository:admin/x:pull,push")
    for headers in ({}, {**push, "X-Forwarded-For": "x" * 500, "Range": "bytes=" + "9" * 5000}):
        answer = registry.call(method, path, headers=headers)
        assert 200 <= answer.status < 500
        assert "evil" not in answer.headers


def test_a_foreign_layer_of_absurd_size_is_refused(client) -> None:
    document = json.loads(client.image("x"))
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": f"sha256:{'5' * 64}",
        "size": 1 << 62,
    }
    document["layers"] += [foreign, foreign]
    assert client.push("v1", json.dumps(document).encode()).code == "MANIFEST_INVALID"


def test_an_audited_address_is_an_address(client) -> None:
    client.push("v1", client.image("x"))
    answer = client.call("GET", "/manifests/v1", X_Forwarded_For="y" * 1000)
    assert answer.status == 200
    assert client.call("DELETE", "/manifests/v1", X_Forwarded_For="y" * 1000).status == 202

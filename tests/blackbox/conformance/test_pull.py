"""Spec: distribution-spec 1.1 "Pull": end-1, end-2, end-3."""

import json

import pytest
from tests.blackbox.conformance.target import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    IMAGE,
    INDEX,
    UNKNOWN,
    index,
)

from hatoba.kernel.digests import Digest

pytestmark = pytest.mark.timeout(120)
CONTENT = bytes(range(256)) * 300


def test_end_1_must_answer_200_or_ask_for_credentials(target) -> None:
    bare = target.call("GET", "/v2/")
    assert bare.status in {200, 401}
    if bare.status == 401:
        assert "www-authenticate" in bare.headers
        assert bare.codes == ["UNAUTHORIZED"]
    assert target.call("GET", "/v2/", headers=target.headers_for("admin/x")).status == 200


def test_end_2_must_answer_200_with_the_bytes(repository) -> None:
    digest = repository.push_blob(CONTENT)
    answer = repository.call("GET", f"/blobs/{digest}")
    assert (answer.status, answer.body) == (200, CONTENT)


def test_end_2_should_tell_the_digest(repository) -> None:
    digest = repository.push_blob(CONTENT)
    for method in ("GET", "HEAD"):
        answer = repository.call(method, f"/blobs/{digest}")
        assert answer.headers["docker-content-digest"] == digest


def test_end_2_head_must_tell_the_size_and_send_nothing(repository) -> None:
    digest = repository.push_blob(CONTENT)
    answer = repository.call("HEAD", f"/blobs/{digest}")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(CONTENT))


def test_end_2_must_answer_404_for_an_unknown_blob(repository) -> None:
    answer = repository.call("GET", f"/blobs/{UNKNOWN}")
    assert (answer.status, answer.codes) == (404, ["BLOB_UNKNOWN"])
    assert repository.call("HEAD", f"/blobs/{UNKNOWN}").status == 404


def test_end_2_must_answer_404_for_a_blob_of_another_repository(repository, other) -> None:
    digest = repository.push_blob(CONTENT)
    other.push_blob(b"makes the repository")
    assert other.call("GET", f"/blobs/{digest}").status == 404


@pytest.mark.parametrize("digest", ["sha256:xyz", "sha256:", f"sha256:{'A' * 64}", "md5:abc"])
def test_end_2_must_refuse_a_malformed_digest(repository, digest) -> None:
    assert repository.call("GET", f"/blobs/{digest}").status in {400, 404}


def test_end_2_a_zero_byte_blob(repository) -> None:
    digest = repository.push_blob(b"")
    answer = repository.call("GET", f"/blobs/{digest}")
    assert (answer.status, answer.body) == (200, b"")
    assert repository.call("HEAD", f"/blobs/{digest}").headers["content-length"] == "0"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("0-0", 0, 1), ("100-199", 100, 200), ("76790-", 76790, 76800), ("-7", 76793, 76800)],
)
def test_end_2_should_honour_a_range(repository, asked, start, end) -> None:
    digest = repository.push_blob(CONTENT)
    answer = repository.call("GET", f"/blobs/{digest}", Range=f"bytes={asked}")
    assert (answer.status, answer.body) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"


def test_end_2_should_answer_416_for_a_range_outside(repository) -> None:
    digest = repository.push_blob(b"short")
    answer = repository.call("GET", f"/blobs/{digest}", Range="bytes=5-")
    assert answer.status == 416
    assert answer.headers["content-range"] == "bytes */5"


def test_end_2_may_answer_several_ranges(repository) -> None:
    digest = repository.push_blob(CONTENT)
    answer = repository.call("GET", f"/blobs/{digest}", Range="bytes=0-1,10-11")
    assert answer.status == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges; boundary=")


def test_end_2_should_answer_304_for_what_the_client_has(repository) -> None:
    digest = repository.push_blob(CONTENT)
    etag = repository.call("HEAD", f"/blobs/{digest}").headers["etag"]
    assert repository.call("GET", f"/blobs/{digest}", If_None_Match=etag).status == 304


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_end_3_must_answer_200_with_the_bytes_that_were_pushed(repository, by) -> None:
    content = repository.image("as it was", annotations={"z": "1", "a": "ü"})
    spaced = json.dumps(json.loads(content), indent=5, ensure_ascii=False).encode()
    assert repository.push("v1", spaced).status == 201
    digest = str(Digest.of(spaced))
    answer = repository.pull("v1" if by == "tag" else digest)
    assert (answer.status, answer.body) == (200, spaced)
    assert answer.headers["content-type"] == IMAGE
    assert answer.headers["docker-content-digest"] == digest


def test_end_3_head_must_tell_size_and_digest_and_send_nothing(repository) -> None:
    content = repository.image()
    repository.push("v1", content)
    digest = str(Digest.of(content))
    for reference in ("v1", digest):
        answer = repository.call("HEAD", f"/manifests/{reference}", Accept=IMAGE)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["docker-content-digest"] == digest
        assert answer.headers["content-type"] == IMAGE


@pytest.mark.parametrize("reference", ["nothing", UNKNOWN, ".INVALID_MANIFEST_NAME", "t" * 129])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_end_3_must_answer_404_for_an_unknown_manifest(repository, method, reference) -> None:
    answer = repository.call(method, f"/manifests/{reference}", Accept=IMAGE)
    assert answer.status == 404


def test_end_3_must_answer_code_7_for_an_unknown_manifest(repository) -> None:
    for reference in ("nothing", UNKNOWN):
        assert repository.pull(reference).codes == ["MANIFEST_UNKNOWN"]


def test_end_3_must_answer_404_in_a_repository_that_does_not_exist(target) -> None:
    made = target.repository("one-that-may-be", "nothing-here")
    for path in ("manifests/v1", f"manifests/{UNKNOWN}", f"blobs/{UNKNOWN}"):
        answer = made.call("GET", f"/v2/{target.prefix}nothing-here/{path}")
        assert answer.status == 404
        assert set(answer.codes) <= {"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"}


@pytest.mark.parametrize("media_type", [IMAGE, DOCKER_IMAGE])
def test_end_3_accepts_both_types_of_images(repository, media_type) -> None:
    content = repository.image(media_type=media_type)
    assert repository.push("v1", content, media_type).status == 201
    answer = repository.pull("v1", accept=media_type)
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["content-type"] == media_type


@pytest.mark.parametrize(("list_type", "child_type"), [(INDEX, IMAGE), (DOCKER_LIST, DOCKER_IMAGE)])
def test_end_3_an_index_is_pulled_as_such(repository, list_type, child_type) -> None:
    child = repository.push_by_digest(repository.image(media_type=child_type), child_type)
    platform = {"architecture": "amd64", "os": "linux"}
    content = index({**child, "platform": platform}, media_type=list_type)
    assert repository.push("multi", content, list_type).status == 201
    answer = repository.pull("multi", accept=f"{child_type}, {list_type}")
    assert (answer.body, answer.headers["content-type"]) == (content, list_type)
    assert repository.pull(child["digest"], accept=child_type).status == 200


def test_end_3_should_answer_304_for_what_the_client_has(repository) -> None:
    content = repository.image()
    repository.push("v1", content)
    etag = repository.pull("v1").headers["etag"]
    answer = repository.call("GET", "/manifests/v1", Accept=IMAGE, If_None_Match=etag)
    assert (answer.status, answer.body) == (304, b"")


@pytest.mark.parametrize("path", ["/manifests/v1", "/blobs/{}", "/tags/list"])
def test_pulls_ignore_the_ns_parameter_of_proxies(repository, path) -> None:
    repository.push("v1", repository.image())
    digest = repository.push_blob(b"layer")
    answer = repository.call("GET", path.format(digest) + "?ns=docker.io", Accept=IMAGE)
    assert answer.status == 200

"""Spec: distribution-spec 1.1 "Content Management": end-9, end-10."""

import pytest
from tests.blackbox.conformance.target import IMAGE, INDEX, UNKNOWN, index

from hatoba.kernel.digests import Digest

pytestmark = pytest.mark.timeout(120)


def test_end_9_must_answer_202_for_a_tag_which_is_gone(repository) -> None:
    content = repository.image()
    for tag in ("v1", "v2"):
        repository.push(tag, content)
    assert repository.call("DELETE", "/manifests/v1").status == 202
    assert repository.pull("v1").status == 404
    assert repository.pull("v2").status == 200
    assert repository.call("GET", "/tags/list").json["tags"] == ["v2"]


def test_end_9_must_answer_202_for_a_digest_which_is_gone_with_its_tags(repository) -> None:
    content = repository.image()
    for tag in ("v1", "v2"):
        repository.push(tag, content)
    digest = Digest.of(content)
    assert repository.call("DELETE", f"/manifests/{digest}").status == 202
    for reference in (digest, "v1", "v2"):
        assert repository.pull(reference).status == 404


def test_end_9_must_answer_404_for_what_is_not_there(repository) -> None:
    for reference in (UNKNOWN, "nothing"):
        answer = repository.call("DELETE", f"/manifests/{reference}")
        assert (answer.status, answer.codes) == (404, ["MANIFEST_UNKNOWN"])


def test_end_9_must_answer_404_the_second_time(repository) -> None:
    content = repository.image()
    repository.push("v1", content)
    for status in (202, 404):
        assert repository.call("DELETE", f"/manifests/{Digest.of(content)}").status == status


def test_end_9_what_was_deleted_can_be_pushed_again(repository) -> None:
    content = repository.image()
    for _ in range(2):
        assert repository.push("v1", content).status == 201
        assert repository.pull("v1").body == content
        assert repository.call("DELETE", f"/manifests/{Digest.of(content)}").status == 202


def test_end_9_an_index_can_be_deleted_and_then_its_manifests(repository) -> None:
    child = repository.push_by_digest(repository.image())
    content = index(child)
    repository.push("multi", content, INDEX)
    assert repository.call("DELETE", f"/manifests/{Digest.of(content)}").status == 202
    assert repository.pull("multi").status == 404
    assert repository.call("DELETE", f"/manifests/{child['digest']}").status == 202
    assert repository.pull(child["digest"]).status == 404


def test_end_9_a_manifest_that_an_index_needs(repository) -> None:
    """It goes, and is gone, or stays, and is said to stay."""
    child = repository.push_by_digest(repository.image())
    repository.push("multi", index(child), INDEX)
    deleted = repository.call("DELETE", f"/manifests/{child['digest']}").status
    assert (deleted, repository.pull(child["digest"]).status) in {(202, 404), (405, 200)}


def test_end_10_must_answer_202_for_a_blob_which_is_gone(repository) -> None:
    digest = repository.push_blob(b"pushed by mistake")
    assert repository.call("DELETE", f"/blobs/{digest}").status == 202
    answer = repository.call("GET", f"/blobs/{digest}")
    assert (answer.status, answer.codes) == (404, ["BLOB_UNKNOWN"])


def test_end_10_must_answer_404_for_what_is_not_there(repository) -> None:
    answer = repository.call("DELETE", f"/blobs/{UNKNOWN}")
    assert (answer.status, answer.codes) == (404, ["BLOB_UNKNOWN"])


def test_end_10_a_deleted_blob_can_be_pushed_again(repository) -> None:
    for _ in range(2):
        digest = repository.push_blob(b"comes and goes")
        assert repository.call("GET", f"/blobs/{digest}").body == b"comes and goes"
        assert repository.call("DELETE", f"/blobs/{digest}").status == 202


def test_end_10_a_deleted_blob_stays_where_else_it_is(repository, other) -> None:
    digest = repository.push_blob(b"shared")
    mounted = other.call("POST", f"/blobs/uploads/?mount={digest}&from={repository.name}")
    assert mounted.status == 201
    assert repository.call("DELETE", f"/blobs/{digest}").status == 202
    assert other.call("GET", f"/blobs/{digest}").body == b"shared"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/manifests/v1"),
        ("PATCH", "/manifests/v1"),
        ("PUT", f"/blobs/{UNKNOWN}"),
        ("POST", "/tags/list"),
        ("DELETE", "/tags/list"),
        ("GET", "/blobs/uploads/"),
    ],
)
def test_other_methods_must_be_refused(repository, method, path) -> None:
    answer = repository.call(method, path, Content_Type=IMAGE)
    assert answer.status in {404, 405}
    if answer.body and "json" in answer.headers.get("content-type", ""):
        assert answer.codes[0] in {"UNSUPPORTED", "BLOB_UPLOAD_UNKNOWN"}

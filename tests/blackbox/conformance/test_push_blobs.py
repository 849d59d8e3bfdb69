"""Spec: distribution-spec 1.1 "Push", blobs: end-4 to end-6, end-11, end-13, end-14."""

import pytest
from tests.blackbox.conformance.target import OCTETS, UNKNOWN

from hatoba.kernel.digests import Digest

pytestmark = pytest.mark.timeout(120)
CONTENT = b"content of a blob, in three chunks"
DIGEST = str(Digest.of(CONTENT))


def patch(repository, location, content, *, start=None):
    headers = {"Content_Type": OCTETS}
    if start is not None:
        headers["Content_Range"] = f"{start}-{start + len(content) - 1}"
    return repository.call("PATCH", location, body=content, **headers)


def test_end_4a_must_answer_202_with_a_location(repository) -> None:
    answer = repository.call("POST", "/blobs/uploads/", Content_Length="0")
    assert answer.status == 202
    assert answer.location


def test_end_4b_must_answer_201_or_202(repository) -> None:
    answer = repository.call(
        "POST", f"/blobs/uploads/?digest={DIGEST}", body=CONTENT, Content_Type=OCTETS
    )
    assert answer.status in {201, 202}
    if answer.status == 202:
        answer = repository.finish(answer.location, DIGEST, body=CONTENT)
        assert answer.status == 201
    assert repository.call("GET", answer.location).body == CONTENT


def test_end_4b_may_take_the_blob_at_once(repository) -> None:
    answer = repository.call(
        "POST", f"/blobs/uploads/?digest={DIGEST}", body=CONTENT, Content_Type=OCTETS
    )
    assert answer.status == 201


def test_end_6_must_answer_201_with_a_pullable_location(repository) -> None:
    answer = repository.finish(repository.start(), DIGEST, body=CONTENT)
    assert answer.status == 201
    assert repository.call("GET", answer.location).body == CONTENT


def test_end_6_may_be_repeated_for_a_blob_that_is_there(repository) -> None:
    for _ in range(2):
        assert repository.push_blob(CONTENT) == DIGEST


@pytest.mark.parametrize("digest", [UNKNOWN, f"sha512:{'0' * 128}"])
def test_end_6_must_refuse_content_with_another_digest(repository, digest) -> None:
    answer = repository.finish(repository.start(), digest, body=CONTENT)
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert repository.call("HEAD", f"/blobs/{digest}").status == 404


@pytest.mark.parametrize("digest", ["sha256:short", "nonsense", ""])
def test_end_6_must_refuse_a_malformed_digest(repository, digest) -> None:
    answer = repository.finish(repository.start(), digest, body=CONTENT)
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_end_6_must_refuse_to_close_without_a_digest(repository) -> None:
    answer = repository.call("PUT", repository.start(), body=CONTENT, Content_Type=OCTETS)
    assert answer.status == 400


def test_end_6_sha512_may_be_used(repository) -> None:
    digest = repository.push_blob(CONTENT, "sha512")
    assert repository.call("GET", f"/blobs/{digest}").body == CONTENT
    head = repository.call("HEAD", f"/blobs/{digest}")
    assert head.headers["docker-content-digest"] == digest


def test_end_5_must_answer_202_with_range_and_location(repository) -> None:
    location = repository.start()
    for start in range(0, len(CONTENT), 12):
        chunk = CONTENT[start : start + 12]
        answer = patch(repository, location, chunk, start=start)
        assert answer.status == 202
        assert answer.headers["range"] == f"0-{start + len(chunk) - 1}"
        location = answer.location
    answer = repository.finish(location, DIGEST)
    assert answer.status == 201
    assert repository.call("GET", answer.location).body == CONTENT


def test_end_5_streams_without_a_range(repository) -> None:
    """As docker does: one PATCH of unknown length."""
    location = repository.start()
    answer = repository.call("PATCH", location, body=iter([CONTENT[:9], CONTENT[9:]]))
    assert answer.status == 202
    assert repository.finish(answer.location, DIGEST).status == 201


def test_end_6_may_bring_the_last_chunk(repository) -> None:
    location = patch(repository, repository.start(), CONTENT[:20], start=0).location
    span = f"20-{len(CONTENT) - 1}"
    answer = repository.finish(location, DIGEST, body=CONTENT[20:], Content_Range=span)
    assert answer.status == 201
    assert repository.call("GET", answer.location).body == CONTENT


@pytest.mark.parametrize("start", [7, 0, 3], ids=["gap", "again", "overlap"])
def test_end_5_must_answer_416_out_of_order(repository, start) -> None:
    location = patch(repository, repository.start(), CONTENT[:5], start=0).location
    assert patch(repository, location, CONTENT[5:10], start=start).status == 416


def test_end_5_must_answer_416_where_the_first_chunk_does_not_begin(repository) -> None:
    assert patch(repository, repository.start(), CONTENT[5:10], start=5).status == 416


def test_end_6_must_answer_416_out_of_order(repository) -> None:
    location = patch(repository, repository.start(), CONTENT[:5], start=0).location
    answer = repository.finish(location, DIGEST, body=CONTENT[7:], Content_Range="7-33")
    assert answer.status == 416


def test_end_13_after_416_the_upload_goes_on(repository) -> None:
    location = patch(repository, repository.start(), CONTENT[:5], start=0).location
    patch(repository, location, CONTENT[9:], start=9)
    status = repository.call("GET", location)
    assert (status.status, status.headers["range"]) == (204, "0-4")
    answer = patch(repository, status.location, CONTENT[5:], start=5)
    assert answer.status == 202
    assert repository.finish(answer.location, DIGEST).status == 201


def test_end_5_must_refuse_a_length_that_contradicts_the_range(repository) -> None:
    location = repository.start()
    answer = repository.call(
        "PATCH", location, body=CONTENT[:5], Content_Range="0-9", Content_Type=OCTETS
    )
    assert (answer.status, answer.codes) == (400, ["SIZE_INVALID"])
    assert patch(repository, location, CONTENT[:5], start=0).status == 202


@pytest.mark.parametrize("span", ["bytes 0-4/5", "4-0", "a-b", "0-", "-4"])
def test_end_5_must_refuse_a_malformed_range(repository, span) -> None:
    location = repository.start()
    answer = repository.call("PATCH", location, body=CONTENT[:5], Content_Range=span)
    assert answer.status in {400, 416}
    assert patch(repository, location, CONTENT[:5], start=0).status == 202


def test_end_13_must_answer_204_with_range_and_location(repository) -> None:
    location = patch(repository, repository.start(), CONTENT[:5], start=0).location
    answer = repository.call("GET", location)
    assert (answer.status, answer.headers["range"]) == (204, "0-4")
    assert answer.location


def test_end_14_should_answer_204_and_end_the_upload(repository) -> None:
    location = repository.start()
    assert repository.call("DELETE", location).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        answer = repository.call(method, location)
        assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_uploads_must_answer_404_for_an_unknown_session(repository, method) -> None:
    path = "/blobs/uploads/00000000-0000-4000-8000-000000000000"
    assert repository.call(method, f"{path}?digest={DIGEST}").status == 404


def test_uploads_must_answer_404_after_the_end(repository) -> None:
    location = repository.start()
    assert repository.finish(location, DIGEST, body=CONTENT).status == 201
    assert repository.call("GET", location).status == 404


def test_end_11_must_answer_201_with_a_pullable_location(repository, other) -> None:
    repository.push_blob(CONTENT)
    answer = other.call("POST", f"/blobs/uploads/?mount={DIGEST}&from={repository.name}")
    assert answer.status == 201
    assert other.call("GET", answer.location).body == CONTENT
    assert answer.headers["docker-content-digest"] == DIGEST


def test_end_11_should_fall_back_to_an_upload(repository, other) -> None:
    for query in (f"mount={UNKNOWN}&from={repository.name}", f"mount={DIGEST}&from=admin/nowhere"):
        answer = other.call("POST", f"/blobs/uploads/?{query}")
        assert answer.status == 202
        assert other.finish(answer.location, DIGEST, body=CONTENT).status == 201


def test_end_11_without_from_must_answer_201_or_202(repository, other) -> None:
    repository.push_blob(CONTENT)
    answer = other.call("POST", f"/blobs/uploads/?mount={DIGEST}")
    assert answer.status in {201, 202}
    if answer.status == 202:
        answer = other.finish(answer.location, DIGEST, body=CONTENT)
    assert other.call("GET", answer.location).body == CONTENT


def test_end_11_without_from_may_find_the_blob(repository, other) -> None:
    repository.push_blob(CONTENT)
    assert other.call("POST", f"/blobs/uploads/?mount={DIGEST}").status == 201

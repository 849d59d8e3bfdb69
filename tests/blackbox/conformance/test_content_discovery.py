"""Spec: distribution-spec 1.1 "Content Discovery": end-8, end-12."""

import json

import pytest
from tests.blackbox.conformance.target import EMPTY, IMAGE, INDEX, index

from hatoba.kernel.digests import Digest

pytestmark = pytest.mark.timeout(120)
SBOM, SIGNATURE = "application/vnd.example.sbom", "application/vnd.example.signature"


@pytest.fixture
def tagged(repository):
    content = repository.image()
    for number in (4, 1, 3, 0, 2):
        assert repository.push(f"t{number}", content).status == 201
    return repository


def tags(answer):
    assert answer.status == 200, answer.body
    return answer.json["tags"]


def test_end_8a_must_answer_200_with_name_and_tags_in_order(tagged) -> None:
    answer = tagged.call("GET", "/tags/list")
    assert answer.json == {"name": tagged.name, "tags": ["t0", "t1", "t2", "t3", "t4"]}
    assert answer.headers["content-type"].startswith("application/json")


def test_end_8a_must_answer_404_for_an_unknown_repository(target) -> None:
    made = target.repository("one-that-may-be", "nothing-here")
    answer = made.call("GET", f"/v2/{target.prefix}nothing-here/tags/list")
    assert (answer.status, answer.codes) == (404, ["NAME_UNKNOWN"])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_end_8b_must_give_n_tags_and_no_more(tagged, count) -> None:
    answer = tagged.call("GET", f"/tags/list?n={count}")
    assert tags(answer) == [f"t{number}" for number in range(count)]
    assert answer.following is not None


def test_end_8b_must_give_nothing_and_no_link_for_n_0(tagged) -> None:
    answer = tagged.call("GET", "/tags/list?n=0")
    assert (tags(answer), answer.following) == ([], None)


@pytest.mark.parametrize("count", [5, 6, 100])
def test_end_8b_must_give_no_link_with_the_last_page(tagged, count) -> None:
    answer = tagged.call("GET", f"/tags/list?n={count}")
    assert (len(tags(answer)), answer.following) == (5, None)


def test_end_8b_a_very_large_n_is_no_error(tagged) -> None:
    assert len(tags(tagged.call("GET", f"/tags/list?n={10**12}"))) == 5


def test_end_8b_links_lead_through_all_tags(tagged) -> None:
    seen, path = [], "/tags/list?n=2"
    while path:
        answer = tagged.call("GET", path)
        seen += tags(answer)
        path = answer.following
    assert seen == ["t0", "t1", "t2", "t3", "t4"]


def test_end_8b_must_begin_after_last(tagged) -> None:
    assert tags(tagged.call("GET", "/tags/list?n=2&last=t1")) == ["t2", "t3"]
    assert tags(tagged.call("GET", "/tags/list?last=t3")) == ["t4"]
    # It need not be a tag that exists.
    assert tags(tagged.call("GET", "/tags/list?last=t2zzz")) == ["t3", "t4"]


def referrer(repository, subject, kind, **changes) -> bytes:
    text = f"{kind} {sorted(changes)}"
    return repository.image(text, subject=subject, artifactType=kind, **changes)


@pytest.fixture
def subject(repository):
    return repository.push_by_digest(repository.image("subject"))


def test_end_12a_must_answer_200_with_an_empty_index(repository) -> None:
    for algorithm in ("sha256", "sha512"):
        answer = repository.call("GET", f"/referrers/{Digest.of(b'unknown', algorithm)}")
        assert answer.status == 200
        assert answer.headers["content-type"] == INDEX
        assert answer.json == {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
        assert "oci-filters-applied" not in answer.headers


@pytest.mark.parametrize("digest", ["sha256:short", "nonsense", f"sha256:{'A' * 64}"])
def test_end_12a_must_answer_400_for_a_malformed_digest(repository, digest) -> None:
    answer = repository.call("GET", f"/referrers/{digest}")
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_end_12a_an_algorithm_that_is_not_registered_has_no_referrers(repository) -> None:
    assert repository.referrers(f"sha384:{'a' * 96}") == []


def test_end_7_must_tell_the_subject(repository, subject) -> None:
    for reference in ("v1", None):
        content = referrer(repository, subject, SBOM)
        answer = repository.push(reference or str(Digest.of(content)), content)
        assert answer.status == 201
        assert answer.headers["oci-subject"] == subject["digest"]


def test_end_12a_must_describe_each_referrer(repository, subject) -> None:
    content = referrer(repository, subject, SBOM, annotations={"who": "me", "é": "ü"})
    pushed = repository.push_by_digest(content)
    assert repository.referrers(subject["digest"]) == [
        {**pushed, "artifactType": SBOM, "annotations": {"who": "me", "é": "ü"}}
    ]


@pytest.mark.parametrize("declared", [None, ""])
def test_end_12a_must_fall_back_to_the_type_of_the_config(repository, subject, declared) -> None:
    config = repository.blob(b'{"a":1}', "application/vnd.example.config")
    content = repository.image("x", subject=subject, artifactType=declared, config=config)
    repository.push_by_digest(content)
    found = repository.referrers(subject["digest"])
    assert [one["artifactType"] for one in found] == ["application/vnd.example.config"]


def test_end_12a_must_leave_out_the_type_of_an_index_without_one(repository, subject) -> None:
    bare = repository.push_by_digest(index(subject=subject), INDEX)
    typed = repository.push_by_digest(index(subject=subject, artifactType=SBOM), INDEX)
    found = {one["digest"]: one for one in repository.referrers(subject["digest"])}
    assert found == {bare["digest"]: bare, typed["digest"]: {**typed, "artifactType": SBOM}}


def test_end_12a_referrers_of_indexes_and_of_referrers(repository, subject) -> None:
    family = repository.push_by_digest(index(subject), INDEX)
    signature = repository.push_by_digest(referrer(repository, family, SIGNATURE))
    repository.push_by_digest(referrer(repository, signature, SBOM))
    assert [one["artifactType"] for one in repository.referrers(family["digest"])] == [SIGNATURE]
    assert [one["artifactType"] for one in repository.referrers(signature["digest"])] == [SBOM]
    assert repository.referrers(subject["digest"]) == []


def test_end_12a_the_subject_may_come_later(repository) -> None:
    content = repository.image("late")
    described = {"mediaType": IMAGE, "digest": str(Digest.of(content)), "size": len(content)}
    answer = repository.push("sbom", referrer(repository, described, SBOM))
    assert (answer.status, answer.headers["oci-subject"]) == (201, described["digest"])
    assert len(repository.referrers(described["digest"])) == 1
    assert repository.push("late", content).status == 201
    assert len(repository.referrers(described["digest"])) == 1


def test_end_12a_a_subject_by_sha512(repository) -> None:
    subject = repository.push_by_digest(repository.image("512"), algorithm="sha512")
    repository.push_by_digest(referrer(repository, subject, SBOM))
    assert len(repository.referrers(subject["digest"])) == 1


def test_end_12a_an_artifact_with_the_empty_config(repository, subject) -> None:
    empty = repository.blob(b"{}", EMPTY)
    content = repository.image(
        "x", subject=subject, config=empty, layers=[empty], artifactType=SIGNATURE
    )
    pushed = repository.push_by_digest(content)
    assert repository.referrers(subject["digest"]) == [{**pushed, "artifactType": SIGNATURE}]


def test_end_12a_each_referrer_is_listed_once(repository, subject) -> None:
    content = referrer(repository, subject, SBOM)
    for reference in ("a", "b", str(Digest.of(content))):
        assert repository.push(reference, content).status == 201
    assert len(repository.referrers(subject["digest"])) == 1


def test_end_12a_must_be_of_this_repository_alone(repository, other, subject) -> None:
    repository.push_by_digest(referrer(repository, subject, SBOM))
    other.push_blob(b"makes the repository")
    assert other.referrers(subject["digest"]) == []


def test_end_12b_should_filter_and_must_say_so(repository, subject) -> None:
    for kind in (SBOM, SIGNATURE):
        repository.push_by_digest(referrer(repository, subject, kind))
    answer = repository.call("GET", f"/referrers/{subject['digest']}?artifactType={SBOM}")
    assert answer.headers["oci-filters-applied"] == "artifactType"
    assert [one["artifactType"] for one in answer.json["manifests"]] == [SBOM]
    nothing = repository.call("GET", f"/referrers/{subject['digest']}?artifactType=x/y")
    assert (nothing.status, nothing.json["manifests"]) == (200, [])


def test_end_12b_takes_types_with_a_plus(repository, subject) -> None:
    kind = "application/spdx+json"
    repository.push_by_digest(referrer(repository, subject, kind))
    assert (
        len(repository.referrers(subject["digest"], "?artifactType=application/spdx%2Bjson")) == 1
    )
    # Clients that write the sign as it is mean the sign, not a space.
    assert len(repository.referrers(subject["digest"], "?artifactType=application/spdx+json")) == 1


def test_end_12a_must_link_to_what_does_not_fit(repository, subject) -> None:
    pushed = {
        repository.push_by_digest(referrer(repository, subject, f"x/kind-{number % 2}"))["digest"]
        if number % 2
        else repository.push_by_digest(
            referrer(repository, subject, "x/kind-0", annotations={"number": str(number)})
        )["digest"]
        for number in range(7)
    }
    seen, pages, path = [], 0, f"/referrers/{subject['digest']}?n=2"
    while path:
        answer = repository.call("GET", path)
        assert answer.json["mediaType"] == INDEX
        seen += [one["digest"] for one in answer.json["manifests"]]
        pages, path = pages + 1, answer.following
    assert set(seen) == pushed
    assert len(seen) == len(pushed)
    assert pages > 1


def test_end_12a_what_is_deleted_is_not_listed(repository, subject) -> None:
    content = referrer(repository, subject, SBOM)
    pushed = repository.push_by_digest(content)
    assert repository.call("DELETE", f"/manifests/{pushed['digest']}").status == 202
    assert repository.referrers(subject["digest"]) == []


def test_end_12a_a_json_reader_of_go_reads_the_list(repository, subject) -> None:
    body = repository.call("GET", f"/referrers/{subject['digest']}").body
    assert json.loads(body)["manifests"] is not None

"""Spec: distribution-spec 1.1 "Push", manifests: end-7; image-spec 1.1 manifests and indexes."""

import base64
import json

import pytest
from tests.blackbox.conformance.target import (
    CONFIG,
    DOCKER_IMAGE,
    EMPTY,
    IMAGE,
    INDEX,
    LAYER,
    UNKNOWN,
    index,
)

from hatoba.kernel.digests import Digest

pytestmark = pytest.mark.timeout(120)
FLOOR = 4 << 20
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def padded(content: bytes, size: int) -> bytes:
    """Return the manifest with an unknown field that makes it so large."""
    document = json.loads(content)
    document["x-padding"] = ""
    document["x-padding"] = "p" * (size - len(json.dumps(document)))
    return json.dumps(document).encode()


def test_end_7_must_answer_201_with_a_pullable_location(repository) -> None:
    content = repository.image()
    answer = repository.push("v1", content)
    assert answer.status == 201
    assert answer.headers["docker-content-digest"] == str(Digest.of(content))
    assert repository.call("GET", answer.location, Accept=IMAGE).body == content


def test_end_7_by_digest_stays_pullable(repository) -> None:
    content = repository.image()
    descriptor = repository.push_by_digest(content)
    for _ in range(6):  # whichever worker answers
        assert repository.pull(descriptor["digest"]).body == content


def test_end_7_may_be_repeated_and_moves_the_tag(repository) -> None:
    first, second = repository.image("first"), repository.image("second")
    for content in (first, first, second, first):
        assert repository.push("v1", content).status == 201
        assert repository.pull("v1").body == content


def test_end_7_unknown_fields_are_kept_byte_for_byte(repository) -> None:
    document = json.loads(repository.image())
    document["org.example.unknown"] = {"nested": [1, 2.50, None, "ü"]}
    document["layers"][0]["org.example"] = True
    content = (json.dumps(document, indent=1) + "\n\n").encode()
    assert repository.push("v1", content).status == 201
    assert repository.pull("v1").body == content


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"{}", b"\xff{}"])
def test_end_7_must_refuse_what_is_no_manifest(repository, content) -> None:
    answer = repository.push("v1", content)
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])
    assert repository.pull("v1").status == 404


@pytest.mark.parametrize("key", ["config", "layers"])
def test_end_7_may_refuse_unknown_blobs_with_code_5(repository, key) -> None:
    document = json.loads(repository.image())
    missing = {"mediaType": LAYER, "digest": UNKNOWN, "size": 5}
    document[key] = missing if key == "config" else [*document["layers"], missing]
    answer = repository.push("v1", json.dumps(document).encode())
    assert answer.status in {400, 404}
    assert set(answer.codes) == {"MANIFEST_BLOB_UNKNOWN"}
    assert repository.pull("v1").status == 404


def test_end_7_should_name_each_unknown_blob(repository) -> None:
    document = json.loads(repository.image())
    digests = [f"sha256:{digit * 64}" for digit in "123"]
    document["layers"] = [{"mediaType": LAYER, "digest": one, "size": 5} for one in digests]
    errors = repository.push("v1", json.dumps(document).encode()).json["errors"]
    told = [error["detail"] for error in errors]
    assert sorted(one["digest"] if isinstance(one, dict) else one for one in told) == digests


def test_end_7_may_refuse_an_index_with_unknown_manifests(repository) -> None:
    child = {"mediaType": IMAGE, "digest": UNKNOWN, "size": 5}
    answer = repository.push("v1", index(child), INDEX)
    assert answer.status in {400, 404}
    assert set(answer.codes) == {"MANIFEST_BLOB_UNKNOWN"}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_end_7_must_refuse_another_digest(repository, algorithm) -> None:
    wrong = Digest.of(b"something else", algorithm)
    answer = repository.push(str(wrong), repository.image())
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_end_7_sha512_may_be_used(repository) -> None:
    document = json.loads(repository.image())
    layer = repository.blob(b"layer", LAYER, "sha512")
    content = json.dumps({**document, "layers": [layer]}).encode()
    descriptor = repository.push_by_digest(content, algorithm="sha512")
    answer = repository.pull(descriptor["digest"])
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["docker-content-digest"] == descriptor["digest"]
    assert repository.push("multi", index(descriptor), INDEX).status == 201


def test_end_7_layers_may_be_empty(repository) -> None:
    content = repository.image(layers=[])
    assert repository.push("v1", content).status == 201
    assert repository.pull("v1").body == content


def test_end_7_an_index_may_be_empty(repository) -> None:
    content = index()
    assert repository.push("v1", content, INDEX).status == 201
    assert repository.pull("v1").body == content


def test_end_7_a_zero_byte_layer(repository) -> None:
    content = repository.image(layers=[repository.blob(b"", LAYER)])
    assert repository.push("v1", content).status == 201


def test_end_7_an_artifact(repository) -> None:
    """Spec: image-spec "Guidelines for Artifact Usage"."""
    empty = repository.blob(b"{}", EMPTY)
    content = repository.image(
        artifactType="application/vnd.example.thing",
        config={**empty, "data": "e30="},
        layers=[{**empty, "data": "e30="}],
    )
    assert repository.push("v1", content).status == 201
    assert repository.pull("v1").body == content


def test_end_7_an_unknown_config_type(repository) -> None:
    config = repository.blob(b'{"name":"chart"}', "application/vnd.cncf.helm.config.v1+json")
    content = repository.image(config=config)
    assert repository.push("v1", content).status == 201


def test_end_7_data_that_is_not_the_content_is_refused(repository) -> None:
    document = json.loads(repository.image())
    document["config"]["data"] = base64.b64encode(b"something else").decode()
    answer = repository.push("v1", json.dumps(document).encode())
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


def test_end_7_nested_indexes(repository) -> None:
    child = repository.push_by_digest(repository.image())
    inner = repository.push_by_digest(index(child, annotations={"which": "inner"}), INDEX)
    outer = index(inner, child, artifactType="application/vnd.example.family")
    assert repository.push("v1", outer, INDEX).status == 201
    for descriptor in (child, inner):
        assert repository.pull(descriptor["digest"]).status == 200


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_end_7_layers_that_are_elsewhere_need_not_be_here(repository, media_type) -> None:
    kind = DOCKER_IMAGE if "docker" in media_type else IMAGE
    document = json.loads(repository.image(media_type=kind))
    foreign = {"mediaType": media_type, "digest": UNKNOWN, "size": 5}
    document["layers"].insert(0, {**foreign, "urls": ["https://example.com/layer"]})
    assert repository.push("v1", json.dumps(document).encode(), kind).status == 201


def test_end_7_schema_1_is_refused(repository) -> None:
    document = {"schemaVersion": 1, "name": repository.name, "tag": "v1", "fsLayers": []}
    answer = repository.push("v1", json.dumps(document).encode(), SCHEMA1)
    assert 400 <= answer.status < 500
    assert answer.codes == ["MANIFEST_INVALID"]


@pytest.mark.parametrize("reference", ["-dash", ".dot", "t" * 129, "sp%20ace"])
def test_end_7_must_refuse_a_malformed_tag(repository, reference) -> None:
    assert repository.push(reference, repository.image()).status in {400, 404}


@pytest.mark.parametrize("tag", ["_", "v1.0-rc_1", "UPPER", "t" * 128])
def test_end_7_takes_every_tag_of_the_grammar(repository, tag) -> None:
    content = repository.image()
    assert repository.push(tag, content).status == 201
    assert repository.pull(tag).body == content


def test_end_7_should_ignore_parameters_of_the_content_type(repository) -> None:
    answer = repository.push("v1", repository.image(), f"{IMAGE}; charset=utf-8")
    assert answer.status == 201
    assert repository.pull("v1").headers["content-type"] == IMAGE


def test_end_7_must_refuse_a_type_that_the_manifest_contradicts(repository) -> None:
    answer = repository.push("v1", repository.image(), DOCKER_IMAGE)
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


def test_end_7_should_take_manifests_of_4_mib(repository) -> None:
    content = padded(repository.image(), FLOOR)
    assert len(content) == FLOOR
    assert repository.push("large", content).status == 201
    assert repository.pull("large").body == content


def test_end_7_should_answer_413_above_the_limit(repository) -> None:
    answer = repository.push("larger", padded(repository.image(), FLOOR + 1))
    assert answer.status == 413
    assert repository.pull("larger").status == 404


def test_end_7_a_manifest_that_is_two_things_is_refused(repository) -> None:
    """CVE-2021-41190."""
    document = {**json.loads(repository.image()), "manifests": []}
    answer = repository.push("v1", json.dumps(document).encode())
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


def test_end_7_a_config_may_be_of_the_usual_type(repository) -> None:
    document = json.loads(repository.image())
    assert document["config"]["mediaType"] == CONFIG
    assert repository.push("v1", json.dumps(document).encode()).status == 201

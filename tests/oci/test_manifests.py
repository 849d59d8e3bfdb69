"""What is accepted as a manifest, and what is read out of it."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.kernel.digests import Digest
from hatoba.kernel.errors import HatobaError
from hatoba.oci import media_types
from hatoba.oci.descriptors import MalformedManifest
from hatoba.oci.manifests import (
    MAXIMUM_REFERENCES,
    ManifestTooLarge,
    UnknownManifestType,
    parse_manifest,
)

CONFIG = {"mediaType": media_types.OCI_CONFIG, "digest": str(Digest.of(b"c")), "size": 1}
LAYER = {
    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
    "digest": str(Digest.of(b"l")),
    "size": 7,
}


def image(**changes):
    return {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER], **changes}


def parse(document, content_type=media_types.OCI_MANIFEST, **options):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse_manifest(content, content_type=content_type, **options)


def test_the_bytes_are_kept_and_hashed() -> None:
    content = json.dumps(image(), indent=3).encode()
    manifest = parse(content)
    assert manifest.content == content
    assert manifest.digest == Digest.of(content)


def test_blobs_are_config_then_layers_once_each() -> None:
    manifest = parse(image(layers=[LAYER, LAYER]))
    assert [str(blob.digest) for blob in manifest.blobs] == [CONFIG["digest"], LAYER["digest"]]
    assert manifest.layers_size == 14


def test_foreign_layers_need_not_be_present() -> None:
    foreign = {**LAYER, "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}
    assert len(parse(image(layers=[foreign])).blobs) == 1


def test_an_index_has_children_and_no_blobs() -> None:
    child = {**LAYER, "mediaType": media_types.OCI_MANIFEST}
    manifest = parse({"schemaVersion": 2, "manifests": [child]}, media_types.OCI_INDEX)
    assert manifest.is_index
    assert len(manifest.children) == 1
    assert manifest.blobs == ()


def test_parameters_of_the_content_type_do_not_matter() -> None:
    assert parse(image(), media_types.OCI_MANIFEST + "; charset=utf-8").media_type == (
        media_types.OCI_MANIFEST
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, media_types.OCI_CONFIG),
        ({"artifactType": "application/sbom"}, "application/sbom"),
        ({"artifactType": ""}, media_types.OCI_CONFIG),
        ({"config": {**CONFIG, "mediaType": media_types.OCI_EMPTY}}, media_types.OCI_EMPTY),
    ],
)
def test_the_artifact_type_is_declared_or_the_configs(changes, expected) -> None:
    assert parse(image(**changes)).artifact_type == expected


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not json",
        b"[]",
        b'{"schemaVersion":2,"\xff":1}',
        b"[" * 100_000,
        image(schemaVersion=1),
        image(mediaType=media_types.DOCKER_MANIFEST),
        image(config=None),
        {"schemaVersion": 2, "config": CONFIG},
        image(layers={}),
        image(fsLayers=[]),
        image(layers=[{**LAYER, "urls": "http://x"}]),
        image(layers=[{**LAYER, "urls": [1]}]),
        image(config={**CONFIG, "data": "Yw"}),
        image(config={**CONFIG, "data": "eA=="}),
        image(config={**CONFIG, "data": 7}),
        image(config={**CONFIG, "size": 2, "data": "Yw=="}),
        image(layers=[{**LAYER, "digest": "sha256:abc"}]),
        image(layers=[{**LAYER, "digest": 5}]),
        image(layers=[{**LAYER, "size": -1}]),
        image(layers=[{**LAYER, "size": True}]),
        image(layers=[{**LAYER, "size": 1 << 63}]),
        image(layers=[{**LAYER, "mediaType": ""}]),
        image(layers=["x"]),
        image(manifests=[]),
        image(annotations={"a": 1}),
        image(artifactType=3),
        image(artifactType="a\0b"),
        image(artifactType="a" * 256),
        image(subject="x"),
    ],
)
def test_a_malformed_image_manifest_is_refused(document) -> None:
    with pytest.raises(MalformedManifest):
        parse(document)


@pytest.mark.parametrize("key", ["layers", "config", "fsLayers"])
def test_an_index_that_is_an_image_too_is_refused(key) -> None:
    document = {"schemaVersion": 2, "manifests": [], key: image().get(key, [])}
    with pytest.raises(MalformedManifest):
        parse(document, media_types.OCI_INDEX)


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        (image(layers=None), media_types.OCI_MANIFEST),
        (image(layers=[]), media_types.DOCKER_MANIFEST),
        ({"schemaVersion": 2, "manifests": None}, media_types.OCI_INDEX),
    ],
)
def test_a_list_without_members_may_be_null(document, media_type) -> None:
    manifest = parse(document, media_type)
    assert (manifest.layers, manifest.children) == ((), ())


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_embedded_data_is_what_the_descriptor_names(algorithm) -> None:
    config = {**CONFIG, "digest": str(Digest.of(b"c", algorithm)), "data": "Yw=="}
    assert parse(image(config=config)).config is not None


def test_the_type_is_the_documents_where_no_header_tells_it() -> None:
    document = image(mediaType=media_types.DOCKER_MANIFEST)
    assert parse(document, "").media_type == media_types.DOCKER_MANIFEST


def test_as_many_descriptors_as_the_limit() -> None:
    assert len(parse(image(layers=[LAYER] * MAXIMUM_REFERENCES)).layers) == MAXIMUM_REFERENCES
    with pytest.raises(MalformedManifest):
        parse(image(layers=[LAYER] * (MAXIMUM_REFERENCES + 1)))


@pytest.mark.parametrize(
    "content_type", [media_types.DOCKER_SCHEMA1_SIGNED, "application/json", "text/html", ""]
)
def test_other_types_are_refused(content_type) -> None:
    with pytest.raises(UnknownManifestType):
        parse(image(), content_type)


def test_a_manifest_may_be_as_large_as_the_limit() -> None:
    size = len(json.dumps(image()))
    assert parse(image(), maximum_bytes=size)
    with pytest.raises(ManifestTooLarge):
        parse(image(), maximum_bytes=size - 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["schemaVersion", "config", "layers", "digest", "size", "mediaType", "subject"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from(sorted(media_types.MANIFESTS)))
def test_any_json_is_parsed_or_refused_by_name(document, content_type) -> None:
    with contextlib.suppress(HatobaError):
        parse(document, content_type)

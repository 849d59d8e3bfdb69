"""Paths find their row, with the longest name that fits."""

import pytest

from hatoba.kernel import errors as kinds
from hatoba.registry.blobs import driver
from hatoba.registry.content import errors
from hatoba.registry.v2.problems import WIRE, wire_of
from hatoba.registry.v2.routes import ROWS, match


@pytest.mark.parametrize(
    ("path", "endpoint", "parameters"),
    [
        ("/v2/", "base", {}),
        ("/v2/_catalog", "catalog", {}),
        ("/v2/a/b/tags/list", "tags", {"name": "a/b"}),
        ("/v2/b/manifests/v1", "manifest", {"name": "b", "reference": "v1"}),
        ("/v2/a/b/manifests/sha256:1", "manifest", {"name": "a/b", "reference": "sha256:1"}),
        ("/v2/a/b/blobs/sha256:1", "blob", {"name": "a/b", "digest": "sha256:1"}),
        ("/v2/a/b/blobs/uploads/", "uploads", {"name": "a/b"}),
        ("/v2/a/b/blobs/uploads/x-1", "upload", {"name": "a/b", "upload_id": "x-1"}),
        ("/v2/a/b/referrers/sha256:1", "referrers", {"name": "a/b", "digest": "sha256:1"}),
        ("/v2/a/manifests/b/tags/list", "tags", {"name": "a/manifests/b"}),
        (
            "/v2/a/tags/list/manifests/x",
            "manifest",
            {"name": "a/tags/list", "reference": "x"},
        ),
    ],
)
def test_a_path_finds_its_row(path, endpoint, parameters) -> None:
    found = match(path)
    assert found is not None
    assert (found[0].endpoint, found[1]) == (endpoint, parameters)


@pytest.mark.parametrize("path", ["/v2", "/v2/x", "/v2/a/b", "/v2/a/manifests/", "/v2//tags/list/"])
def test_other_paths_find_none(path) -> None:
    assert match(path) is None


def test_every_row_declares_what_it_needs() -> None:
    for row in ROWS:
        for method, action in row.methods.items():
            named = "name" in row.pattern.groupindex
            assert (action.needs is not None) == named, (row.endpoint, method)
            writes = method in {"PUT", "POST", "PATCH", "DELETE"}
            assert action.changes == writes, (row.endpoint, method)
            assert action.needs != "pull" or not writes


def leaves(kind: type) -> list[type]:
    below: list[type] = kind.__subclasses__()
    return [kind] if not below else [leaf for sub in below for leaf in leaves(sub)]


def test_every_error_of_the_content_and_blob_rooms_has_a_row_of_its_own() -> None:
    """But for those that never leave their room, and those of the other edge."""
    inside = {
        driver.BlobMissing,
        driver.UploadBegun,
        driver.UploadMissing,
        driver.StorageUnavailable,
    }
    elsewhere = {errors.LabelInvalid, errors.LabelUnknown, errors.LabelImmutable}
    for leaf in leaves(kinds.HatobaError):
        if leaf.__module__ in {errors.__name__, driver.__name__}:
            assert leaf in WIRE or leaf in inside | elsewhere, leaf


KINDS = [kind for kind in vars(kinds).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not kinds.HatobaError])
def test_every_kind_has_a_status(kind) -> None:
    assert wire_of(kind("x")).status != 500


CODES = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}
"""Spec: distribution-spec "Error Codes", code-1 to code-14."""


def test_a_4xx_has_a_code_of_the_specification_and_each_code_is_used() -> None:
    assert {wire.code for wire in WIRE.values() if wire.status < 500} == CODES

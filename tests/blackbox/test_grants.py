"""Every route of /v2 against every kind of token, and what other people's tokens cannot do."""

import re

import pytest
from tests.blackbox.test_protocol import Client

from hatoba.kernel.digests import Digest
from hatoba.registry.v2.routes import ROWS

pytestmark = pytest.mark.timeout(120)

NAME = "admin/granted"
DIGEST = f"sha256:{'7' * 64}"
PATHS = {
    "manifest": f"/v2/{NAME}/manifests/nosuch",
    "blob": f"/v2/{NAME}/blobs/{DIGEST}",
    "uploads": f"/v2/{NAME}/blobs/uploads/",
    "upload": f"/v2/{NAME}/blobs/uploads/nosuch",
    "tags": f"/v2/{NAME}/tags/list",
    "referrers": f"/v2/{NAME}/referrers/{DIGEST}",
}
NEEDED = {
    ("manifest", "GET"): "pull",
    ("manifest", "HEAD"): "pull",
    ("manifest", "PUT"): "push",
    ("manifest", "DELETE"): "push",
    ("blob", "GET"): "pull",
    ("blob", "HEAD"): "pull",
    ("blob", "DELETE"): "push",
    ("uploads", "POST"): "push",
    ("upload", "GET"): "push",
    ("upload", "HEAD"): "push",
    ("upload", "PATCH"): "push",
    ("upload", "PUT"): "push",
    ("upload", "DELETE"): "push",
    ("tags", "GET"): "pull",
    ("tags", "HEAD"): "pull",
    ("referrers", "GET"): "pull",
    ("referrers", "HEAD"): "pull",
}
"""Written by hand: a route that is missing here fails the first test."""


def test_every_route_of_a_repository_is_in_the_table() -> None:
    routes = {
        (row.endpoint, method)
        for row in ROWS
        for method in row.methods
        if "name" in row.pattern.groupindex
    }
    assert routes == set(NEEDED)


def test_each_route_lets_in_the_tokens_it_should_and_no_others(registry) -> None:
    Client(registry, NAME).start()  # the repository exists
    tokens = {
        "nobody": {},
        "any": registry.bearer(),
        "pull": registry.bearer(f"repository:{NAME}:pull"),
        "push": registry.bearer(f"repository:{NAME}:push"),
        "elsewhere": registry.bearer("repository:admin/elsewhere:pull,push"),
        "prefix": registry.bearer("repository:admin/grante:pull,push"),
        "stranger": stranger_token(registry),
    }
    wrong = []
    for (endpoint, method), needed in NEEDED.items():
        for kind, headers in tokens.items():
            answer = registry.call(method, PATHS[endpoint], headers=headers)
            if (answer.status == 401) == (kind == needed):
                wrong.append((endpoint, method, kind, answer.status))
    assert wrong == []


def stranger_token(registry):
    registry.users["stranger"] = "some-password-1"
    if registry.api("GET", "/users/stranger").status == 404:
        made = registry.api("POST", "/superuser/users/", username="stranger")
        assert made.status == 200, made.body
        changed = registry.api(
            "PUT", "/superuser/users/stranger", password=registry.users["stranger"]
        )
        assert changed.status == 200, changed.body
    return registry.bearer(
        f"repository:{NAME}:pull,push", "repository:stranger/own:pull,push", user="stranger"
    )


def test_a_mount_takes_nothing_that_one_may_not_read(registry) -> None:
    digest = Client(registry, NAME).push_blob(b"not for strangers")
    headers = stranger_token(registry)
    for source in (NAME, NAME.upper(), f"stranger/own/../../{NAME}", f"{registry.host}/{NAME}"):
        answer = registry.call(
            "POST",
            f"/v2/stranger/own/blobs/uploads/?mount={digest}&from={source}",
            headers=headers,
        )
        assert answer.status == 202, source  # an ordinary upload, as the specification says
    answer = registry.call("GET", f"/v2/stranger/own/blobs/{digest}", headers=headers)
    assert answer.status == 404


def test_a_manifest_takes_no_blob_that_is_not_in_its_repository(registry) -> None:
    manifest = Client(registry, NAME).image("not for strangers either")
    answer = registry.call(
        "PUT",
        "/v2/stranger/own/manifests/taken",
        body=manifest,
        headers={
            **stranger_token(registry),
            "Content-Type": "application/vnd.oci.image.manifest.v1+json",
        },
    )
    assert answer.status == 400
    assert re.search(rb'"code":"MANIFEST_BLOB_UNKNOWN"', answer.body)


def test_a_robot_reaches_no_other_namespace(registry) -> None:
    assert registry.api("POST", "/organization/", name="robotics").status == 201
    made = registry.api("PUT", "/organization/robotics/robots/arm", description="x")
    assert made.status == 201, made.body
    robot = "robotics+arm"
    registry.users[robot] = made.json["token"]
    headers = registry.bearer(f"repository:{NAME}:pull,push", user=robot)
    assert registry.call("GET", f"/v2/{NAME}/tags/list", headers=headers).status == 401
    headers = registry.bearer("repository:stranger/new:pull,push", user=robot)
    assert registry.call("POST", "/v2/stranger/new/blobs/uploads/", headers=headers).status == 401


def test_who_is_disabled_gets_no_more_tokens(registry) -> None:
    stranger_token(registry)
    assert registry.api("PUT", "/superuser/users/stranger", enabled=False).status == 200
    try:
        with pytest.raises(AssertionError, match="disabled"):
            registry.bearer("repository:stranger/own:pull", user="stranger")
    finally:
        assert registry.api("PUT", "/superuser/users/stranger", enabled=True).status == 200
    assert registry.bearer("repository:stranger/own:pull", user="stranger")


def test_a_digest_that_does_not_fit_is_never_stored(registry) -> None:
    client = Client(registry, NAME)
    for algorithm in ("sha256", "sha512"):
        wrong = Digest.of(b"something else", algorithm)
        refused = client.call("POST", f"/blobs/uploads/?digest={wrong}", body=b"content")
        assert (refused.status, refused.code) == (400, "DIGEST_INVALID"), refused.body
        assert client.call("GET", f"/blobs/{wrong}").status == 404

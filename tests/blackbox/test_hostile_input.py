"""What no form would send to the API: each is refused by name, and nothing crashes."""

import json
from base64 import b64encode

import pytest
from tests.blackbox.test_protocol import Client

from hatoba.kernel.digests import Digest
from hatoba.oci import media_types

pytestmark = pytest.mark.timeout(120)

BODIES = [
    ("POST", "/superuser/users/", {"username": "a%b", "email": "x@example.com"}),
    ("POST", "/organization/", {"name": "o%rg"}),
    ("POST", "/organization/", {"name": "orgx", "email": "a%@b.example"}),
    ("POST", "/repository", {"namespace": "admin", "repository": "r%x", "visibility": "private"}),
    ("PUT", "/repository/admin/hostile", {"description": "d%"}),
    ("PUT", "/user/robots/rob", {"description": "d%"}),
    ("PUT", "/user/robots/rob", {"unstructured_metadata": {"a%": 1}}),
    ("PUT", "/repository/admin/hostile/tag/v2", {"manifest_digest": "sha%"}),
    ("POST", "/user/apptoken", {"title": "d%"}),
    ("POST", "/signin", {"username": "a%", "password": "b"}),
    ("POST", "/user/starred", {"namespace": "a%", "repository": "b"}),
]
PATHS = [
    ("/users/%00", 404),
    ("/organization/%00", 404),
    ("/repository/admin%00/app", 404),
    ("/repository/admin/hostile/manifest/sha256:%00", 404),
    ("/superuser/users/%00", 404),
    ("/user/robots/%00", 404),
    ("/repository?namespace=%00", 400),
    ("/repository/admin/hostile/tag/?specificTag=%00", 400),
    ("/repository/admin/hostile/tag/?filter_tag_name=like:%00", 400),
    ("/repository/admin/hostile/tag/?page=99999999999999999999", 400),
    ("/repository/admin/hostile/tag/?limit=-99999999999999999999", 400),
]
RAW = [
    (b"[" * 200_000, 400),
    (b'{"name":' + b"[" * 200_000, 400),
    (b"\xff\xfe", 400),
    (b'{"name":1e999}', 400),
    (b'{"name":' + b"9" * 6000 + b"}", 400),
    (b'{"name":"' + b"x" * (1 << 20) + b'"}', 413),
]


@pytest.fixture
def token(registry):
    client = Client(registry, "admin/hostile")
    client.push("v1", client.image("x"))
    return {"Authorization": f"Bearer {registry.token}", "Content-Type": "application/json"}


@pytest.mark.parametrize("letter", ["\0", "\ud800"], ids=["nul", "half-a-pair"])
@pytest.mark.parametrize(("method", "path", "content"), BODIES)
def test_texts_that_no_database_stores(registry, token, method, path, content, letter) -> None:
    body = json.dumps(content).replace("%", json.dumps(letter)[1:-1])
    answer = registry.call(method, f"/api/v1{path}", body=body, headers=token)
    assert answer.status == 400, answer.body


@pytest.mark.parametrize(("path", "status"), PATHS)
def test_paths_and_queries_that_name_nothing(registry, token, path, status) -> None:
    assert registry.call("GET", f"/api/v1{path}", headers=token).status == status


@pytest.mark.parametrize(("body", "status"), RAW, ids=range(len(RAW)))
@pytest.mark.parametrize("path", ["/organization/", "/user/initialize"])
def test_bodies_that_are_no_request(registry, token, path, body, status) -> None:
    answer = registry.call("POST", f"/api/v1{path}", body=body, headers=token)
    assert answer.status == status, answer.body


@pytest.mark.parametrize("expiration", ["99999999999999999999", "1e999", "-1", "1e15"])
def test_a_tag_ends_within_the_years_that_dates_have(registry, token, expiration) -> None:
    path = "/api/v1/repository/admin/hostile/tag/v1"
    body = f'{{"expiration":{expiration}}}'
    assert registry.call("PUT", path, body=body, headers=token).status == 400
    tags = registry.api("GET", "/repository/admin/hostile/tag/?onlyActiveTags=true").json["tags"]
    assert [tag.get("expiration") for tag in tags] == [None]


def test_credentials_that_nobody_has(registry) -> None:
    pair = b64encode(b"ad\0min:password1").decode()
    answer = registry.call("GET", "/v2/auth", headers={"Authorization": f"Basic {pair}"})
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("letter", ["\0", "\ud800"], ids=["nul", "half-a-pair"])
def test_texts_of_images_that_no_database_stores(registry, letter) -> None:
    """They are valid JSON: the bytes are kept, and what would become a label is left out."""
    client = Client(registry, "admin/odd")
    odd = f"odd{letter}"
    config = json.dumps(
        {
            "architecture": odd,
            "config": {"Labels": {odd: "v", "k": odd, "kept": "whole"}, "Cmd": [odd]},
            "history": [{"created_by": odd, "comment": odd}],
        }
    ).encode()
    subject = json.loads(client.image("x"))["config"]
    manifest = {
        **json.loads(client.image("x")),
        "config": {
            "mediaType": media_types.OCI_CONFIG,
            "digest": client.push_blob(config),
            "size": len(config),
        },
        "subject": subject,
        "annotations": {odd: "v", "a": odd, "said": "fine"},
    }
    content = json.dumps(manifest).encode()
    assert client.push("odd", content).status == 201
    digest = str(Digest.of(content))
    assert client.call("GET", "/manifests/odd").body == content
    referrers = client.call("GET", f"/referrers/{subject['digest']}").json["manifests"]
    assert [one["annotations"] for one in referrers if one["digest"] == digest] == [
        manifest["annotations"]
    ]
    path = f"/repository/admin/odd/manifest/{digest}"
    labels = registry.api("GET", f"{path}/labels").json["labels"]
    assert {label["key"]: label["value"] for label in labels} == {"kept": "whole", "said": "fine"}
    assert json.loads(registry.api("GET", path).json["manifest_data"]) == manifest
    assert registry.api("GET", "/repository/admin/odd/tag/?specificTag=odd").status == 200


@pytest.mark.parametrize("field", ["artifactType", "mediaType of the config"])
@pytest.mark.parametrize("letter", ["\0", "\ud800"], ids=["nul", "half-a-pair"])
def test_media_types_that_no_database_stores(registry, letter, field) -> None:
    client = Client(registry, "admin/odd")
    manifest = json.loads(client.image("x"))
    if field == "artifactType":
        manifest["artifactType"] = f"a/b{letter}"
    else:
        manifest["config"]["mediaType"] = f"a/b{letter}"
    assert client.push("odd", json.dumps(manifest)).code == "MANIFEST_INVALID"

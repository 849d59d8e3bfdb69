"""The contract of Clair's HTTP API, and what Quay's client relies on."""

import asyncio
import base64
import json

import pytest
from tests.scanner.conftest import running_scanner, settings_for, token
from tests.scanner.test_flow import debian_image

pytestmark = pytest.mark.anyio
REPORT = "/indexer/api/v1/index_report"
STATE = "/indexer/api/v1/index_state"
UNKNOWN = "sha256:" + "0" * 64


@pytest.fixture
def database_uri(tmp_path):
    """The contract is the edge's; what databases add to it is in test_flow and test_internal_api."""
    return f"sqlite:///{tmp_path}/scanner.db"


async def test_the_index_answer_has_what_clients_assert(scanner, registry):
    manifest = debian_image(registry)
    response, index = await scanner.index(manifest)
    _, state = await scanner.call("GET", STATE)
    assert response.headers["ETag"] == f'"{state["state"]}"'
    assert response.headers["Location"] == f"{REPORT}/{manifest['hash']}"
    assert len(response.headers.getall("Link")) == 2
    assert index["manifest_hash"] == manifest["hash"]
    assert set(index) >= {"packages", "distributions", "repository", "environments", "state"}
    for number in index["packages"]:
        assert index["environments"][number][0]["introduced_in"].startswith("sha256:")


async def test_an_index_is_read_back_and_not_modified(scanner, registry):
    manifest = debian_image(registry)
    response, index = await scanner.index(manifest)
    path = f"{REPORT}/{manifest['hash']}"
    again, same = await scanner.call("GET", path)
    assert (again.status, same) == (200, index)
    unmodified, _ = await scanner.call(
        "GET", path, headers={"If-None-Match": response.headers["ETag"]}
    )
    assert unmodified.status == 304


async def test_posting_with_the_present_state_is_a_failed_precondition(scanner, registry):
    state, _ = await scanner.call("GET", STATE)
    tag = {"If-None-Match": state.headers["ETag"]}
    response, _ = await scanner.index(debian_image(registry), **tag)
    assert response.status == 412
    unmodified, _ = await scanner.call("GET", STATE, headers=tag)
    assert unmodified.status == 304


async def test_deleting_an_index_is_204_even_when_unknown(scanner, registry):
    manifest = debian_image(registry)
    await scanner.index(manifest)
    for _ in range(2):
        response, _ = await scanner.call("DELETE", f"{REPORT}/{manifest['hash']}")
        assert response.status == 204
    response, _ = await scanner.call("GET", f"{REPORT}/{manifest['hash']}")
    assert response.status == 404


async def test_bulk_deletion_answers_what_was_known(scanner, registry):
    manifest = debian_image(registry)
    await scanner.index(manifest)
    response, gone = await scanner.call("DELETE", REPORT, document=[manifest["hash"], UNKNOWN])
    assert (response.status, gone) == (200, [manifest["hash"]])


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"hash": "", "layers": []},
        {"hash": UNKNOWN, "layers": []},
        {"hash": "sha256:short", "layers": [{"hash": UNKNOWN, "uri": "http://x/"}]},
        {"hash": UNKNOWN, "layers": [{"hash": "md5:1", "uri": "http://x/"}]},
        [],
        "text",
    ],
)
async def test_bogus_manifests_are_bad_requests(scanner, document):
    response, body = await scanner.call("POST", REPORT, document=document)
    assert (response.status, body["code"]) == (400, "bad-request")
    assert body["message"]


async def test_a_uri_that_is_not_http_is_never_opened(scanner, registry):
    manifest = debian_image(registry)
    manifest["layers"][0]["uri"] = "file:///etc/passwd"
    _, index = await scanner.index(manifest)
    assert (index["state"], "neither http" in index["err"]) == ("IndexError", True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("PUT", REPORT, 405),
        ("POST", STATE, 405),
        ("GET", f"{REPORT}/sha256:x", 400),
        ("GET", f"{REPORT}/{UNKNOWN}", 404),
        ("GET", "/matcher/api/v1/internal/update_operation?kind=other", 400),
        ("GET", "/matcher/api/v1/internal/update_diff", 400),
        ("DELETE", "/matcher/api/v1/internal/update_operation/x", 400),
    ],
)
async def test_errors_have_clairs_shape(scanner, method, path, status):
    response, body = await scanner.call(method, path)
    assert response.status == status
    assert set(body) == {"code", "message"}


async def test_an_unacceptable_type_is_415(scanner):
    response, _ = await scanner.call("GET", STATE, headers={"Accept": "text/html"})
    assert response.status == 415


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", "application/json"),
        ("*/*", "application/vnd.clair.index_state.v1+json"),
        ("application/vnd.clair.index_state.v1+json;q=0.2, application/json", "application/json"),
    ],
)
async def test_the_type_is_chosen_by_quality(scanner, accept, expected):
    response, _ = await scanner.call("GET", STATE, headers={"Accept": accept})
    assert response.headers["Content-Type"] == expected


def unsigned(**claims):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part({'iss': 'quay', **claims})}."


@pytest.mark.parametrize(
    "bearer",
    [
        "",
        "Basic cXVheTpxdWF5",
        "Bearer ",
        "Bearer nonsense",
        "Bearer " + token(key=b"another key of enough length, yes"),
        "Bearer " + token(issuer="stranger"),
        "Bearer " + token(expires_in=-20),
        "Bearer " + token(nbf=4_000_000_000),
        "Bearer " + unsigned(),
    ],
)
async def test_tokens_that_do_not_convince_are_401(scanner, bearer):
    response, body = await scanner.call("GET", STATE, headers={"Authorization": bearer})
    assert (response.status, body["code"]) == (401, "unauthorized")


async def test_clocks_may_differ_a_little(scanner):
    late = "Bearer " + token(expires_in=-10)
    response, _ = await scanner.call("GET", STATE, headers={"Authorization": late})
    assert response.status == 200


async def test_too_many_requests_are_429(database, database_uri, registry):
    settings = settings_for(database_uri, indexer={"index_report_request_concurrency": 1})
    async with running_scanner(settings) as scanner:
        first, other = debian_image(registry), registry.manifest(registry.url, b"x", name=b"2")
        answers = await asyncio.gather(scanner.index(first), scanner.index(other))
        assert sorted(response.status for response, _ in answers) == [201, 429]

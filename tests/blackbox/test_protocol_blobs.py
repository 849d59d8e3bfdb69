"""Parts of blobs, mounting without a source, and letting go of blobs, over plain HTTP."""

from email.parser import BytesParser
from email.policy import HTTP

import pytest
from tests.blackbox.test_protocol import Client

from hatoba.kernel.digests import Digest

pytestmark = pytest.mark.timeout(120)
LETTERS = b"abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def client(registry, request):
    name = request.node.originalname.removeprefix("test_").replace("_", "-")[:60].strip("-")
    return Client(registry, f"admin/{name}")


def parts_of(answer):
    """Return (Content-Range, bytes) of each part, as a mail reader sees them."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + answer.body)
    assert message.get_content_type() == "multipart/byteranges"
    return [(part["content-range"], part.get_payload(decode=True)) for part in message.iter_parts()]


def test_several_parts_of_a_blob_come_in_one_answer(client) -> None:
    digest = client.push_blob(LETTERS)
    answer = client.call("GET", f"/blobs/{digest}", Range="bytes=0-2, 10-11,-1")
    assert answer.status == 206
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["docker-content-digest"] == digest
    assert parts_of(answer) == [
        ("bytes 0-2/26", b"abc"),
        ("bytes 10-11/26", b"kl"),
        ("bytes 25-25/26", b"z"),
    ]


def test_one_part_that_exists_comes_alone(client) -> None:
    digest = client.push_blob(LETTERS)
    answer = client.call("GET", f"/blobs/{digest}", Range="bytes=3-4,90-99")
    assert (answer.status, answer.body) == (206, b"de")
    assert answer.headers["content-range"] == "bytes 3-4/26"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=" + ",".join(f"{number}-{number}" for number in range(16)), 206),
        ("bytes=" + ",".join(f"{number}-{number}" for number in range(17)), 416),
        ("bytes=0-,0-,0-", 416),
        ("bytes=" + "0-," * 5000 + "0-", 416),
        ("bytes=26-30,40-", 416),
    ],
)
def test_parts_that_are_too_many_or_too_much_are_refused(client, asked, status) -> None:
    digest = client.push_blob(LETTERS)
    answer = client.call("GET", f"/blobs/{digest}", Range=asked)
    assert answer.status == status
    if status == 416:
        assert answer.headers["content-range"] == "bytes */26"


def test_a_head_knows_no_range(client) -> None:
    digest = client.push_blob(LETTERS)
    answer = client.call("HEAD", f"/blobs/{digest}", Range="bytes=0-1")
    assert (answer.status, answer.headers["content-length"]) == (200, "26")


@pytest.mark.parametrize("condition", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
def test_a_blob_that_the_client_has_is_not_sent(client, condition) -> None:
    digest = client.push_blob(LETTERS)
    answer = client.call("GET", f"/blobs/{digest}", If_None_Match=condition.format(digest))
    assert (answer.status, answer.body) == (304, b"")


def test_a_mount_without_a_source_takes_what_may_be_pulled(client, registry) -> None:
    digest = client.push_blob(b"held by a private repository of one's own")
    other = Client(registry, f"{client.name}-2")
    answer = other.call("POST", f"/blobs/uploads/?mount={digest}")
    assert (answer.status, answer.headers["docker-content-digest"]) == (201, digest)
    assert other.call("HEAD", f"/blobs/{digest}").status == 200


def test_a_mount_without_a_source_tells_nothing_of_others(client, registry) -> None:
    secret = client.push_blob(b"of somebody else's private repository")
    robot = registry.api("PUT", "/user/robots/mounter", description="x").json
    registry.users[robot["name"]] = robot["token"]
    mine = f"{client.name}-2"
    open_name = f"{client.name}-open"
    assert Client(registry, mine).push_blob(b"makes the repository")
    path = f"/repository/{mine}/permissions/user/{robot['name']}"
    assert registry.api("PUT", path, role="write").status == 200
    headers = registry.bearer(f"repository:{mine}:pull,push", user=robot["name"])

    def mount(digest):
        query = f"/v2/{mine}/blobs/uploads/?mount={digest}"
        return registry.call("POST", query, headers=headers)

    hidden, unknown = mount(secret), mount(Digest.of(b"nowhere"))
    assert (hidden.status, unknown.status) == (202, 202)
    assert set(hidden.headers) == set(unknown.headers)
    shared = Client(registry, open_name).push_blob(b"of a public repository")
    assert mount(shared).status == 202
    shown = registry.api("POST", f"/repository/{open_name}/changevisibility", visibility="public")
    assert shown.status == 200
    assert mount(shared).status == 201


@pytest.mark.parametrize("query", ["mount=sha256:zz", "mount=", "mount=sha256:zz&from=admin/x"])
def test_a_mount_of_no_digest_is_an_upload(client, query) -> None:
    client.push_blob(b"makes the repository")
    assert client.call("POST", f"/blobs/uploads/?{query}").status == 202


def test_end_10_a_blob_that_no_manifest_names_is_let_go(client) -> None:
    digest = client.push_blob(b"pushed by mistake")
    assert client.call("HEAD", f"/blobs/{digest}").status == 200
    assert client.call("DELETE", f"/blobs/{digest}").status == 202
    for _ in range(8):  # whichever worker answers
        assert client.call("GET", f"/blobs/{digest}").code == "BLOB_UNKNOWN"
    assert client.call("DELETE", f"/blobs/{digest}").status == 404
    assert client.push_blob(b"pushed by mistake") == digest
    assert client.call("GET", f"/blobs/{digest}").body == b"pushed by mistake"


def test_end_10_a_blob_that_a_manifest_names_stays(client) -> None:
    client.push("v1", client.image("x"))
    manifest = client.call("GET", "/manifests/v1").json
    for deleted in (False, True):  # a deleted tag can be restored
        if deleted:
            assert client.call("DELETE", "/manifests/v1").status == 202
        answer = client.call("DELETE", f"/blobs/{manifest['config']['digest']}")
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert client.call("HEAD", f"/blobs/{manifest['config']['digest']}").status == 200


def test_a_push_in_one_request_that_fails_leaves_nothing(client, registry) -> None:
    wrong = Digest.of(b"other")
    answer = client.call("POST", f"/blobs/uploads/?digest={wrong}", body=b"content")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert client.call("POST", "/blobs/uploads/?digest=sha256:z", body=b"x").status == 400
    assert list(registry.directory.rglob("uploads/*")) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("upload", ["..", "%00", "a b", "x" * 300, "no-such"])
def test_uploads_that_cannot_be(client, method, upload) -> None:
    client.push_blob(b"makes the repository")
    answer = client.call(method, f"/blobs/uploads/{upload}".replace(" ", "%20"))
    assert answer.status == 404
    if method != "HEAD":
        assert answer.code in {"BLOB_UPLOAD_UNKNOWN", "UNSUPPORTED"}

"""Clients that leave in the middle of a request: nothing is half there, and nothing stays open."""

import socket
import struct
import time
from pathlib import Path

import pytest
from tests.torture.client import Client
from tests.torture.ledger import Named, digest_of
from tests.torture.stage import Replica, Stage, running_postgres, staged

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(600)]

REPOSITORY = "admin/disconnects"
SIZE = 2_000_000


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    directory = tmp_path_factory.mktemp("disconnects")
    with running_postgres() as postgres, staged(directory, postgres) as playing:
        yield playing


def leave(
    stage: Stage, method: str, path: str, *, body: bytes, sent: int, rudely: bool, read: int = 0
) -> None:
    """Send a part of a request's body, read a part of the answer, and be gone."""
    client = stage.client()
    head = (
        f"{method} /v2/{REPOSITORY}{path} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {client.token(REPOSITORY)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as wire:
        wire.sendall(head.encode() + body[:sent])
        while read > 0:
            read -= len(wire.recv(min(read, 65536)))
        if rudely:
            # Closing with this option sends RST instead of FIN.
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def open_files(replica: Replica) -> int:
    return sum(
        "/storage/" in target_of(path)
        for pid in replica.children()
        for path in Path(f"/proc/{pid}/fd").iterdir()
    )


def target_of(path: Path) -> str:
    """Return what a link names; nothing where it was closed since it was listed."""
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return ""


def wait_until_closed(replica: Replica) -> None:
    deadline = time.monotonic() + 20
    while open_files(replica):
        assert time.monotonic() < deadline, "files of clients that left stay open"
        time.sleep(0.1)


def begin(stage: Stage) -> str:
    answer = stage.client().call("POST", REPOSITORY, "/blobs/uploads/")
    return "/blobs/uploads/" + answer.headers["docker-upload-uuid"]


def finish(client: Client, upload: str, *, content: bytes, rest: bytes) -> None:
    """Send the rest; where the request that broke off is only being read, try again."""
    deadline = time.monotonic() + 20
    path = f"{upload}?digest={digest_of(content)}"
    while (status := client.call("PUT", REPOSITORY, path, body=rest).status) == 409:
        assert time.monotonic() < deadline, "the upload stays busy"
        time.sleep(0.1)
    assert status == 201


@pytest.mark.parametrize("rudely", [False, True])
def test_a_patch_that_breaks_off_acknowledges_nothing_and_goes_on(stage, torture, rudely) -> None:
    dice, client = torture.random(rudely), stage.client()
    for _ in range(5):
        content = dice.randbytes(SIZE)
        upload, stands = begin(stage), dice.randrange(1000, SIZE // 2)
        assert client.call("PATCH", REPOSITORY, upload, body=content[:stands]).status == 202
        rest = content[stands:]
        sent = dice.randrange(len(rest))
        leave(stage, "PATCH", upload, body=rest, sent=sent, rudely=rudely)
        wait_until_closed(stage.replicas[0])
        status = client.call("GET", REPOSITORY, upload)
        assert status.headers["range"] == f"0-{stands - 1}"
        finish(client, upload, content=content, rest=rest)
        blob = Named(REPOSITORY, digest_of(content))
        stage.ledger.blob_acknowledged(blob, len(content))
        stage.ledger.found_blob(blob, client.get(REPOSITORY, f"/blobs/{blob.name}").body)
    stage.verdict()


@pytest.mark.parametrize("rudely", [False, True])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_push_that_breaks_off_makes_no_blob(stage, torture, method, rudely) -> None:
    dice, client = torture.random(f"{method} {rudely}"), stage.client()
    for _ in range(4):
        content = dice.randbytes(SIZE)
        path = "/blobs/uploads/" if method == "POST" else begin(stage)
        target = f"{path}?digest={digest_of(content)}"
        sent = dice.randrange(SIZE)
        leave(stage, method, target, body=content, sent=sent, rudely=rudely)
        wait_until_closed(stage.replicas[0])
        assert client.call("GET", REPOSITORY, f"/blobs/{digest_of(content)}").status == 404
        answer = client.call(
            "POST", REPOSITORY, f"/blobs/uploads/?digest={digest_of(content)}", body=content
        )
        assert answer.status == 201
    stage.verdict()


@pytest.mark.parametrize("rudely", [False, True])
def test_a_manifest_that_breaks_off_makes_no_tag(stage, rudely) -> None:
    body = b'{"schemaVersion": 2, "config": {' + b" " * 10_000
    for sent in (0, 1, 5000, len(body) - 1):
        leave(stage, "PUT", "/manifests/half", body=body, sent=sent, rudely=rudely)
    time.sleep(0.5)
    assert stage.client().call("GET", REPOSITORY, "/manifests/half").status == 404
    stage.verdict()


@pytest.mark.parametrize("rudely", [False, True])
def test_a_pull_that_breaks_off_leaves_nothing_open(stage, torture, rudely) -> None:
    dice = torture.random(rudely)
    content = dice.randbytes(20_000_000)
    path = f"/blobs/uploads/?digest={digest_of(content)}"
    assert stage.client().call("POST", REPOSITORY, path, body=content).status == 201
    for _ in range(10):
        read = dice.randrange(1, 2_000_000)
        leave(
            stage, "GET", f"/blobs/{digest_of(content)}", body=b"", sent=0, rudely=rudely, read=read
        )
    wait_until_closed(stage.replicas[0])
    stage.verdict()


def test_uploads_of_clients_that_left_are_forgotten(stage) -> None:
    upload = begin(stage)
    leave(stage, "PATCH", upload, body=b"x" * SIZE, sent=SIZE // 2, rudely=True)
    leave(
        stage,
        "POST",
        "/blobs/uploads/?digest=sha256:" + "0" * 64,
        body=b"x" * 99,
        sent=9,
        rudely=True,
    )
    wait_until_closed(stage.replicas[0])
    stage.expire_uploads()

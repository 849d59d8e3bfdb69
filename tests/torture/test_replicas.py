"""Two registries on one database: what one of them acknowledged, the other never serves old.

The other one is stopped by SIGSTOP while the change happens, so that no message can have reached
it, and is asked the very moment it goes on; requests wait in its backlog, and on connections that
were open before.
"""

import http.client
import signal
from contextlib import contextmanager

import pytest
from tests.torture.client import Client
from tests.torture.ledger import digest_of
from tests.torture.pushers import image
from tests.torture.stage import Replica, Stage, running_postgres, staged

from hatoba.oci import media_types

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

WARM = 12
"""Requests that let both workers of a registry remember what they can."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    directory = tmp_path_factory.mktemp("replicas")
    with running_postgres() as postgres, staged(directory, postgres, replicas=2) as playing:
        yield playing


@pytest.fixture
def repository(request) -> str:
    return f"admin/{request.node.originalname.replace('_', '-')[:60]}"


def push_blob(client: Client, repository: str, content: bytes) -> None:
    path = f"/blobs/uploads/?digest={digest_of(content)}"
    assert client.call("POST", repository, path, body=content).status == 201


def push(client: Client, repository: str, tag: str, text: str) -> str:
    """Push an image under a tag; return its digest."""
    config = b'{"os": "linux", "text": "%s"}' % text.encode()
    layer = text.encode()
    push_blob(client, repository, config)
    push_blob(client, repository, layer)
    manifest = image(config, layer)
    answer = client.call(
        "PUT",
        repository,
        f"/manifests/{tag}",
        body=manifest,
        Content_Type=media_types.OCI_MANIFEST,
    )
    assert answer.status == 201, answer
    return digest_of(manifest)


def warm(client: Client, repository: str, *references: str) -> None:
    for _ in range(WARM):
        for reference in references:
            answer = client.call("GET", repository, f"/manifests/{reference}")
            assert answer.status == 200, answer


@contextmanager
def stopped(replica: Replica):
    """Stop a registry; go on when the block ends."""
    replica.signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        replica.signal_all(signal.SIGCONT)


class Waiting:
    """Requests that lie before a stopped registry, half of them on connections it knows."""

    def __init__(self, client: Client, repository: str, reference: str, *, method: str = "GET"):
        self._client, self._method = client, method
        self._path = f"/v2/{repository}/manifests/{reference}"
        self._headers = {"Authorization": f"Bearer {client.token(repository)}"}
        self._open = [self._connection() for _ in range(WARM)]
        for connection in self._open[::2]:
            self._ask(connection)
            connection.getresponse().read()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._client.port, timeout=30)

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        connection.request(self._method, self._path, headers=self._headers)

    def send(self) -> None:
        for connection in self._open:
            self._ask(connection)

    def receive(self) -> set[tuple[int, str | None]]:
        """Return the different answers: status and digest."""
        answers = set()
        for connection in self._open:
            response = connection.getresponse()
            response.read()
            answers.add((response.status, response.headers.get("Docker-Content-Digest")))
            connection.close()
        return answers


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_moved_tag_is_never_served_old(stage: Stage, repository, method) -> None:
    here, there = stage.client(0), stage.client(1)
    for round_number in range(4):
        old = push(here, repository, "latest", f"{method} {round_number} old")
        warm(there, repository, "latest", old)
        waiting = Waiting(there, repository, "latest", method=method)
        with stopped(stage.replicas[1]):
            new = push(here, repository, "latest", f"{method} {round_number} new")
            waiting.send()
        assert waiting.receive() == {(200, new)}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_deleted_tag_is_never_served_again(stage: Stage, repository, method) -> None:
    here, there = stage.client(0), stage.client(1)
    digest = push(here, repository, "gone", f"{method} doomed")
    push(here, repository, "stays", f"{method} other")
    warm(there, repository, "gone", digest)
    waiting = Waiting(there, repository, "gone", method=method)
    with stopped(stage.replicas[1]):
        assert here.call("DELETE", repository, "/manifests/gone").status == 202
        waiting.send()
    assert {status for status, _ in waiting.receive()} == {404}
    assert there.call("GET", repository, "/manifests/stays").status == 200


def test_a_deleted_tag_is_gone_from_the_list(stage: Stage, repository) -> None:
    here, there = stage.client(0), stage.client(1)
    push(here, repository, "gone", "listed")
    assert b'"gone"' in there.call("GET", repository, "/tags/list").body
    with stopped(stage.replicas[1]):
        assert here.call("DELETE", repository, "/manifests/gone").status == 202
    assert b'"gone"' not in there.call("GET", repository, "/tags/list").body


def test_what_one_worker_acknowledged_every_worker_knows(stage: Stage, repository) -> None:
    clients = [stage.client(0), stage.client(1)]
    for number in range(30):
        writer, reader = clients[number % 2], clients[(number + 1) % 2]
        digest = push(writer, repository, "latest", f"number {number}")
        for _ in range(4):
            answer = reader.call("GET", repository, "/manifests/latest")
            assert (answer.status, digest_of(answer.body)) == (200, digest)

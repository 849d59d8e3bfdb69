"""Clients that race on one tag, one upload, one digest: one order of events, for everybody."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from tests.torture.client import Answer, Client
from tests.torture.ledger import digest_of
from tests.torture.pushers import image
from tests.torture.stage import Stage, running_postgres, staged

from hatoba.oci import media_types

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(600)]

RACERS = 8


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    directory = tmp_path_factory.mktemp("races")
    with running_postgres() as postgres, staged(directory, postgres, replicas=2) as playing:
        yield playing


@pytest.fixture
def repository(request) -> str:
    return f"admin/{request.node.originalname.replace('_', '-')[:60]}"


def race(runners: list[Callable[[], Answer]]) -> list[Answer]:
    """Run all at once; return their answers in the runners' order."""
    start = threading.Barrier(len(runners))
    answers: dict[int, Answer] = {}

    def run(number: int) -> None:
        start.wait(30)
        answers[number] = runners[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(runners))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return [answers[number] for number in range(len(runners))]


def push_blob(client: Client, repository: str, content: bytes) -> Answer:
    path = f"/blobs/uploads/?digest={digest_of(content)}"
    return client.call("POST", repository, path, body=content)


def put(client: Client, repository: str, tag: str, manifest: bytes) -> Answer:
    return client.call(
        "PUT",
        repository,
        f"/manifests/{tag}",
        body=manifest,
        Content_Type=media_types.OCI_MANIFEST,
    )


def manifests(client: Client, repository: str, count: int) -> list[bytes]:
    config = b'{"os": "linux"}'
    push_blob(client, repository, config)
    made = []
    for number in range(count):
        layer = f"layer {number}".encode()
        push_blob(client, repository, layer)
        made.append(image(config, layer))
    return made


def warmed(stage: Stage, repository: str, count: int) -> list[Client]:
    """Return clients of both registries in turn, which have their tokens."""
    clients = [stage.client(number % 2) for number in range(count)]
    for client in clients:
        client.token(repository)
    return clients


def test_pushes_of_one_tag_happen_one_after_another(stage: Stage, torture, repository) -> None:
    clients = warmed(stage, repository, RACERS)
    made = manifests(clients[0], repository, RACERS)
    for _ in range(round(torture.seconds(5, shares=0.5) / 1.5)):
        answers = race(
            [
                partial(put, one, repository, "raced", m)
                for one, m in zip(clients, made, strict=True)
            ]
        )
        assert {answer.status for answer in answers} == {201}
        seen = [client.get(repository, "/manifests/raced").body for client in clients]
        assert len(set(seen)) == 1, "two registries disagree"
        assert seen[0] in made
        tags = json.loads(clients[0].get(repository, "/tags/list").body)["tags"]
        assert tags == ["raced"]
        page = stage.api("GET", f"/repository/{repository}/tag/?specificTag=raced&limit=100")
        alive = [row for row in page["tags"] if "end_ts" not in row]
        assert [row["manifest_digest"] for row in alive] == [digest_of(seen[0])]
    stage.verdict()


def test_a_push_and_a_delete_of_one_tag_leave_what_the_last_of_them_says(
    stage: Stage, repository
) -> None:
    clients = warmed(stage, repository, 2)
    [manifest] = manifests(clients[0], repository, 1)
    outcomes: Counter[tuple[int, int]] = Counter()
    for _ in range(20):
        assert put(clients[0], repository, "raced", manifest).status == 201
        pushed, deleted = race(
            [
                partial(put, clients[0], repository, "raced", manifest),
                partial(clients[1].call, "DELETE", repository, "/manifests/raced"),
            ]
        )
        assert (pushed.status, deleted.status) == (201, 202)
        seen = [client.get(repository, "/manifests/raced").status for client in clients]
        assert len(set(seen)) == 1, "two registries disagree"
        outcomes[seen[0], deleted.status] += 1
        put(clients[0], repository, "raced", manifest)
    print(outcomes)
    stage.verdict()


def test_one_of_two_patches_at_the_same_place_wins(stage: Stage, torture, repository) -> None:
    dice = torture.random()
    clients = warmed(stage, repository, 2)
    for _ in range(10):
        begun = clients[0].call("POST", repository, "/blobs/uploads/")
        upload = "/blobs/uploads/" + begun.headers["docker-upload-uuid"]
        chunks = [dice.randbytes(dice.randrange(1000, 300_000)) for _ in clients]
        answers = race(
            [
                partial(
                    one.call,
                    *("PATCH", repository, upload),
                    body=chunk,
                    Content_Range=f"0-{len(chunk) - 1}",
                )
                for one, chunk in zip(clients, chunks, strict=True)
            ]
        )
        winners = [n for n, answer in enumerate(answers) if answer.status == 202]
        assert len(winners) == 1, [answer.status for answer in answers]
        assert answers[1 - winners[0]].status in {409, 416}
        content = chunks[winners[0]]
        path = f"{upload}?digest={digest_of(content)}"
        assert clients[0].call("PUT", repository, path).status == 201
        assert clients[1].get(repository, f"/blobs/{digest_of(content)}").body == content
    stage.verdict()


def test_an_upload_is_finished_once(stage: Stage, torture, repository) -> None:
    dice = torture.random()
    clients = warmed(stage, repository, 4)
    for _ in range(8):
        begun = clients[0].call("POST", repository, "/blobs/uploads/")
        upload = "/blobs/uploads/" + begun.headers["docker-upload-uuid"]
        content = dice.randbytes(200_000)
        path = f"{upload}?digest={digest_of(content)}"
        answers = race(
            [partial(one.call, "PUT", repository, path, body=content) for one in clients]
        )
        statuses = sorted(answer.status for answer in answers)
        assert statuses[0] == 201
        assert set(statuses[1:]) <= {404, 409}, statuses
        assert clients[1].get(repository, f"/blobs/{digest_of(content)}").body == content
    assert stage.uploads() == (0, [])
    stage.verdict()


def test_a_cancel_and_a_finish_agree(stage: Stage, torture, repository) -> None:
    dice = torture.random()
    clients = warmed(stage, repository, 2)
    for _ in range(10):
        begun = clients[0].call("POST", repository, "/blobs/uploads/")
        upload = "/blobs/uploads/" + begun.headers["docker-upload-uuid"]
        content = dice.randbytes(dice.choice([10, 2_000_000]))
        path = f"{upload}?digest={digest_of(content)}"
        finished, cancelled = race(
            [
                partial(clients[0].call, "PUT", repository, path, body=content),
                partial(clients[1].call, "DELETE", repository, upload),
            ]
        )
        assert cancelled.status in {204, 404, 409}
        assert finished.status in {201, 404, 409}
        got = clients[1].get(repository, f"/blobs/{digest_of(content)}")
        assert (got.status == 200) == (finished.status == 201)
    assert stage.uploads() == (0, [])
    stage.verdict()


def test_the_same_bytes_pushed_at_once_are_one_blob(stage: Stage, torture, repository) -> None:
    clients = warmed(stage, repository, RACERS)
    for number in range(5):
        content = torture.random(number).randbytes(100_000)
        answers = race([partial(push_blob, one, repository, content) for one in clients])
        assert {answer.status for answer in answers} == {201}
        rows = stage.postgres.query(
            "SELECT count(*) AS n FROM imagestorage "
            f"WHERE content_checksum = '{digest_of(content)}'"
        )
        assert rows[0]["n"] == 1
        assert clients[0].get(repository, f"/blobs/{digest_of(content)}").body == content
    stage.verdict()


def test_the_same_manifest_pushed_at_once_is_one_manifest(stage: Stage, repository) -> None:
    clients = warmed(stage, repository, RACERS)
    [manifest] = manifests(clients[0], repository, 1)
    tags = [f"t{number}" for number in range(RACERS)]
    answers = race(
        [partial(put, one, repository, t, manifest) for one, t in zip(clients, tags, strict=True)]
    )
    assert {answer.status for answer in answers} == {201}
    listed = json.loads(clients[0].get(repository, "/tags/list").body)["tags"]
    assert sorted(listed) == tags
    stage.verdict()

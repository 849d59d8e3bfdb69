"""Clocks that are wrong, and clocks that jump: replicas agree, and nothing is lost.

libfaketime gives a registry a time of its own, which a file changes while it runs.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.torture.client import Client
from tests.torture.ledger import digest_of
from tests.torture.pushers import image, read_everything
from tests.torture.stage import Stage

from hatoba.oci import media_types

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]

REPOSITORY = "admin/clocks"
LONG = {
    "PUSH_TEMP_TAG_EXPIRATION_SEC": 10 * 365 * 86400,
    "UPLOAD_LIFETIME": "520w",
    "FEATURE_GARBAGE_COLLECTION": False,
}
"""Nothing may expire rightly while the clocks are moved by months."""


Put = Callable[[timedelta], None]


@pytest.fixture
def wrong_clock() -> Iterator[tuple[dict[str, str], Put]]:
    with faked_time() as faked:
        yield faked


@contextmanager
def faked_time() -> Iterator[tuple[dict[str, str], Put]]:
    """Give the environment of a process with a wrong clock, and how to set that clock."""
    [*found] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    if not found:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    with TemporaryDirectory(prefix="hatoba-clock-") as directory:
        # PostgreSQL runs as somebody else than root, and has to read this as well.
        Path(directory).chmod(0o755)
        setting = Path(directory, "faketime")

        def put(offset: timedelta) -> None:
            # By renaming, as a file that is empty for an instant would stand for the right time.
            fresh = setting.with_suffix(".new")
            fresh.write_text(f"{offset.total_seconds():+.0f}\n")
            fresh.rename(setting)

        put(timedelta())
        yield (
            {
                "LD_PRELOAD": str(found[0]),
                "FAKETIME_TIMESTAMP_FILE": str(setting),
                "FAKETIME_NO_CACHE": "1",
                # Real clocks that are set do not move these either.
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            },
            put,
        )


def database_error(stage: Stage) -> timedelta:
    """Return by how much the database's clock is wrong."""
    found: datetime = stage.postgres.query("SELECT clock_timestamp() AS now")[0]["now"]
    return timedelta(seconds=found.timestamp() - time.time())


def push(client: Client, text: str) -> str:
    config = b'{"os": "linux", "text": "%s"}' % text.encode()
    path = f"/blobs/uploads/?digest={digest_of(config)}"
    assert client.call("POST", REPOSITORY, path, body=config).status == 201
    manifest = image(config, config)
    answer = client.call(
        "PUT",
        REPOSITORY,
        "/manifests/latest",
        body=manifest,
        Content_Type=media_types.OCI_MANIFEST,
    )
    assert answer.status == 201, answer
    return digest_of(manifest)


@pytest.mark.parametrize("offset", [timedelta(hours=3), -timedelta(hours=3)])
def test_a_replica_whose_clock_is_wrong_agrees_with_the_others(play, wrong_clock, offset) -> None:
    environment, put = wrong_clock
    stage: Stage = play(replicas=2)
    put(offset)
    wrong = stage.replicas[1]
    wrong.stop()
    wrong.environment = environment
    wrong.start()
    clients = [stage.client(0), stage.client(1)]
    for number in range(6):
        writer, reader = clients[number % 2], clients[(number + 1) % 2]
        digest = push(writer, f"{offset} {number}")
        assert digest_of(reader.call("GET", REPOSITORY, "/manifests/latest").body) == digest
        reader.tokens = dict(writer.tokens)
        if number % 3 == 2:
            assert writer.call("DELETE", REPOSITORY, "/manifests/latest").status == 202
            for client in clients:
                assert client.call("GET", REPOSITORY, "/manifests/latest").status == 404
    assert stage.ledger.counts["status 401"] == 0, "a replica did not take the other one's token"
    assert "clocks differ" in wrong.log.read_text()
    stage.verdict()


def test_jumps_of_the_clock_lose_nothing(play, wrong_clock, torture) -> None:
    environment, put = wrong_clock
    dice = torture.random("jumps")
    stage: Stage = play(environment=environment, **LONG)
    with torture.crowd(stage):
        for _ in torture.instants(stage, short=5, least=6):
            put(timedelta(seconds=dice.choice([-1, 1]) * dice.choice([2, 400, 10_000, 5_000_000])))
    put(timedelta())
    time.sleep(0.1)
    read_everything(stage.client())
    print(dict(stage.ledger.counts))
    assert stage.ledger.counts["status 503"] == 0
    assert stage.ledger.counts["connections broken"] == 0
    stage.verdict()


def test_jumps_of_the_database_s_clock_lose_nothing(play, wrong_clock, torture) -> None:
    """PostgreSQL's time is everybody's: here it moves under all of them."""
    environment, put = wrong_clock
    dice = torture.random("jumps")
    stage: Stage = play(database_environment=environment, **LONG)
    with torture.crowd(stage, deletes=False):
        for _ in torture.instants(stage, short=5, least=4):
            offset = timedelta(seconds=dice.choice([-1, 1]) * dice.choice([2, 400, 10_000]))
            put(offset)
            assert abs(database_error(stage) - offset) < timedelta(seconds=2), "it did not move"
            stage.replicas[0].kill()
            stage.replicas[0].start()
    read_everything(stage.client())
    print(dict(stage.ledger.counts))
    stage.verdict()

"""Before a 201: write, fsync of the file, rename, fsync of the directory, COMMIT. Seen by strace."""

import json
import os
import shutil
import time

import pytest
from tests.torture.ledger import digest_of
from tests.torture.pushers import image
from tests.torture.stage import Stage
from tests.torture.trace import CALLS, OutOfOrder, Trace, parse, read

from hatoba.oci import media_types

REPOSITORY = "admin/traced"


@pytest.fixture
def traced(play, tmp_path):
    """A registry that strace watches, and how to read what it saw."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    output = tmp_path / "trace"
    strace = ["strace", "-D", "-f", "-yy", "-s", "3000", "-e", f"trace={CALLS}", "-o", str(output)]
    stage: Stage = play(prefix=tuple(strace))

    def seen() -> Trace:
        time.sleep(0.5)  # strace writes the last lines after the client has its answer
        return Trace(
            events=read(output),
            database_port=stage.postgres.port,
            registry_port=stage.replicas[0].port,
        )

    return stage, seen


def push(stage: Stage, content: bytes, *, chunks: int) -> str:
    """Push a blob in so many parts; return the id of its upload."""
    client = stage.client()
    begun = client.call("POST", REPOSITORY, "/blobs/uploads/")
    upload = begun.headers["docker-upload-uuid"]
    path = f"/blobs/uploads/{upload}"
    size = len(content) // chunks
    for number in range(chunks - 1):
        part = content[number * size : (number + 1) * size]
        assert client.call("PATCH", REPOSITORY, path, body=part).status == 202
    rest = content[(chunks - 1) * size :]
    end = client.call("PUT", REPOSITORY, f"{path}?digest={digest_of(content)}", body=rest)
    assert end.status == 201, end
    return upload


@pytest.mark.postgres
@pytest.mark.timeout(240)
def test_a_201_is_sent_after_everything_is_durable(traced) -> None:
    stage, seen = traced
    small, large = os.urandom(1000), os.urandom(3 << 20)
    blobs = {
        digest_of(small): push(stage, small, chunks=1),
        digest_of(large): push(stage, large, chunks=3),
    }
    config = json.dumps({"os": "linux"}).encode()
    push(stage, config, chunks=1)
    manifest = image(config, small)
    client = stage.client()
    for reference in ("v1", digest_of(manifest)):
        answer = client.call(
            "PUT",
            REPOSITORY,
            f"/manifests/{reference}",
            body=manifest,
            Content_Type=media_types.OCI_MANIFEST,
        )
        assert answer.status == 201, answer
    trace = seen()
    for digest, upload in blobs.items():
        steps = trace.durable_blob(digest=digest, upload=upload)
        assert len(steps) == 7, steps
    assert len(trace.durable_manifest(digest=digest_of(manifest))) == 3
    assert not any("synchronous_commit" in event.text for event in trace.events)


@pytest.mark.postgres
@pytest.mark.timeout(240)
def test_a_directory_that_somebody_else_made_is_made_durable(traced) -> None:
    """Whoever made it may not have come to its fsync yet; a blob in it is lost with it."""
    stage, seen = traced
    content = os.urandom(1000)
    digest = digest_of(content)
    (stage.storage / "sha256" / digest[7:9]).mkdir(parents=True)
    push(stage, content, chunks=1)
    seen().durable_directory(digest=digest)


DIGEST = "sha256:" + "ab" * 32
FILE = "7</data/uploads/u1>"
DATABASE = "9<TCP:[127.0.0.1:4000->127.0.0.1:5432]>"
CLIENT = "11<TCP:[127.0.0.1:8080->127.0.0.1:5000]>"
GOOD = [
    f'1  sendto({DATABASE}, "B {DIGEST}", 90, 0) = 90',
    f'2  write({FILE}, "bytes", 5) = 5',
    f"2  fsync({FILE}) = 0",
    f'2  rename("/data/uploads/u1", "/data/sha256/ab/{"ab" * 32}") = 0',
    "2  fsync(8</data/sha256/ab>) = 0",
    f'1  sendto({DATABASE}, "Q\\0\\0\\0\\14COMMIT;\\0", 13, 0) = 13',
    f'1  recvfrom({DATABASE}, "C\\0\\0\\0\\vCOMMIT\\0Z\\0\\0\\0\\5I", 99, 0) = 18',
    f'1  sendto({CLIENT}, "HTTP/1.1 201 Created {DIGEST}", 99, 0) = 99',
]


def judged(lines: list[str]) -> list[str]:
    trace = Trace(events=parse(lines), database_port=5432, registry_port=8080)
    return trace.durable_blob(digest=DIGEST, upload="u1")


def test_the_order_is_recognised() -> None:
    calls = ["write", "fsync", "rename", "fsync", "sendto", "recvfrom", "sendto"]
    assert judged(GOOD) == calls


@pytest.mark.parametrize("position", range(1, len(GOOD) - 1))
def test_two_steps_the_wrong_way_round_are_noticed(position) -> None:
    swapped = list(GOOD)
    swapped[position], swapped[position + 1] = swapped[position + 1], swapped[position]
    with pytest.raises(OutOfOrder):
        judged(swapped)


@pytest.mark.parametrize("position", range(len(GOOD)))
def test_a_step_that_is_left_out_is_noticed(position) -> None:
    with pytest.raises(OutOfOrder):
        judged(GOOD[:position] + GOOD[position + 1 :])


def test_a_step_that_has_not_ended_does_not_count() -> None:
    slow = list(GOOD)
    slow[4] = "2  fsync(8</data/sha256/ab> <unfinished ...>"
    slow.insert(6, "2  <... fsync resumed>) = 0")
    with pytest.raises(OutOfOrder, match="fsync of the directory"):
        judged(slow)


def test_a_step_that_failed_does_not_count() -> None:
    failed = list(GOOD)
    failed[2] = f"2  fsync({FILE}) = -1 EIO (Input/output error)"
    with pytest.raises(OutOfOrder, match="fsync of the file"):
        judged(failed)


def test_bytes_behind_the_fsync_are_noticed() -> None:
    late = [*GOOD[:3], f'2  write({FILE}, "more", 4) = 4', *GOOD[3:]]
    with pytest.raises(OutOfOrder, match="behind the fsync"):
        judged(late)

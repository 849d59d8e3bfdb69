"""Collectors are killed while images come and go: what is acknowledged stays, all else goes.

The contents are few, so that the same digests are pushed, deleted, mounted and collected at the
same time, over and over.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import bytecode
from tests.torture.client import Answer, Refused
from tests.torture.ledger import Named, digest_of
from tests.torture.pushers import Crowd, Pusher, image
from tests.torture.stage import Stage

from hatoba.oci import media_types

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]

_MADE = random.Random("few contents")
LAYERS = [_MADE.randbytes(size) for size in (1, 2, 500, 700, 20_000, 30_000, 70_000, 200_000)]
CONFIGS = [json.dumps({"os": "linux", "number": number}).encode() for number in range(6)]
TAGS = 2
"""Fewer than contents, so that most contents are named by nothing most of the time."""
COLLECTORS = 3


@dataclass(kw_only=True)
class Mixer(Pusher):
    """Pushes, mounts and deletes few images in many repositories, and looks at them whole."""

    def step(self) -> None:
        steps = [self.push_image] * 3 + [self.remove] * 3 + [self.look]
        self.random.choice(steps)()

    def push_image(self) -> None:
        config, layer = self.random.choice(CONFIGS), self.random.choice(LAYERS)
        for content in (config, layer):
            if not self._mounted(content):
                self.push_at_once(content)
        manifest = image(config, layer)
        tag = Named(self.repository, f"t{self.random.randrange(TAGS)}")
        before = self.client.ledger.tag_begins(tag, digest_of(manifest))
        answer = self.client.call(
            "PUT",
            self.repository,
            f"/manifests/{tag.name}",
            body=manifest,
            Content_Type=media_types.OCI_MANIFEST,
        )
        self._decide(answer, tag, target=digest_of(manifest), before=before, success=201)
        whole(self, tag)

    def remove(self) -> None:
        self.delete_tag(f"t{self.random.randrange(TAGS)}")

    def look(self) -> None:
        whole(self, Named(self.repository, f"t{self.random.randrange(TAGS)}"))

    def _mounted(self, content: bytes) -> bool:
        """Ask for a blob from wherever it may be; what was begun instead is cancelled."""
        answer = self._call("POST", f"/blobs/uploads/?mount={digest_of(content)}")
        if answer.status == 201:
            self.client.ledger.count("mounted")
            return True
        self._call("DELETE", self._location(answer))
        return False

    def _acknowledge(self, content: bytes, answer: Answer) -> None:
        # Until a manifest names it a blob is only held for a time, which this test cuts short.
        assert answer.status == 201, answer
        self.client.ledger.count("blobs acknowledged")


def whole(mixer: Mixer, tag: Named) -> None:
    """Read an image down to its last byte, and hold it against the ledger.

    Nobody but the caller changes the tags of his repository.
    """
    client, ledger = mixer.client, mixer.client.ledger
    answer = client.get(tag.repository, f"/manifests/{tag.name}")
    if answer.status == 404:
        ledger.found(tag, None)
        return
    if answer.status != 200:
        raise Refused(answer)
    ledger.found(tag, digest_of(answer.body))
    document = json.loads(answer.body)
    for part in (document["config"], *document["layers"]):
        blob = client.get(tag.repository, f"/blobs/{part['digest']}")
        if blob.status not in {200, 404}:
            raise Refused(blob)
        if blob.status == 404 or digest_of(blob.body) != part["digest"]:
            ledger.lost.append(f"{part['digest']} of {tag}: {blob.status}")
    ledger.count("images read")


@dataclass(kw_only=True)
class Collectors:
    """The processes that collect beside the registry."""

    process: subprocess.Popen[bytes]
    log: Path

    def at_work(self) -> list[int]:
        """Return the pids of those that have begun to collect."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        told = self.log.read_text(errors="replace")
        return [int(pid) for pid in path.read_text().split() if f"collector {pid} is" in told]

    def kill_one(self, dice: random.Random) -> None:
        """Kill one that is at work, at some instant of it."""
        deadline = time.monotonic() + 60
        while not self.at_work():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, "no collector begins"
            time.sleep(0.02)
        time.sleep(dice.uniform(0, 1.2))
        os.kill(dice.choice(self.at_work()), signal.SIGKILL)

    def deleted(self) -> int:
        return self.log.read_text(errors="replace").count("blob deleted")


def command(stage: Stage, count: int) -> list[str]:
    return [sys.executable, "-m", "tests.torture.collecting", str(stage.directory), str(count)]


@contextmanager
def collecting(stage: Stage) -> Iterator[Collectors]:
    log = stage.directory / "log-collectors"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(stage, COLLECTORS),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=bytecode.environment(HATOBA_DATA=str(stage.directory)),
        )
    try:
        yield Collectors(process=process, log=log)
        assert process.poll() is None, log.read_text()[-3000:]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def end_holds(stage: Stage) -> None:
    """Let the time pass for which a blob is kept for the push that is under way."""
    stage.postgres.query("UPDATE uploadedblob SET expires_at = expires_at - interval '1 day'")


def collect_the_rest(stage: Stage) -> None:
    """Collect until nothing is left that may go; the quarantine is waited for by looking again."""
    deadline = time.monotonic() + 60
    while True:
        subprocess.run(
            command(stage, 0),
            check=True,
            capture_output=True,
            timeout=120,
            env=bytecode.environment(HATOBA_DATA=str(stage.directory)),
        )
        waiting = stage.postgres.query("SELECT count(*) AS n FROM hatoba_blob_quarantine")[0]["n"]
        if waiting == 0:
            return
        assert time.monotonic() < deadline, f"{waiting} blobs stay in quarantine"


def reachable(stage: Stage) -> set[str]:
    """Return the digests of blobs that the acknowledged tags name."""
    targets = {target for names in stage.ledger.tags.values() for target in names if target}
    images = {digest_of(image(c, layer)): (c, layer) for c in CONFIGS for layer in LAYERS}
    return {digest_of(content) for target in targets for content in images[target]}


def stored(stage: Stage) -> set[str]:
    files = (stage.storage / "sha256").glob("??/*")
    return {f"sha256:{path.name}" for path in files if path.is_file()}


def known(stage: Stage) -> set[str]:
    rows = stage.postgres.query("SELECT content_checksum AS digest FROM imagestorage")
    return {row["digest"] for row in rows}


def test_killed_collectors_lose_nothing_and_leave_nothing(play, torture) -> None:
    stage = play(FEATURE_GARBAGE_COLLECTION=False, DEFAULT_TAG_EXPIRATION="0s")
    mixers = [
        Mixer(
            client=stage.client(),
            repository=f"admin/mixed-{number}",
            random=torture.random(f"mixer-{number}"),
        )
        for number in range(3)
    ]
    dice, kills = torture.random("victims"), 0
    with collecting(stage) as collectors:
        with Crowd(pushers=list(mixers)):
            for _ in torture.instants(stage, short=8, least=10, most_answers=10, shares=2):
                end_holds(stage)
                collectors.kill_one(dice)
                kills += 1
            # Those that are left have the time that a slow machine needs for something to go.
            deadline = time.monotonic() + 60
            while not collectors.deleted() and time.monotonic() < deadline:
                end_holds(stage)
                time.sleep(0.2)
        deleted = collectors.deleted()
    print(f"{kills} killed, {deleted} blobs deleted beside: {dict(stage.ledger.counts)}")
    assert deleted > 0, "nothing was collected while images came and went"
    assert all(len(names) == 1 for names in stage.ledger.tags.values()), "nothing is in doubt"
    end_holds(stage)
    collect_the_rest(stage)
    for tag in stage.ledger.tags:
        whole(mixers[int(tag.repository[-1])], tag)
    stage.verdict()
    assert stored(stage) == known(stage) == reachable(stage)

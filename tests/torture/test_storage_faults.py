"""A storage that fails or is slow, at every call that makes bytes durable.

strace answers the system calls of the workers in the kernel's place, so that the real driver meets
the errors of a real, dying disk.
"""

import os
import shutil
import time

import pytest
from tests.torture.pushers import read_everything

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]

DURABLE = "fsync,fdatasync,rename"


def disturbing(*injections: str) -> tuple[str, ...]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    parts = [part for one in injections for part in ("-e", f"inject={one}")]
    return ("strace", "-D", "-f", "-o", os.devnull, "-e", f"trace={DURABLE}", *parts)


def test_a_failing_storage_is_told_and_loses_nothing(play, torture) -> None:
    stage = play(
        prefix=disturbing(
            "fsync:error=EIO:when=3+6",
            "fdatasync:error=EIO:when=2+4",
            "rename:error=ENOSPC:when=2+5",
        )
    )
    with torture.crowd(stage):
        time.sleep(torture.seconds(5, shares=1))
    read_everything(stage.client())
    print(dict(stage.ledger.counts))
    assert stage.ledger.counts["status 503"] > 0, "no request met the fault"
    assert stage.ledger.counts["blobs acknowledged"] > 0
    assert stage.ledger.counts["connections broken"] == 0
    stage.verdict()
    stage.replicas[0].prefix = ()
    stage.expire_uploads()


def test_a_slow_storage_delays_its_own_requests_alone(play, torture) -> None:
    stage = play(prefix=disturbing("fsync,fdatasync:delay_enter=700000"))
    client, slowest = stage.client(), 0.0
    with torture.crowd(stage):
        end = time.monotonic() + torture.seconds(5)
        while time.monotonic() < end:
            before = time.monotonic()
            assert client.send("GET", "/v2/auth?service=x&scope=repository:a/b:pull").status == 200
            slowest = max(slowest, time.monotonic() - before)
    read_everything(stage.client())
    print(f"slowest {slowest:.2f} s, {dict(stage.ledger.counts)}")
    assert slowest < 5, "other requests waited for the disk"
    assert stage.ledger.counts["blobs acknowledged"] > 0
    assert stage.ledger.counts["status 503"] == 0
    stage.verdict()

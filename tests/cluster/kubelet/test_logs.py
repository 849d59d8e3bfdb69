"""Logs: what the shim writes and what readers get."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hatoba.cluster.kubelet.logs import last_words, select, stream
from hatoba.cluster.kubelet.shim import LONGEST_LINE, Log
from hatoba.cluster.node import LogRequest

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def log(tmp_path):
    return Log(str(tmp_path / "log"), 1000)


async def text_of(log, **request) -> str:
    wanted = LogRequest(container="c", **request)
    now = datetime.now(UTC)
    chunks = stream(_path(log), wanted, now=now, is_running=lambda: False)
    return b"".join([chunk async for chunk in chunks]).decode()


def _path(log):
    return Path(log.path)


async def test_lines_of_both_streams_come_in_order_and_a_missing_end_stays_missing(log):
    log.take("stdout", b"one\ntw")
    log.take("stderr", b"err\n")
    log.take("stdout", b"o\nrest")
    log.finish()
    assert await text_of(log) == "one\nerr\ntwo\nrest"


async def test_very_long_lines_are_split_and_read_back_whole(log):
    line = "x" * (LONGEST_LINE * 2 + 5)
    log.limit = 1 << 20
    log.take("stdout", line.encode() + b"\n")
    assert await text_of(log) == line + "\n"


async def test_the_last_lines_are_found(log):
    log.take("stdout", b"1\n2\n3\n")
    assert await text_of(log, tail_lines=2) == "2\n3\n"
    assert await text_of(log, tail_lines=0) == ""
    assert last_words(_path(log), limit=4) == "2\n3\n"


async def test_bytes_are_limited(log):
    log.take("stdout", b"12345\n")
    assert await text_of(log, limit_bytes=3) == "123"


async def test_times_are_shown_in_nanoseconds(log):
    log.take("stdout", b"x\n")
    stamp, _, text = (await text_of(log, timestamps=True)).partition(" ")
    assert text == "x\n"
    assert len(stamp) == len("2026-11-23T19:34:52.487405123Z")


def test_old_lines_are_left_out(tmp_path):
    path = tmp_path / "log"
    old, new = NOW - timedelta(seconds=100), NOW - timedelta(seconds=1)
    path.write_text(
        "".join(
            f"{moment:%Y-%m-%dT%H:%M:%S}.000000000Z stdout F {name}\n"
            for moment, name in ((old, "old"), (new, "new"))
        )
    )
    found = select(path, LogRequest(container="c", since_seconds=10), now=NOW)
    assert [line.text for line in found] == [b"new"]


async def test_a_full_log_is_turned_over_and_read_as_one(log):
    for number in range(15):
        log.take("stdout", f"line {number:02} {'x' * 40}\n".encode())
    assert Path(log.path + ".1").exists()
    text = await text_of(log)
    assert text.splitlines()[-1].startswith("line 14")
    assert [line[:7] for line in text.splitlines()] == sorted(
        line[:7] for line in text.splitlines()
    )


async def test_following_goes_on_over_a_turn(log):
    log.take("stdout", b"first\n")
    rest = iter(range(40))

    def is_running() -> bool:
        number = next(rest, None)
        if number is None:
            return False
        log.take("stdout", f"line {number:02} {'x' * 40}\n".encode())
        return True

    wanted = LogRequest(container="c", follow=True)
    chunks = stream(_path(log), wanted, now=NOW, is_running=is_running)
    lines = b"".join([chunk async for chunk in chunks]).decode().splitlines()
    assert [line[:7] for line in lines] == ["first", *(f"line {number:02}" for number in range(40))]

"""Reading the logs that shims write: `time stream F|P text`, an older part beside the newer one.

Following needs no notification from the shim: the file is looked at again after a short pause
while somebody follows, which costs nothing when nobody does.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from hatoba.cluster.node import LogRequest

_CHUNK: Final = 1 << 16
_PAUSE: Final = 0.1


@dataclass(slots=True, frozen=True, kw_only=True)
class LogLine:
    """One record of a log."""

    time: bytes
    is_partial: bool
    text: bytes

    @classmethod
    def parse(cls, line: bytes) -> "LogLine":
        """Read a record, without its end of line."""
        time, _, tag, text = line.split(b" ", 3)
        return cls(time=time, is_partial=tag == b"P", text=text)

    def moment(self) -> datetime:
        """Return when it was written, to the microsecond."""
        text = self.time.decode()
        return datetime.fromisoformat(text[:26] + "+00:00")

    def render(self, *, timestamps: bool) -> bytes:
        """Return what a reader of the log sees."""
        head = self.time + b" " if timestamps else b""
        return head + self.text + (b"" if self.is_partial else b"\n")


def read_lines(log: Path) -> Iterator[LogLine]:
    """Yield all records, the older part's first."""
    for path in (log.with_name(log.name + ".1"), log):
        try:
            with path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield LogLine.parse(line[:-1])
        except FileNotFoundError:
            continue


def last_words(log: Path, *, limit: int) -> str:
    """Return the end of a log, at most so many bytes."""
    data = b"".join(line.render(timestamps=False) for line in deque(read_lines(log), maxlen=80))
    return data[-limit:].decode(errors="replace")


def select(log: Path, request: LogRequest, *, now: datetime) -> list[LogLine]:
    """Return the records that the request asks for."""
    lines: Iterator[LogLine] = read_lines(log)
    if request.since_seconds is not None:
        age = request.since_seconds
        lines = (line for line in lines if (now - line.moment()).total_seconds() <= age)
    if request.tail_lines is None:
        return list(lines)
    if request.tail_lines <= 0:
        return []
    return list(deque(lines, maxlen=request.tail_lines))


async def stream(
    log: Path, request: LogRequest, *, now: datetime, is_running: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Yield the log as asked for; when following, until `is_running` says no.

    What is yielded is whole lines, several at once where they are there.
    """
    left = request.limit_bytes if request.limit_bytes is not None else None
    follower = _Follower(log)
    first = select(log, request, now=now)
    if request.follow:
        follower.skip()
    batch = b"".join(line.render(timestamps=request.timestamps) for line in first)
    while True:
        if batch:
            yield batch if left is None else batch[:left]
            if left is not None:
                left -= len(batch)
                if left <= 0:
                    return
        if not request.follow:
            return
        was_running = is_running()
        batch = b"".join(line.render(timestamps=request.timestamps) for line in follower.fresh())
        if not batch:
            if not was_running:
                return
            await asyncio.sleep(_PAUSE)


class _Follower:
    """Remembers how far a log was read, over its rotation."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = 0
        self._inode = 0
        self._rest = b""

    def skip(self) -> None:
        """Go to the end of what is there."""
        for _ in self.fresh():
            pass

    def fresh(self) -> Iterator[LogLine]:
        """Yield the records that were written since the last call."""
        try:
            with self._log.open("rb") as file:
                inode = self._inode_of(self._log)
                if inode != self._inode:
                    yield from self._finish_older()
                    self._inode, self._offset = inode, 0
                file.seek(self._offset)
                while data := file.read(_CHUNK):
                    self._offset += len(data)
                    yield from self._split(data)
        except FileNotFoundError:
            return

    def _finish_older(self) -> Iterator[LogLine]:
        older = self._log.with_name(self._log.name + ".1")
        if self._inode and older.exists() and self._inode_of(older) == self._inode:
            yield from self._split(older.read_bytes()[self._offset :])

    def _split(self, data: bytes) -> Iterator[LogLine]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield LogLine.parse(line)

    @staticmethod
    def _inode_of(path: Path) -> int:
        return path.stat().st_ino

"""Reading the logs that shims write: `time stream F|P text`, an older part beside the newer one.

Following needs no notification from the shim: the file is looked at again after a short pause
while somebody follows, which costs nothing when nobody does.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

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
    batch = _text(first, request)
    try:
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
            batch = _text(follower.fresh(), request)
            if not batch:
                if not was_running:
                    return
                await asyncio.sleep(_PAUSE)
    finally:
        follower.close()


def _text(lines: Iterable[LogLine], request: LogRequest) -> bytes:
    return b"".join(line.render(timestamps=request.timestamps) for line in lines)


class _Follower:
    """Remembers how far a log was read, over its rotation and past its removal."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._file: BinaryIO | None = None
        self._rest = b""

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def skip(self) -> None:
        """Go to the end of what is there."""
        for _ in self.fresh():
            pass

    def fresh(self) -> Iterator[LogLine]:
        """Yield the records that were written since the last call."""
        if self._file is not None:
            yield from self._read(self._file)
        while (newer := self._newer()) is not None:
            if self._file is not None:
                # What was written between the last look and the turn.
                yield from self._read(self._file)
                self._file.close()
            self._file = newer
            yield from self._read(newer)

    def _newer(self) -> BinaryIO | None:
        """Return the file that has the log's name now, None when that is the open one."""
        try:
            found = self._log.open("rb")
        except FileNotFoundError:
            return None
        current = self._file
        if current and os.fstat(found.fileno()).st_ino == os.fstat(current.fileno()).st_ino:
            found.close()
            return None
        return found

    def _read(self, file: BinaryIO) -> Iterator[LogLine]:
        while data := file.read(_CHUNK):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                yield LogLine.parse(line)

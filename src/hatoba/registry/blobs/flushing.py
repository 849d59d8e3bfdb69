"""Brings uploads to the disk while more of them is received.

A client waits for the sync behind its last byte, and the disk has nothing to do before it. What is
flushed meanwhile is no part of that wait. A hint and no more: that sync is what makes bytes
durable, and what tells of errors. Asking the kernel to begin writing (`sync_file_range`) does less:
the caches of the disk itself are not emptied by it.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

FLUSH_BYTES: Final = 2 << 20
"""After how many bytes an upload is flushed, unless it still is."""
FLUSHES: Final = 4
"""How many uploads a process flushes at once; the others wait, and their clients a little more."""

log = structlog.get_logger()


class Flusher:
    """Threads of its own: those that receive must not wait for a disk that others keep busy."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(FLUSHES, thread_name_prefix="flush")

    def flushing(self, path: Path) -> "Flushing":
        """Return what flushes one upload."""
        return Flushing(threads=self._threads, path=path)


@dataclass(slots=True, kw_only=True)
class Flushing:
    """One upload, as far as it was flushed."""

    threads: ThreadPoolExecutor
    path: Path
    _waiting: int = 0
    _running: "Future[None] | None" = None

    def written(self, count: int) -> None:
        """Take note of bytes that were written; maybe begin to flush them."""
        self._waiting += count
        if self._waiting < FLUSH_BYTES or not (self._running is None or self._running.done()):
            return
        self._waiting = 0
        self._running = self.threads.submit(_flush_blocking, self.path)


def _flush_blocking(path: Path) -> None:
    """Flush a file by an opening of its own.

    An error of the disk is told once to each opening, so that the sync to come hears of it, too;
    and no lock is held by this one when the upload is given up.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        log.debug("an upload is not flushed ahead", path=str(path), reason=str(error))

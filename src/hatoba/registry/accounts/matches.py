"""Which secrets were seen to match, known to all processes that share a parent.

Comparing a password takes a quarter of a second of CPU. Whoever forks workers makes one of these
before; each of them then knows what any of them has found, and what one of them is comparing is
not compared by another at the same time.

Nothing in here is a secret: what is kept is a keyed hash of a secret with its stored hash, and the
key lives in the memory of these processes alone. The file has no name that others could open.
"""

import fcntl
import hashlib
import hmac
import mmap
import os
import secrets
import select
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MARK_BYTES: Final = 32
WAYS: Final = 8
"""Marks with the same beginning; one more takes the place of one of them."""
SETS: Final = 256
GUARD_SECONDS: Final = 5.0
"""Longer than a comparison takes on a busy machine."""
GUARD_POLL_SECONDS: Final = 0.005
_SET_BYTES: Final = WAYS * MARK_BYTES
_EMPTY: Final = bytes(MARK_BYTES)


class SharedMatches:
    """A table of fixed size in memory that is inherited over a fork.

    It is read and written without a lock: half a mark of one and half a mark of another match
    nothing, and cost no more than a comparison. Locks guard comparisons only, and are those of a
    file, which end with the process that holds them.
    """

    def __init__(self, *, guard_seconds: float = GUARD_SECONDS) -> None:
        """Make an empty table.

        Args:
            guard_seconds: how long a process waits for another one's comparison. One that was
                stopped in the middle of it must not keep people out.
        """
        self._guard_seconds = guard_seconds
        self._key = secrets.token_bytes(32)
        self._file = os.memfd_create("hatoba-matches", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        os.ftruncate(self._file, SETS * _SET_BYTES)
        self._table = mmap.mmap(self._file, SETS * _SET_BYTES)

    def mark(self, secret: str, *, stored: str) -> bytes:
        """Return what stands for a secret and the stored hash that it is compared with."""
        text = f"{stored}\0{secret}".encode(errors="surrogatepass")
        return hmac.digest(self._key, text, hashlib.sha256)

    def __contains__(self, mark: bytes) -> bool:
        return self._find(mark) is not None

    def add(self, mark: bytes) -> None:
        """Remember a match."""
        place = self._find(_EMPTY, among=mark)
        if place is None:
            place = self._start(mark) + MARK_BYTES * (mark[-1] % WAYS)
        self._table[place : place + MARK_BYTES] = mark

    @contextmanager
    def alone_blocking(self, mark: bytes) -> Iterator[None]:
        """Keep other processes from comparing the same, unless that takes too long."""
        place = int.from_bytes(mark[:4])
        deadline = time.monotonic() + self._guard_seconds
        while not (held := self._lock(place)) and time.monotonic() < deadline:
            # A sleep by duration: `time.sleep` sleeps until a moment, which jumps of a faked clock
            # turn into an error.
            select.select((), (), (), GUARD_POLL_SECONDS)
        try:
            yield
        finally:
            if held:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def _lock(self, place: int) -> bool:
        try:
            # The place lies beyond the end of the file as a rule, which a lock may.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _find(self, mark: bytes, *, among: bytes | None = None) -> int | None:
        start = self._start(mark if among is None else among)
        for place in range(start, start + _SET_BYTES, MARK_BYTES):
            if self._table[place : place + MARK_BYTES] == mark:
                return place
        return None

    @staticmethod
    def _start(mark: bytes) -> int:
        return mark[0] * _SET_BYTES

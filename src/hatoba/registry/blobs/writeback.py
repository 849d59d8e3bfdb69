"""Asks the kernel to begin writing a file to the disk, without waiting for it.

For large uploads: what is on its way while bytes still come need not be waited for in the fsync at
the end. A hint and no more: that fsync is what makes bytes durable, and what tells of errors.
Python's `os` does not offer the call (Linux alone has it), so it is looked for in libc.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Final, TypeAlias

_WRITE: Final = 2
"""SYNC_FILE_RANGE_WRITE. Spec: sync_file_range(2)."""

_SyncFileRange: TypeAlias = Callable[[int, int, int, int], int]


def begin_writeback_blocking(handle: int) -> None:
    """Begin writing out all of an open file; does nothing where the system cannot."""
    if (call := _sync_file_range()) is not None:
        call(handle, 0, 0, _WRITE)


@cache
def _sync_file_range() -> _SyncFileRange | None:
    try:
        found = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    found.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    found.restype = ctypes.c_int
    call: _SyncFileRange = found
    return call

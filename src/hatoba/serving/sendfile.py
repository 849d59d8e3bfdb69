"""Sending a file from the page cache to a socket, inside the kernel.

Called by `protocol`, which knows that nothing else is written to the socket meanwhile.
"""

import asyncio
import os
from typing import Final

STEP_BYTES: Final = 1 << 20
"""How much is offered to a socket at once."""
_SAMPLE_BYTES: Final = 128 << 10
"""The kernel reads ahead at least this far: a page that is there has its neighbours with it."""


async def send_file(transport: asyncio.Transport, *, handle: int, offset: int, count: int) -> None:
    """Send a part of an open file; a client that leaves ends it early.

    Pages that are in memory are sent at once, which is quicker than asking a thread to; what has
    to come from the disk is sent by a thread, so that no other connection waits for the disk.

    Raises:
        EOFError: the file is shorter.
    """
    # A duplicate: the number of a socket that is closed meanwhile could be another's by then.
    out = os.dup(transport.get_extra_info("socket").fileno())
    try:
        end = offset + count
        while offset < end and not transport.is_closing():
            wanted = min(STEP_BYTES, end - offset)
            try:
                sent = await _send_some(out, handle, offset, wanted)
            except BlockingIOError:
                await _writable(out)
                continue
            if sent == 0:
                raise EOFError(f"the file ends at {offset}, before {end}")
            offset += sent
    except (BrokenPipeError, ConnectionResetError):
        transport.abort()
    finally:
        os.close(out)


async def _send_some(out: int, handle: int, offset: int, count: int) -> int:
    if _is_cached(handle, offset, count):
        # Other connections get their turn between two steps.
        await asyncio.sleep(0)
        return os.sendfile(out, handle, offset, count)
    loop = asyncio.get_running_loop()
    working = loop.run_in_executor(None, os.sendfile, out, handle, offset, count)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        # The thread still uses both numbers: neither may be closed under it.
        await asyncio.wait([working])
        raise


def _is_cached(handle: int, offset: int, count: int) -> bool:
    """Say whether a part of a file is in memory, as far as samples can tell.

    Spec: preadv2(2), RWF_NOWAIT: fails instead of waiting for the disk.
    """
    end = offset + count
    byte = bytearray(1)
    try:
        for position in (*range(offset, end, _SAMPLE_BYTES), end - 1):
            os.preadv(handle, [byte], position, os.RWF_NOWAIT)
    except OSError:
        # EAGAIN: it is not; EOPNOTSUPP: this file system cannot tell.
        return False
    return True


async def _writable(socket: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(socket, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(socket)

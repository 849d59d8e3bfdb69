"""Sending a file from the page cache to a socket, inside the kernel.

Called by `protocol`, which knows that nothing else is written to the socket meanwhile.
"""

import asyncio
import os
from typing import Final

STEP_BYTES: Final = 4 << 20
"""How much is looked for in memory and offered to a socket at once: about what it takes."""
THREAD_BYTES: Final = 1 << 20
"""How much a thread reads from the disk before others get their turn."""
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
        cached_until = offset
        while offset < end and not transport.is_closing():
            if offset >= cached_until:
                cached_until = _cached_until(handle, offset, min(offset + STEP_BYTES, end))
            try:
                if offset < cached_until:
                    # Other connections get their turn between two steps.
                    await asyncio.sleep(0)
                    sent = os.sendfile(out, handle, offset, cached_until - offset)
                else:
                    wanted = min(THREAD_BYTES, end - offset)
                    sent = await _send_by_thread(out, handle, offset, wanted)
            except BlockingIOError:
                await _writable(out)
                # Meanwhile the kernel may have let go of what was in memory.
                cached_until = offset
                continue
            if sent == 0:
                raise EOFError(f"the file ends at {offset}, before {end}")
            offset += sent
    except (BrokenPipeError, ConnectionResetError):
        transport.abort()
    finally:
        os.close(out)


async def _send_by_thread(out: int, handle: int, offset: int, count: int) -> int:
    loop = asyncio.get_running_loop()
    working = loop.run_in_executor(None, os.sendfile, out, handle, offset, count)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        # The thread still uses both numbers: neither may be closed under it.
        await asyncio.wait([working])
        raise


def _cached_until(handle: int, offset: int, end: int) -> int:
    """Return up to where a part of a file is in memory, as far as samples can tell.

    Spec: preadv2(2), RWF_NOWAIT: fails instead of waiting for the disk.
    """
    byte, position = [bytearray(1)], offset
    try:
        for position in range(offset, end, _SAMPLE_BYTES):
            os.preadv(handle, byte, position, os.RWF_NOWAIT)
        position = max(offset, end - _SAMPLE_BYTES)
        os.preadv(handle, byte, end - 1, os.RWF_NOWAIT)
    except OSError:
        # EAGAIN: it is not; EOPNOTSUPP: this file system cannot tell.
        return position
    return end


async def _writable(socket: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(socket, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(socket)

"""Serving an answer for the time in which the real application cannot start yet.

A probe that asks learns why, instead of meeting a closed port; when the work that is waited for is
done, the sockets are closed and the supervisor opens them again for the workers.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from hatoba.serving.asgi import Application
from hatoba.serving.listeners import Listener, listening


def serve_meanwhile(
    application: Application, listeners: Sequence[Listener], *, work: Callable[[], Awaitable[None]]
) -> bool:
    """Serve until `work` is done; return False when SIGTERM or SIGINT came first.

    Raises:
        ListenFailed: an address cannot be listened on.
    """
    return asyncio.run(_serve(application, listeners, work=work))


async def _serve(
    application: Application, listeners: Sequence[Listener], *, work: Callable[[], Awaitable[None]]
) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # The first process of a container ends by no signal that it does not handle.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        for one in listeners:
            opened = listening(
                application, host=one.host, port=one.port, tls=one.tls, grace_seconds=1
            )
            await stack.enter_async_context(opened)
        working = asyncio.ensure_future(work())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        is_done = working.done()
        for task in (working, stopped):
            task.cancel()
        ended = await asyncio.gather(working, stopped, return_exceptions=True)
        if is_done and isinstance(ended[0], BaseException):
            raise ended[0]
    return is_done

"""One forked process: serves the application on the shared sockets, or runs the duties.

Called by the supervisor right after the fork. The state of all processes lies in a few bytes of
shared memory, so that any of them can tell whether the whole is ready without asking the others.
"""

import asyncio
import mmap
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

import structlog
import uvloop

from hatoba.serving.asgi import Application, Message, Receive, Scope, Send
from hatoba.serving.limits import Limits
from hatoba.serving.listeners import Listener, LoopServer, TlsFiles, make_server
from hatoba.serving.management import management_application

log = structlog.get_logger()

DUTY_GRACE_SECONDS: Final = 20.0


class State(IntEnum):
    """What a slot of the board says."""

    STARTING = 0
    READY = 1
    STOPPED = 2


class Board:
    """Shared memory: one byte for the whole, then one per worker."""

    _SERVING, _DRAINING, _HASTE = range(3)

    def __init__(self, workers: int) -> None:
        self._bytes = mmap.mmap(-1, 1 + workers)
        self._workers = workers

    def report(self, worker: int, state: State) -> None:
        """Set the state of one worker."""
        self._bytes[1 + worker] = state

    def drain(self, *, haste: bool) -> None:
        """Declare that no new work should come; with haste, that nobody waits for it either."""
        self._bytes[0] = self._HASTE if haste else max(self._bytes[0], self._DRAINING)

    @property
    def is_draining(self) -> bool:
        """Whether the process has been told to end."""
        return self._bytes[0] != self._SERVING

    @property
    def is_hasty(self) -> bool:
        """Whether the wait for routers to notice is left out."""
        return self._bytes[0] == self._HASTE

    @property
    def is_ready(self) -> bool:
        """Whether any worker can take requests; one that is being restarted is not missed."""
        if self.is_draining:
            return False
        return any(self._bytes[1 + slot] == State.READY for slot in range(self._workers))

    @property
    def was_ever_ready(self) -> bool:
        """Whether any worker got as far as serving."""
        return any(self._bytes[1 + slot] != State.STARTING for slot in range(self._workers))


@dataclass(slots=True, frozen=True, kw_only=True)
class Worker:
    """What an application may know about the process it runs in."""

    index: int
    board: Board

    @property
    def is_draining(self) -> bool:
        """Whether readiness must be denied: the process was told to end."""
        return self.board.is_draining


ApplicationFactory: TypeAlias = Callable[[Worker], AbstractAsyncContextManager[Application]]
Duties: TypeAlias = Callable[[Worker], Awaitable[None]]


@dataclass(slots=True, frozen=True, kw_only=True)
class WorkPlan:
    """Everything a forked process needs to know."""

    application: ApplicationFactory
    duties: Duties | None
    listeners: Sequence[tuple[Listener, socket.socket]]
    management: tuple[Listener, socket.socket] | None
    drain_seconds: float
    grace_seconds: float
    limits: Limits


def run_worker(plan: WorkPlan, *, worker: Worker, lifeline: int) -> None:
    """Serve until told to end or until the supervisor is gone.

    Args:
        plan: what to serve.
        worker: which slot this is.
        lifeline: read end of a pipe that only the supervisor holds open.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(plan, worker=worker, lifeline=lifeline))


def run_duties(plan: WorkPlan, *, worker: Worker, lifeline: int) -> None:
    """Run background duties and the management listener until told to end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(plan, worker=worker, lifeline=lifeline))


async def _serve(plan: WorkPlan, *, worker: Worker, lifeline: int) -> None:
    stop = _stop_event(lifeline)
    async with AsyncExitStack() as stack:
        application = await stack.enter_async_context(plan.application(worker))
        closing = _closing_when_draining(application, worker.board)
        servers = [
            (_server(plan, closing, tls=one.tls, grace_seconds=plan.grace_seconds), opened)
            for one, opened in plan.listeners
        ]
        if plan.duties is None and worker.index == 0:
            servers += _management(plan, worker)
        tasks = [asyncio.create_task(server.serve(sockets=[opened])) for server, opened in servers]
        worker.board.report(worker.index, State.READY)
        log.info("worker ready", worker=worker.index, pid=os.getpid())
        await stop.wait()
        if not worker.board.is_hasty:
            await asyncio.sleep(plan.drain_seconds)
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)
        worker.board.report(worker.index, State.STOPPED)


async def _work(plan: WorkPlan, *, worker: Worker, lifeline: int) -> None:
    stop = _stop_event(lifeline)
    servers = _management(plan, worker)
    tasks = [asyncio.create_task(server.serve(sockets=[opened])) for server, opened in servers]
    assert plan.duties is not None
    duties = asyncio.ensure_future(plan.duties(worker))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({duties, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if duties.done():
        duties.result()
    duties.cancel()
    with suppress(asyncio.CancelledError):
        async with asyncio.timeout(DUTY_GRACE_SECONDS):
            await duties
    stopped.cancel()
    for server, _ in servers:
        server.should_exit = True
    await asyncio.gather(*tasks)


def _management(plan: WorkPlan, worker: Worker) -> list[tuple[LoopServer, socket.socket]]:
    if plan.management is None:
        return []
    listener, opened = plan.management
    application = management_application(is_ready=lambda: worker.board.is_ready)
    return [(_server(plan, application, tls=listener.tls, grace_seconds=1), opened)]


def _server(
    plan: WorkPlan, application: Application, *, tls: TlsFiles | None, grace_seconds: float
) -> LoopServer:
    return make_server(application, tls=tls, grace_seconds=grace_seconds, limits=plan.limits)


def _stop_event(lifeline: int) -> asyncio.Event:
    """Return an event that SIGTERM or the supervisor's death sets."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    def orphaned() -> None:
        loop.remove_reader(lifeline)
        stop.set()

    loop.add_reader(lifeline, orphaned)
    return stop


def _closing_when_draining(application: Application, board: Board) -> Application:
    """Ask clients to come back on a new connection, which another process will take."""

    async def closing(scope: Scope, receive: Receive, send: Send) -> None:
        if not board.is_draining:
            await application(scope, receive, send)
            return

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await application(scope, receive, send_closing)

    return closing

"""Pre-forked serving: one supervisor, workers that share its listening sockets.

The supervisor has imported everything and has no event loop, no thread and no connection: what
it forks starts in milliseconds and shares its memory. It restarts workers that die, and it
hands a request to end on to them.
"""

import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NoReturn

import structlog

from hatoba.config.loader import environment
from hatoba.kernel.clock import Clock, SystemClock
from hatoba.kernel.errors import HatobaError
from hatoba.serving.limits import Limits
from hatoba.serving.listeners import Listener, bind
from hatoba.serving.worker import (
    ApplicationFactory,
    Board,
    Duties,
    State,
    Worker,
    WorkPlan,
    run_duties,
    run_worker,
)
from hatoba.telemetry.metrics import forget_process

log = structlog.get_logger()

DRAIN_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 600.0
HASTY_GRACE_SECONDS: Final = 10.0
SHORTEST_BACKOFF_SECONDS: Final = 0.1
LONGEST_BACKOFF_SECONDS: Final = 10.0
STEADY_SECONDS: Final = 30.0
"""A worker that lived this long starts with the shortest backoff again."""
_SIGNALS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def serve(
    application: ApplicationFactory,
    *,
    listeners: Sequence[Listener],
    workers: int = 1,
    duties: Duties | None = None,
    management: Listener | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code.

    Import everything the application needs before calling. `workers` is an upper bound: no more
    run than this process may use CPUs.

    Raises:
        ListenFailed: an address cannot be listened on; nothing was started.
        LimitInvalid: a limit of the environment is none.
    """
    limits = Limits.of(environment())
    workers = max(1, min(workers, len(os.sched_getaffinity(0))))
    plan = WorkPlan(
        application=application,
        duties=duties,
        listeners=[(listener, bind(listener)) for listener in listeners],
        management=(management, bind(management)) if management else None,
        drain_seconds=float(environment().get("HATOBA_DRAIN_SECONDS", DRAIN_SECONDS)),
        grace_seconds=GRACE_SECONDS,
        limits=limits,
    )
    for listener, opened in plan.listeners:
        log.info("listening", host=listener.host, port=opened.getsockname()[1])
    supervisor = Supervisor(plan=plan, workers=workers, clock=SystemClock())
    try:
        return supervisor.run()
    finally:
        _close([opened for _, opened in plan.listeners])


@dataclass(slots=True, kw_only=True)
class _Slot:
    """A place that a process fills; the duties have one of their own."""

    worker: Worker
    body: Callable[..., None]
    pid: int = 0
    started: float = 0.0
    backoff: float = SHORTEST_BACKOFF_SECONDS
    due: float = 0.0
    is_duties: bool = False


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """The loop that keeps the slots filled."""

    plan: WorkPlan
    workers: int
    clock: Clock
    _slots: list[_Slot] = field(default_factory=list)
    _board: Board = field(init=False)
    _lifeline: tuple[int, int] = field(init=False)
    _exit_code: int = 0

    def run(self) -> int:
        """Fork, watch, restart; return when every process has ended."""
        self._board = Board(self.workers)
        self._lifeline = os.pipe()
        self._slots = [
            _Slot(worker=Worker(index=index, board=self._board), body=run_worker)
            for index in range(self.workers)
        ]
        if self.plan.duties is not None:
            worker = Worker(index=self.workers, board=self._board)
            self._slots.append(_Slot(worker=worker, body=run_duties, is_duties=True))
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        gc.collect()
        gc.freeze()
        try:
            self._watch()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            for end in self._lifeline:
                os.close(end)
        return self._exit_code

    def _watch(self) -> None:
        while not self._board.is_draining:
            self._start_due()
            pause = max(0.0, min(slot.due for slot in self._slots) - self.clock.monotonic())
            received = signal.sigtimedwait(_SIGNALS, pause if self._missing() else 3600.0)
            if received is not None and received.si_signo != signal.SIGCHLD:
                self._board.drain(haste=received.si_signo == signal.SIGINT)
            self._reap()
        self._end([slot for slot in self._slots if not slot.is_duties])
        self._end([slot for slot in self._slots if slot.is_duties])

    def _missing(self) -> list[_Slot]:
        return [slot for slot in self._slots if not slot.pid]

    def _start_due(self) -> None:
        now = self.clock.monotonic()
        for slot in self._missing():
            if slot.due <= now:
                self._fork(slot)

    def _fork(self, slot: _Slot) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        slot.started = self.clock.monotonic()
        slot.due = float("inf")
        slot.pid = os.fork()
        if slot.pid == 0:
            self._become(slot)

    def _become(self, slot: _Slot) -> NoReturn:
        """Turn the forked child into what the slot holds; never returns to the caller."""
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._lifeline[1])
            slot.body(self.plan, worker=slot.worker, lifeline=self._lifeline[0])
            code = 0
        except HatobaError as error:
            log.error("worker failed", reason=error.message)  # noqa: TRY400 -- the reason says all
        except BaseException:  # noqa: BLE001 -- the boundary of a process
            traceback.print_exc()
        finally:
            with suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            # Not sys.exit: the supervisor's stack, with its cleanup, lies below this frame.
            os._exit(code)

    def _reap(self) -> None:
        for slot in self._slots:
            if not slot.pid:
                continue
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if pid:
                self._ended(slot, code=os.waitstatus_to_exitcode(status))

    def _ended(self, slot: _Slot, *, code: int) -> None:
        forget_process(slot.pid)
        pid, slot.pid = slot.pid, 0
        if self._board.is_draining:
            if code:
                log.warning("worker ended badly while stopping", pid=pid, exit_code=code)
            return
        if not slot.is_duties:
            first = not self._board.was_ever_ready
            self._board.report(slot.worker.index, State.STOPPED if not first else State.STARTING)
            if first:
                # Restarting cannot help a configuration or a database that was wrong from the
                # start; ending lets whoever started us see it.
                log.error("worker failed to start", pid=pid, exit_code=code)
                self._exit_code = 1
                self._board.drain(haste=True)
                return
        now = self.clock.monotonic()
        steady = now - slot.started >= STEADY_SECONDS
        slot.backoff = SHORTEST_BACKOFF_SECONDS if steady else slot.backoff
        slot.due = now + slot.backoff
        log.error("worker died", pid=pid, exit_code=code, restart_in_seconds=slot.backoff)
        slot.backoff = min(slot.backoff * 2, LONGEST_BACKOFF_SECONDS)

    def _end(self, slots: list[_Slot]) -> None:
        """Tell processes to end and wait for them; kill those that outstay the grace."""
        self._signal(slots, signal.SIGTERM)
        grace = HASTY_GRACE_SECONDS if self._board.is_hasty else self.plan.grace_seconds
        deadline = self.clock.monotonic() + self.plan.drain_seconds + grace + 5
        while any(slot.pid for slot in slots):
            left = deadline - self.clock.monotonic()
            received = signal.sigtimedwait(_SIGNALS, max(0.0, left))
            self._reap()
            if received is not None and received.si_signo == signal.SIGINT:
                self._board.drain(haste=True)
                deadline = min(deadline, self.clock.monotonic() + HASTY_GRACE_SECONDS)
            if left <= 0:
                self._signal(slots, signal.SIGKILL)
                deadline = self.clock.monotonic() + HASTY_GRACE_SECONDS

    def _signal(self, slots: list[_Slot], number: signal.Signals) -> None:
        for slot in slots:
            if slot.pid:
                os.kill(slot.pid, number)


def _close(sockets: Sequence[socket.socket]) -> None:
    for opened in sockets:
        opened.close()

"""The loop of the lean client: one thread, many connections, each with one operation at a time.

A closed loop: a connection begins its next operation when the last one has ended. What is under
way when the time is over is finished and counted.
"""

import resource
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.load.scripts import Script, UnexpectedAnswer, scripts_of
from bench.load.spec import LoadResult, LoadSpec
from bench.load.wire import Incoming, Outgoing
from bench.model import percentile

RECEIVE_BYTES: Final = 1 << 20
FAILURES_TO_STOP: Final = 50
STALL_SECONDS: Final = 120.0
_LISTEN, _BOTH = select.EPOLLIN, select.EPOLLIN | select.EPOLLOUT


@dataclass(slots=True, kw_only=True)
class Tally:
    """What has happened so far, over all connections."""

    limit: int
    deadline: float
    begun: int = 0
    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    first_failure: str = ""
    body_bytes: int = 0
    finished_at: float = 0.0

    def may_begin(self) -> bool:
        """Say whether another operation may begin, and count it."""
        if (
            self.begun >= self.limit
            or self.failures >= FAILURES_TO_STOP
            or time.perf_counter() >= self.deadline
        ):
            return False
        self.begun += 1
        return True

    def fail(self, reason: str) -> None:
        """Count a failure."""
        self.failures += 1
        self.first_failure = self.first_failure or reason


@dataclass(slots=True, kw_only=True)
class Channel:
    """One connection and the operation under way on it."""

    port: int
    poll: select.epoll
    begin: Callable[[], Script]
    tally: Tally
    sink: memoryview
    wire: socket.socket = field(init=False)
    is_idle: bool = True
    _script: Script = field(init=False)
    _started: float = 0.0
    _outgoing: deque[memoryview] = field(default_factory=deque)
    _incoming: Incoming = field(default_factory=lambda: Incoming(is_head=False))
    _events: int = _LISTEN

    def connect(self) -> int:
        """Open the connection; return its descriptor."""
        self.wire = socket.create_connection(("127.0.0.1", self.port))
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire.setblocking(False)
        self._events = _LISTEN
        self.poll.register(self.wire, _LISTEN)
        return self.wire.fileno()

    def start(self) -> None:
        """Begin the next operation, if there is to be one."""
        if not self.tally.may_begin():
            self.is_idle = True
            return
        self.is_idle = False
        self._script = self.begin()
        self._started = time.perf_counter()
        self._send(next(self._script))

    def handle(self, events: int) -> None:
        """Go on after the poll. Raises OSError when the connection is gone."""
        if events & select.EPOLLOUT:
            self._flush()
        if not events & ~select.EPOLLOUT:
            return
        received = self.wire.recv_into(self.sink)
        if not received:
            raise ConnectionResetError("the server closed the connection")
        self._incoming.feed(self.sink[:received])
        if self._incoming.is_complete:
            self._resume()

    def _send(self, outgoing: Outgoing) -> None:
        self._incoming = Incoming(is_head=outgoing.is_head)
        self._outgoing = deque([memoryview(outgoing.head), *outgoing.body])
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                piece = self._outgoing[0]
                sent = self.wire.send(piece)
                if sent == len(piece):
                    self._outgoing.popleft()
                else:
                    self._outgoing[0] = piece[sent:]
        except BlockingIOError:
            pass
        wanted = _BOTH if self._outgoing else _LISTEN
        if wanted != self._events:
            self._events = wanted
            self.poll.modify(self.wire, wanted)

    def _resume(self) -> None:
        if self._outgoing:
            raise ConnectionResetError(f"status {self._incoming.status} before the body's end")
        try:
            self._send(self._script.send(self._incoming))
        except StopIteration as ended:
            self.tally.finished_at = time.perf_counter()
            self.tally.latencies.append(self.tally.finished_at - self._started)
            self.tally.body_bytes += ended.value
            self.start()
        except UnexpectedAnswer as error:
            self.tally.fail(str(error))
            self.start()


def run(spec: LoadSpec) -> LoadResult:
    """Do what the specification says."""
    channels: dict[int, Channel] = {}
    with select.epoll() as poll:
        try:
            return _run(spec, poll=poll, channels=channels)
        finally:
            for channel in channels.values():
                channel.wire.close()


def _run(spec: LoadSpec, *, poll: select.epoll, channels: dict[int, Channel]) -> LoadResult:
    sink = memoryview(bytearray(RECEIVE_BYTES))
    tally = Tally(limit=spec.limit, deadline=float("inf"))
    for part in spec.parts:
        begin = scripts_of(part.work, port=spec.port)
        for _ in range(part.connections):
            channel = Channel(port=spec.port, poll=poll, begin=begin, tally=tally, sink=sink)
            channels[channel.connect()] = channel
    cpu_before, started = _cpu_seconds(), time.perf_counter()
    tally.deadline = started + spec.seconds
    for channel in channels.values():
        channel.start()
    _turn(poll, channels)
    ordered = sorted(tally.latencies) or [0.0]
    return LoadResult(
        requests=len(tally.latencies),
        failures=tally.failures,
        first_failure=tally.first_failure,
        seconds=max(tally.finished_at - started, 1e-9),
        p50_ms=percentile(ordered, 0.5) * 1000,
        p99_ms=percentile(ordered, 0.99) * 1000,
        body_bytes=tally.body_bytes,
        client_cpu_seconds=_cpu_seconds() - cpu_before,
    )


def _turn(poll: select.epoll, channels: dict[int, Channel]) -> None:
    while not all(channel.is_idle for channel in channels.values()):
        ready = poll.poll(STALL_SECONDS)
        if not ready:
            next(iter(channels.values())).tally.fail("the server does not answer any more")
            return
        for number, events in ready:
            channel = channels[number]
            try:
                channel.handle(events)
            except OSError as error:
                del channels[number]
                _replace(channel, channels, reason=str(error))


def _replace(channel: Channel, channels: dict[int, Channel], *, reason: str) -> None:
    """Open a lost connection anew; an idle one that the server closed is no failure."""
    channel.wire.close()
    if channel.is_idle:
        return
    channel.tally.fail(reason)
    channels[channel.connect()] = channel
    channel.start()


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

"""HTTP/1.1 on a connection: uvicorn's protocol, with what moving many bytes asks for.

A small answer is one write, as each is a system call that wakes the reader. Received bytes are
handed on as they came, without copies in between. A file goes to a plain socket inside the
kernel (`sendfile`). The rest, parsing and keeping alive, is uvicorn's, but for who takes too much
or too long: one look at all connections a second (`listeners`) costs less than timers of each.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import httptools
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import (
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from hatoba.serving.asgi import Headers, Message
from hatoba.serving.limits import Limits
from hatoba.serving.sendfile import send_file

ZERO_COPY: Final = "http.response.zerocopysend"
"""Spec: ASGI, extension "Zero Copy Send"."""
RECEIVE_BYTES: Final = 512 << 10
"""How much of a body may wait for the application before the connection is no longer read."""
JOINED_BYTES: Final = 64 << 10
"""Bodies up to this size are copied behind their head, to be written with it."""
LINGER_SECONDS: Final = 5.0
"""How long a refused client may take to read why: to close at once would throw the answer away."""
_BODILESS: Final = frozenset({204, 304})
_FIELD_EXTRA_BYTES: Final = len(": ") + len("\r\n")
_HOST: Final = b"host"
_OFFERED: Final[dict[str, dict[object, object]]] = {ZERO_COPY: {}}


class MalformedAnswer(RuntimeError):
    """An application broke the rules of ASGI or HTTP; its connection is given up."""


class Exchange(RequestResponseCycle):
    """One request and its answer."""

    def __init__(self, *, linger: Callable[[], None], **given: Any) -> None:
        super().__init__(**given)
        self._linger = linger
        self._received: deque[bytes] = deque()
        self._waiting = 0
        self._was_told_end = False
        self._head = b""
        self._waits_since: float | None = None

    def is_stalled(self, *, since: float) -> bool:
        """Whether the application has waited for the client all this time."""
        return self._waits_since is not None and self._waits_since <= since

    def take(self, data: bytes) -> None:
        """Keep a part of the body until the application asks for it."""
        self._received.append(data)
        self._waiting += len(data)
        if self._waiting > RECEIVE_BYTES:
            self.flow.pause_reading()
        self.message_event.set()

    @override
    async def receive(self) -> Any:
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        has_news = bool(self._received) or not (self.more_body or self._was_told_end)
        if not (has_news or self.disconnected or self.response_complete):
            self.flow.resume_reading()
            self.message_event.clear()
            self._waits_since = asyncio.get_running_loop().time() if self.more_body else None
            await self.message_event.wait()
            self._waits_since = None
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        data = self._received.popleft() if self._received else b""
        self._waiting -= len(data)
        if self._waiting < RECEIVE_BYTES // 2:
            self.flow.resume_reading()
        more = self.more_body or bool(self._received)
        self._was_told_end = not more
        return {"type": "http.request", "body": data, "more_body": more}

    @override
    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._start(message)
            return
        if self.response_complete:
            raise MalformedAnswer("a message after the end of the answer")
        if message["type"] == "http.response.body":
            self._send_body(message)
        elif message["type"] == ZERO_COPY:
            await self._send_file(message)
        else:
            raise MalformedAnswer(f"a message {message['type']!r} within an answer")
        if not message.get("more_body", False):
            self._finish()

    def _start(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            raise MalformedAnswer(f"an answer that starts with {message['type']!r}")
        self.response_started = True
        self.waiting_for_100_continue = False
        self._head = self._head_of(message["status"], message.get("headers", ()))
        # The body mostly follows at once and is written with it; if it does not, nobody waits.
        asyncio.get_running_loop().call_soon(self._flush)

    def _head_of(self, status: int, headers: Headers) -> bytes:
        lines = [STATUS_LINE[status]]
        is_closing = False
        for name, value in (*self.default_headers, *headers):
            if HEADER_VALUE_RE.search(value):
                raise MalformedAnswer("a header with control characters")
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                self.expected_content_length = 0
                self.chunked_encoding = True
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive, is_closing = False, True
            lines += (name, b": ", value, b"\r\n")
        if not self.keep_alive and not is_closing:
            lines.append(b"connection: close\r\n")
        has_body = self.scope["method"] != "HEAD" and status not in _BODILESS
        if self.chunked_encoding is None and has_body:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _send_body(self, message: Message) -> None:
        body = message.get("body", b"")
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            last = b"" if message.get("more_body", False) else b"0\r\n\r\n"
            body = b"".join([b"%x\r\n" % len(body), body, b"\r\n", last]) if body else last
        else:
            self._count(len(body))
        self._write(body)

    async def _send_file(self, message: Message) -> None:
        """Send a part of a file: `file` has a `fileno`, `offset` and `count` say which."""
        self._count(message["count"])
        self._flush()
        # What the transport still holds goes first: the kernel does not know of it.
        self.transport.set_write_buffer_limits(high=0)
        if self.flow.write_paused:
            await self.flow.drain()
        if not self.disconnected:
            await send_file(
                self.transport,
                handle=message["file"].fileno(),
                offset=message["offset"],
                count=message["count"],
            )

    def _count(self, size: int) -> None:
        if size > self.expected_content_length:
            raise MalformedAnswer("an answer longer than its Content-Length")
        self.expected_content_length -= size

    def _write(self, data: bytes) -> None:
        if self._head and len(data) <= JOINED_BYTES:
            data, self._head = self._head + data, b""
        self._flush()
        if data:
            self.transport.write(data)

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self.transport.is_closing():
            self.transport.write(head)

    def _finish(self) -> None:
        if self.expected_content_length != 0:
            raise MalformedAnswer("an answer shorter than its Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self._hang_up()
        self.on_response()

    def _hang_up(self) -> None:
        """Close; a client that still sends gets the answer first (RFC 9112, section 9.6)."""
        if self.more_body:
            self._linger()
        else:
            self.transport.close()


class ServingProtocol(HttpToolsProtocol):
    """A connection; offers zero-copy sending where no TLS stands between file and socket."""

    cycle: Exchange | None  # type: ignore[assignment]  # made by `on_headers_complete` alone

    def __init__(self, *, limits: Limits, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self._head_since: float | None = None
        self._idle_since: float | None = None
        self._head_bytes = 0
        self._unparsed_bytes = 0
        self._hosts = 0
        self._refused_since: float | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self.loop.time()
        # A peer that takes nothing is the kernel's to notice: it alone knows what was taken.
        milliseconds = int(self._limits.stall_seconds * 1000)
        opened = transport.get_extra_info("socket")
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused_since is not None:
            return
        self._idle_since = None
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._head_since is None:
            self._unparsed_bytes = 0
        elif self._unparsed_bytes > self._limits.head_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def look(self, now: float) -> None:
        """End the connection when its client takes longer than the limits say."""
        if self._refused_since is not None:
            if now - self._refused_since >= LINGER_SECONDS:
                self.transport.abort()
        elif self._head_since is not None:
            if now - self._head_since >= self._limits.head_seconds:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif self.cycle and self.cycle.is_stalled(since=now - self._limits.stall_seconds):
            if not self.cycle.response_started:
                self._answer(HTTPStatus.REQUEST_TIMEOUT)
            # The application learns that the client is gone, and lets go of what it held.
            self.transport.close()
        elif self._idle_since is not None and now - self._idle_since >= self.timeout_keep_alive:
            self.transport.close()

    def _refuse(self, status: HTTPStatus, why: str = "") -> None:
        """Answer what cannot be read any further; what was asked before is still answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._refused_since = self.loop.time()
            self.cycle.keep_alive = False
            return
        self._answer(status, why)
        self._linger()

    def _linger(self) -> None:
        """Read on without looking until the client hangs up: a reset would undo what was sent."""
        self._refused_since = self.loop.time()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _answer(self, status: HTTPStatus, why: str = "") -> None:
        body = (why or status.phrase).encode()
        lines = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        lines.append(b"content-type: text/plain; charset=utf-8\r\n")
        lines.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        self.transport.write(b"".join([*lines, body]))

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_since = self.loop.time()
        # What came with the end of the body before is not counted twice: a read has its own bound.
        self._unparsed_bytes = self._head_bytes = self._hosts = 0
        if self.scheme == "http":
            self.scope["extensions"] = _OFFERED

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value) + _FIELD_EXTRA_BYTES
        if len(name) == len(_HOST) and name.lower() == _HOST:
            self._hosts += 1

    @override
    def on_headers_complete(self) -> None:
        self._head_since = None
        version = self.parser.get_http_version()
        if len(self.url) + self._head_bytes > self._limits.head_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        if self._hosts != 1 and (self._hosts or version == "1.1"):
            # RFC 9112, section 3.2
            self._refuse(HTTPStatus.BAD_REQUEST, "A request names one Host.")
            return
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"] = url.path
        self.scope["query_string"] = url.query or b""
        before = self.cycle
        self.cycle = Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
            linger=self._linger,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            # A pipelined request waits for its turn.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    @override
    def on_body(self, body: bytes) -> None:
        cycle = self._receiving()
        if cycle is not None and not cycle.response_complete:
            cycle.take(body)

    @override
    def on_message_complete(self) -> None:
        if self._receiving() is not None:
            super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = self.loop.time()

    def _receiving(self) -> Exchange | None:
        """Return the exchange whose body comes; a request that was refused has none."""
        return self.cycle if self._refused_since is None else None

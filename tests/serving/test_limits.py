"""What a connection may take, and what it is told when it takes more."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest

from hatoba.serving import listeners
from hatoba.serving.limits import SMALLEST_HEAD_BYTES, LimitInvalid, Limits
from hatoba.serving.listeners import listening

pytestmark = pytest.mark.anyio
HASTY = Limits(head_bytes=SMALLEST_HEAD_BYTES, head_seconds=1, stall_seconds=1)
PATIENT = Limits(head_bytes=SMALLEST_HEAD_BYTES)
HOST = b"Host: x\r\n"
LONG = 30
"""Seconds after which a test gives up; nothing here takes as long."""


class Application:
    """Reads its body and says how long that was; remembers who went away."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.asked, self.gone = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope, receive, send) -> None:
        self.paths.append(scope["path"])
        self.asked.set()
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.set()
                return
            size += len(message["body"])
            more = message["more_body"]
        text = str(size).encode()
        head = [(b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": text})


@asynccontextmanager
async def connected(application, limits):
    async with listening(application, limits=limits, grace_seconds=1) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            yield reader, writer
        finally:
            writer.close()


async def told(application, data: bytes, limits=PATIENT) -> bytes:
    async with connected(application, limits) as (reader, writer):
        writer.write(data)
        return await asyncio.wait_for(reader.read(), LONG)


def head_of(size: int) -> bytes:
    """Return a request whose target and fields are as long as that."""
    fields = HOST + b"Connection: close\r\n"
    padding = size - len(b"/") - len(fields) - len(b"X: \r\n")
    return b"GET / HTTP/1.1\r\n" + fields + b"X: " + b"a" * padding + b"\r\n\r\n"


async def test_a_head_may_be_as_long_as_the_limit() -> None:
    assert (await told(Application(), head_of(PATIENT.head_bytes))).startswith(b"HTTP/1.1 200")


async def test_a_longer_head_is_refused_and_nothing_is_asked() -> None:
    application = Application()
    got = await told(application, head_of(PATIENT.head_bytes + 1))
    assert got.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"connection: close\r\n" in got
    assert application.paths == []


@pytest.mark.parametrize(
    "endless",
    [
        b"GET / HTTP/1.1\r\nX: " + b"a" * (4 << 20),
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 500_000,
        b"GET /" + b"a" * (4 << 20),
    ],
)
async def test_a_head_without_end_is_refused_while_it_comes(endless) -> None:
    application = Application()
    got = await told(application, endless)
    # The parser has a limit of its own for a target.
    assert got.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
    assert application.paths == []


async def test_a_body_is_not_counted_as_a_head() -> None:
    body = bytes(2 << 20)
    first = b"PUT /1 HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body)
    got = await told(Application(), first + body + head_of(PATIENT.head_bytes))
    assert got.count(b"HTTP/1.1 200") == 2


async def test_what_was_asked_before_a_refused_head_is_answered() -> None:
    application = Application()
    got = await told(application, b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n" + head_of(100_000))
    assert got.startswith(b"HTTP/1.1 200")
    assert got.count(b"HTTP/1.1") == 1
    assert application.paths == ["/1"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", b"400"),
        (b"GET / HTTP/1.0\r\n\r\n", b"200"),
        (b"no request\r\n\r\n", b"400"),
    ],
)
async def test_a_request_names_one_host(head, status) -> None:
    assert (await told(Application(), head)).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nX: "])
async def test_a_head_that_does_not_end_ends_the_connection(begun) -> None:
    application = Application()
    assert (await told(application, begun, HASTY)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert application.paths == []


async def test_a_body_that_stands_still_is_given_up_and_the_application_told() -> None:
    application = Application()
    half = b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nhalf"
    assert (await told(application, half, HASTY)).startswith(b"HTTP/1.1 408")
    await asyncio.wait_for(application.gone.wait(), LONG)


async def test_a_body_that_comes_slowly_is_waited_for() -> None:
    limits = Limits(stall_seconds=3)
    async with connected(Application(), limits) as (reader, writer):
        writer.write(b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 16\r\n\r\n")
        for _ in range(16):
            await asyncio.sleep(limits.stall_seconds / 14)
            writer.write(b"a")
        got = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LONG)
        assert got.startswith(b"HTTP/1.1 200")


async def test_an_application_that_takes_long_is_not_cut_off() -> None:
    async def slow(_scope, _receive, send) -> None:
        await asyncio.sleep(HASTY.stall_seconds * 2.5)
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    got = await told(slow, b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", HASTY)
    assert got.startswith(b"HTTP/1.1 204")


async def test_a_connection_that_is_kept_alive_is_not_a_head_that_is_late() -> None:
    async with connected(Application(), HASTY) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n0"), LONG)).startswith(
                b"HTTP/1.1 200"
            )
            await asyncio.sleep(HASTY.head_seconds * 1.5)


async def test_a_connection_that_nobody_uses_any_more_is_closed(monkeypatch) -> None:
    monkeypatch.setattr(listeners, "KEEP_ALIVE_SECONDS", 1)
    async with connected(Application(), PATIENT) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n0"), LONG)
            assert answer.startswith(b"HTTP/1.1 200")
        assert await asyncio.wait_for(reader.read(), LONG) == b""


async def test_a_client_that_takes_no_answer_is_given_up() -> None:
    ended = asyncio.Event()

    async def endless(_scope, receive, send) -> None:
        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            ended.set()

        gone = asyncio.create_task(until_gone())
        await send({"type": "http.response.start", "status": 200})
        while not ended.is_set():
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
            await asyncio.sleep(0)
        await gone

    async with listening(endless, limits=HASTY, grace_seconds=1) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            await asyncio.wait_for(ended.wait(), LONG)


async def test_a_refusal_reaches_a_client_that_still_sends() -> None:
    async def refusing(_scope, _receive, send) -> None:
        head = [(b"content-length", b"2"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": head})
        await send({"type": "http.response.body", "body": b"no"})

    body = bytes(16 << 20)
    async with connected(refusing, PATIENT) as (reader, writer):
        writer.write(b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await asyncio.wait_for(writer.drain(), LONG)
        got = await asyncio.wait_for(reader.read(), LONG)
    assert got.startswith(b"HTTP/1.1 413")
    assert got.endswith(b"no")


async def test_a_server_ends_although_a_client_stands_still() -> None:
    application = Application()
    async with (
        asyncio.timeout(LONG),
        listening(application, limits=HASTY, grace_seconds=10 * LONG) as server,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nhalf")
        await application.asked.wait()
    await asyncio.wait_for(application.gone.wait(), LONG)
    writer.close()


def test_the_environment_sets_the_limits() -> None:
    given = {"HATOBA_HEAD_BYTES": "8192", "HATOBA_HEAD_SECONDS": "1", "HATOBA_STALL_SECONDS": "7"}
    assert Limits.of(given) == Limits(head_bytes=8192, head_seconds=1, stall_seconds=7)
    assert Limits.of({"HATOBA_HEAD_BYTES": ""}) == Limits()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HATOBA_HEAD_BYTES", "8191"),
        ("HATOBA_HEAD_SECONDS", "0"),
        ("HATOBA_STALL_SECONDS", "-1"),
        ("HATOBA_STALL_SECONDS", "2m"),
    ],
)
def test_a_limit_that_serves_nobody_is_refused_by_name(name, value) -> None:
    with pytest.raises(LimitInvalid, match=f"{name}.*'{value}'"):
        Limits.of({name: value})

"""What a client sees on the wire, and what an application is told."""

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hatoba.serving.listeners import listening
from hatoba.serving.protocol import RECEIVE_BYTES, ZERO_COPY
from hatoba.serving.sendfile import STEP_BYTES

pytestmark = pytest.mark.anyio


def start(length=None, *, status=200, headers=()):
    given = [] if length is None else [(b"content-length", str(length).encode())]
    return {"type": "http.response.start", "status": status, "headers": [*given, *headers]}


def body(data=b"", *, more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


@asynccontextmanager
async def connected(application):
    async with listening(application) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            yield reader, writer
        finally:
            writer.close()


async def answer_of(application, request: bytes) -> bytes:
    async with connected(application) as (reader, writer):
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 10)


def request(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def saying(*messages):
    async def application(_scope, _receive, send) -> None:
        for message in messages:
            await send(message)

    return application


async def test_a_small_answer_is_written_at_once() -> None:
    async with connected(saying(start(5), body(b"hello"))) as (reader, writer):
        writer.write(request("GET /"))
        assert (await reader.read(4096)).endswith(b"\r\n\r\nhello")


async def test_a_head_goes_out_before_a_body_that_takes_long() -> None:
    waiting = asyncio.Event()

    async def application(_scope, _receive, send) -> None:
        await send(start(5))
        await waiting.wait()
        await send(body(b"hello"))

    async with connected(application) as (reader, writer):
        writer.write(request("GET /"))
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(
            b"HTTP/1.1 200"
        )
        waiting.set()
        assert await reader.readexactly(5) == b"hello"


async def test_without_a_length_the_body_is_chunked() -> None:
    application = saying(start(), body(b"he", more=True), body(b"llo"))
    got = await answer_of(application, request("GET /", "Connection: close"))
    assert got.endswith(b"\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")


async def test_a_head_request_gets_no_body() -> None:
    got = await answer_of(saying(start(5), body(b"hello")), request("HEAD /", "Connection: close"))
    assert b"content-length: 5\r\n" in got
    assert got.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "messages",
    [
        [start(4), body(b"hello")],
        [start(6), body(b"hello")],
        [start(1, headers=[(b"x", b"a\r\nset-cookie: b")]), body(b"h")],
    ],
)
async def test_an_answer_that_breaks_the_rules_ends_the_connection(messages, caplog) -> None:
    caplog.set_level("CRITICAL", "uvicorn.error")
    got = await answer_of(saying(*messages), request("GET /"))
    assert b"set-cookie" not in got


async def test_requests_on_one_connection_are_answered_in_their_order() -> None:
    async def application(scope, _receive, send) -> None:
        await asyncio.sleep(0.05 if scope["path"] == "/first" else 0)
        await send(start(len(scope["path"])))
        await send(body(scope["path"].encode()))

    both = request("GET /first") + request("GET /second", "Connection: close")
    got = await answer_of(application, both)
    assert got.index(b"/first") < got.index(b"/second")


async def test_a_client_that_asks_is_told_to_continue() -> None:
    async def application(_scope, receive, send) -> None:
        got = await receive()
        await send(start(len(got["body"])))
        await send(body(got["body"]))

    async with connected(application) as (reader, writer):
        writer.write(request("PUT /", "Expect: 100-continue", "Content-Length: 2"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def test_a_body_nobody_asks_for_does_not_pile_up_in_memory() -> None:
    asked = asyncio.Event()
    sizes = []

    async def application(_scope, receive, send) -> None:
        await asked.wait()
        more = True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        await send(start(0))
        await send(body())

    content = bytes(64 << 20)
    async with connected(application) as (reader, writer):
        writer.write(request("PUT /", f"Content-Length: {len(content)}"))
        writer.write(content)
        await asyncio.sleep(0.3)
        assert writer.transport.get_write_buffer_size() > len(content) // 2
        asked.set()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert sum(sizes) == len(content)
    assert max(sizes) <= RECEIVE_BYTES


async def test_an_application_is_told_when_its_client_leaves() -> None:
    told = asyncio.get_running_loop().create_future()

    async def application(_scope, receive, _send) -> None:
        assert (await receive())["body"] == b"12"
        told.set_result((await receive())["type"])

    async with connected(application) as (_, writer):
        writer.write(request("PUT /", "Content-Length: 9") + b"12")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        assert await asyncio.wait_for(told, 5) == "http.disconnect"


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def content() -> bytes:
    return os.urandom(3 * STEP_BYTES + 17)


@pytest.fixture
def sending(tmp_path, content):
    """Make applications that send a part of a file without reading it."""
    (tmp_path / "file").write_bytes(content)

    def make(offset, count, *, promised=None):
        async def application(scope, _receive, send) -> None:
            assert ZERO_COPY in scope["extensions"]
            await send(start(count if promised is None else promised))
            with (tmp_path / "file").open("rb") as file:
                part = {"type": ZERO_COPY, "file": file, "offset": offset, "count": count}
                await send({**part, "more_body": True})
            await send(body())

        return application

    return make


@pytest.mark.parametrize("offset", [0, 1, STEP_BYTES])
async def test_a_file_arrives_byte_for_byte(sending, content, offset) -> None:
    count = len(content) - offset
    got = await answer_of(sending(offset, count), request("GET /", "Connection: close"))
    assert got.partition(b"\r\n\r\n")[2] == content[offset:]


async def test_a_file_waits_for_a_reader_that_is_slow(sending, content) -> None:
    async with connected(sending(0, len(content))) as (reader, writer):
        writer.write(request("GET /"))
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        assert await asyncio.wait_for(reader.readexactly(len(content)), 10) == content
        # The connection serves the next request, too.
        writer.write(request("GET /", "Connection: close"))
        assert (await asyncio.wait_for(reader.read(), 10)).endswith(content)


async def test_a_file_that_is_shorter_than_said_ends_the_connection(
    sending, content, caplog
) -> None:
    caplog.set_level("CRITICAL", "uvicorn.error")
    got = await answer_of(sending(0, len(content) + 1), request("GET /"))
    assert got.partition(b"\r\n\r\n")[2] == content


async def test_a_client_that_leaves_in_a_file_leaves_nothing_open(sending, content) -> None:
    before = open_files()
    async with listening(sending(0, len(content))) as server:
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request("GET /"))
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
    async with asyncio.timeout(60):
        while open_files() > before:  # noqa: ASYNC110 -- the kernel tells nobody
            await asyncio.sleep(0.01)

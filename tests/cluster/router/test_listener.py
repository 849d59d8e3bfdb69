import asyncio
import hashlib
import io
import random
import ssl

import aiohttp
import pytest
from aiohttp import web
from tests.peers import self_signed
from tests.ports import free_port

from hatoba.cluster.router.listener import EdgeListener
from hatoba.cluster.router.ports import Ports
from hatoba.cluster.router.proxy import Proxy, open_session

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return self_signed(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture
async def pod():
    """A pod that tells what it was asked, and echoes bodies."""
    app = web.Application(client_max_size=1 << 30)

    async def tell(request):
        return web.json_response({"path": request.raw_path, "headers": dict(request.headers)})

    async def echo(request):
        answer = web.StreamResponse(headers={"X-Echo": "1"})
        await answer.prepare(request)
        async for chunk in request.content.iter_any():
            await answer.write(chunk)
        return answer

    async def blob(request):
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": "12345", "ETag": '"x"'})
        return web.Response(status=206, body=b"part", headers={"Content-Range": "bytes 0-3/9"})

    async def broken(request):
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b"half")
        request.transport.abort()
        return answer

    app.router.add_route("*", "/echo", echo)
    app.router.add_route("*", "/blob", blob)
    app.router.add_get("/broken", broken)
    app.router.add_route("*", "/{rest:.*}", tell)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][:2]
    await runner.cleanup()


@pytest.fixture
async def edge(certificate, pod, tmp_path):
    """Start listeners: `await edge(pods=..., termination=...)` gives the port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    started = []
    async with open_session() as session:

        async def start(*, pods=(pod,), termination="edge", redirects=True):
            ports = Ports(tmp_path / "routes.json", hosts=["127.0.0.1"], preferred=[])
            port, sockets = ports.open(f"r{len(started)}")

            def choose(path):
                return list(pods)

            listener = EdgeListener(
                termination=termination, redirects_insecure=redirects, choose=choose,
                handler=Proxy(session, choose=choose, port=port, scheme="https"),
                ssl_context=context,
            )  # fmt: skip
            listener.start(sockets)
            started.append(listener)
            return port

        yield start
        for listener in started:
            await listener.close(grace_seconds=1)


@pytest.fixture
async def client(certificate):
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        yield session


async def test_a_request_reaches_a_pod_with_the_edges_headers(edge, client):
    port = await edge()
    url = f"https://localhost:{port}/v2/a?x=y"
    async with client.get(url, headers={"X-Forwarded-For": "6.6.6.6"}) as answer:
        seen = await answer.json()
    assert seen["path"] == "/v2/a?x=y"
    headers = seen["headers"]
    assert headers["Host"] == f"localhost:{port}"
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "https"
    assert headers["X-Forwarded-Port"] == str(port)


async def test_the_path_is_passed_on_as_it_was_written(edge):
    port = await edge()
    process = await asyncio.create_subprocess_exec(
        "curl", "-sk", f"https://localhost:{port}/v2/a%2Fb?digest=sha256%3Aff",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert b'"/v2/a%2Fb?digest=sha256%3Aff"' in output


async def test_large_bodies_stream_both_ways(edge, client):
    port = await edge()
    content = random.Random(1).randbytes(20 << 20)
    async with client.post(f"https://localhost:{port}/echo", data=io.BytesIO(content)) as answer:
        digest = hashlib.sha256(await answer.read()).hexdigest()
    assert digest == hashlib.sha256(content).hexdigest()


async def test_a_client_that_expects_a_continue_gets_one(edge, tmp_path):
    port = await edge()
    file = tmp_path / "body"
    file.write_bytes(b"x" * (3 << 20))
    process = await asyncio.create_subprocess_exec(
        "curl", "-sk", "-H", "Expect: 100-continue", "--expect100-timeout", "20", "-m", "10",
        "--data-binary", f"@{file}", "-o", str(tmp_path / "out"),
        f"https://localhost:{port}/echo",
    )  # fmt: skip
    assert await process.wait() == 0
    assert (tmp_path / "out").stat().st_size == 3 << 20


async def test_a_head_keeps_its_length_and_a_part_its_range(edge, client):
    port = await edge()
    async with client.head(f"https://localhost:{port}/blob") as answer:
        assert (answer.headers["Content-Length"], answer.headers["ETag"]) == ("12345", '"x"')
    async with client.get(f"https://localhost:{port}/blob") as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == "bytes 0-3/9"


async def test_a_pod_that_cannot_be_reached_is_passed_over(edge, client, pod):
    port = await edge(pods=[("127.0.0.1", free_port()), pod])
    async with client.post(f"https://localhost:{port}/echo", data=b"hello") as answer:
        assert await answer.read() == b"hello"


async def test_without_a_ready_pod_the_answer_is_503(edge, client):
    port = await edge(pods=[])
    async with client.get(f"https://localhost:{port}/") as answer:
        assert answer.status == 503


async def test_a_body_that_a_pod_cut_short_is_not_taken_for_whole(edge, client):
    port = await edge()
    with pytest.raises(aiohttp.ClientError):
        async with client.get(f"https://localhost:{port}/broken") as answer:
            await answer.read()


async def test_plain_http_on_the_tls_port_is_redirected(edge, client):
    port = await edge()
    async with client.get(f"http://localhost:{port}/a?b=c", allow_redirects=False) as answer:
        assert answer.status == 302
        assert answer.headers["Location"] == f"https://localhost:{port}/a?b=c"


async def test_plain_http_is_refused_where_the_route_does_not_redirect(edge, client):
    port = await edge(redirects=False)
    async with client.get(f"http://localhost:{port}/") as answer:
        assert answer.status == 400


async def test_a_route_without_tls_serves_plain_http(edge, client):
    port = await edge(termination="none", redirects=False)
    async with client.get(f"http://localhost:{port}/x") as answer:
        assert (await answer.json())["path"] == "/x"


async def test_passed_through_tls_ends_in_the_pod(edge, client, certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\npod")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        port = await edge(pods=[server.sockets[0].getsockname()], termination="passthrough")
        async with client.get(f"https://localhost:{port}/") as reply:
            assert await reply.read() == b"pod"

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.clients import parse_wrk, wrk_script
from bench.load.engine import run
from bench.load.scripts import digest_of, slices, suffix_of
from bench.load.spec import Cycle, LoadSpec, Part
from bench.load.wire import Incoming, request
from bench.model import BenchmarkFailed

SUFFIX = b"0123456789abcdef"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"x" * 3000
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 -- the name that http.server calls

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def load(server, *paths, method="GET", limit=20, seconds=20.0):
    work = Cycle(method=method, paths=list(paths), headers={"Connection": "keep-alive"})
    return run(
        LoadSpec(
            port=server.server_port,
            parts=[Part(connections=3, work=work)],
            seconds=seconds,
            limit=limit,
        )
    )


@pytest.mark.parametrize(("method", "size"), [("GET", 3000), ("HEAD", 0)])
def test_every_operation_is_counted_with_its_body(server, method, size):
    found = load(server, "/", method=method)
    assert (found.requests, found.failures, found.body_bytes) == (20, 0, 20 * size)
    assert 0 < found.p50_ms <= found.p99_ms <= found.seconds * 1000


def test_an_unexpected_status_is_a_failure_and_no_latency(server):
    found = load(server, "/", "/broken")
    assert (found.requests, found.failures) == (10, 10)
    assert found.first_failure == "status 500 instead of 200"


def test_a_run_ends_by_time(server):
    assert load(server, "/", limit=10**9, seconds=0.2).seconds < 10


@given(
    st.integers(16, 5 * (1 << 20)),
    st.lists(st.integers(1, 2 << 20), min_size=3, max_size=8),
)
def test_the_parts_of_a_body_make_the_whole(size, lengths):
    hasher, at = hashlib.sha256(), 0
    for length in [*lengths, size]:
        stop = min(at + length, size)
        parts = list(slices(size, SUFFIX, start=at, stop=stop))
        assert sum(map(len, parts)) == stop - at
        for part in parts:
            hasher.update(part)
        at = stop
    assert f"sha256:{hasher.hexdigest()}" == digest_of(size, SUFFIX)


def test_no_two_bodies_are_alike():
    found = {digest_of(64, suffix_of(nonce, n)) for nonce in "ab" for n in range(50)}
    assert len(found) == 100


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", 5),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 0),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", 15),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_response_is_complete_with_its_last_byte_and_not_before(text, counted, step):
    incoming = Incoming(is_head=False)
    for at in range(0, len(text), step):
        assert not incoming.is_complete
        incoming.feed(memoryview(text[at : at + step]))
    assert (incoming.is_complete, incoming.body_bytes) == (True, counted)


def test_a_header_is_found_whatever_its_case():
    incoming = Incoming(is_head=True)
    incoming.feed(memoryview(b"HTTP/1.1 202 Accepted\r\nLocation: /v2/x\r\n\r\n"))
    assert (incoming.status, incoming.header(b"location"), incoming.header(b"range")) == (
        202,
        "/v2/x",
        "",
    )


def test_a_body_announces_its_length_and_a_get_has_none():
    put = request("PUT", "/", port=1, headers={}, body=[memoryview(b"ab")], length=2)
    get = request("GET", "/", port=1, headers={"Accept": "x"})
    assert b"\r\nContent-Length: 2\r\n" in put.head
    assert get.head == b"GET / HTTP/1.1\r\nHost: localhost:1\r\nAccept: x\r\n\r\n"


def test_the_line_of_wrk_is_read():
    output = (
        "Running 1s test\nRESULT "
        '{"requests": 10, "microseconds": 500000, "bytes": 900, "failed": 2, "broken": 1,'
        ' "p50": 1500, "p99": 20000}\n'
    )
    found = parse_wrk(output, cpu_seconds=0.1)
    assert (found.requests, found.failures, found.rate) == (8, 3, 16)
    assert (found.p50_ms, found.p99_ms, found.client_share) == (1.5, 20, 0.2)


def test_a_wrk_that_says_nothing_is_no_measurement():
    with pytest.raises(BenchmarkFailed):
        parse_wrk("unable to connect", cpu_seconds=0)


def test_paths_and_headers_stand_quoted_in_the_script_of_wrk():
    script = wrk_script(["/v2/a", "/v2/b"], {"Authorization": 'Bearer "x"'})
    assert 'local paths = {"/v2/a", "/v2/b"}' in script
    assert '["Authorization"] = "Bearer \\"x\\""' in script

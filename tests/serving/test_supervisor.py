"""A supervised server as a real process: restarts, drain, refusal to start."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.ports import free_port

PROGRAM = """
import asyncio, os, sys
from contextlib import asynccontextmanager
from hatoba.serving.asgi import answer
from hatoba.serving.listeners import Listener
from hatoba.serving.supervisor import serve

public, management, fails = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "fails"

@asynccontextmanager
async def application(worker):
    if fails:
        raise RuntimeError("no database")
    async def app(scope, receive, send):
        if scope["path"] == "/slow":
            await asyncio.sleep(1.0)
        await answer(send, status=503 if worker.is_draining else 200, body=str(os.getpid()).encode())
    yield app

async def duties(worker):
    await asyncio.Event().wait()

sys.exit(serve(application, listeners=[Listener(host="127.0.0.1", port=public)], workers=2,
               duties=duties, management=Listener(host="127.0.0.1", port=management)))
"""


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def eventually(condition, *, within=10.0):
    deadline = time.monotonic() + within
    while True:
        try:
            if value := condition():
                return value
        except OSError:
            pass
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.02)


@dataclass
class Server:
    process: subprocess.Popen[str]
    port: int
    management: int

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


@contextmanager
def running(*, fails=False, drain="1") -> Iterator[Server]:
    port, management = free_port(), free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port), str(management), "fails" if fails else "works"],
        env={**os.environ, "HATOBA_DRAIN_SECONDS": drain},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Server(process, port, management)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_answers_and_is_ready() -> None:
    with running() as server:
        eventually(lambda: get(server.management, "/readyz")[0] == 200)
        assert get(server.port, "/")[0] == 200
        assert get(server.management, "/healthz")[0] == 200


def test_a_killed_worker_is_replaced() -> None:
    with running() as server:
        pid = int(eventually(lambda: get(server.port, "/")[1]))
        os.kill(pid, signal.SIGKILL)
        before = len(server.children())
        eventually(lambda: pid not in server.children() and len(server.children()) >= before)
        assert get(server.port, "/")[0] == 200


def test_sigterm_denies_readiness_at_once_and_still_serves() -> None:
    with running(drain="2") as server:
        eventually(lambda: get(server.management, "/readyz")[0] == 200)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: get(server.management, "/readyz")[0] == 503, within=1)
        assert get(server.port, "/")[0] == 503
        assert server.process.wait(10) == 0


def test_a_request_in_flight_is_finished() -> None:
    with running(drain="0") as server:
        eventually(lambda: get(server.management, "/readyz")[0] == 200)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/slow")
        time.sleep(0.1)  # the request has to be under way; there is nothing to observe from here
        server.process.send_signal(signal.SIGTERM)
        assert connection.getresponse().read()
        connection.close()
        assert server.process.wait(10) == 0


def test_a_server_that_cannot_start_ends_with_an_error() -> None:
    with running(fails=True) as server:
        assert server.process.wait(10) == 1


def test_workers_end_when_the_supervisor_is_killed() -> None:
    with running(drain="0") as server:
        eventually(lambda: get(server.management, "/readyz")[0] == 200)
        children = server.children()
        server.process.kill()
        eventually(lambda: not any(_alive(pid) for pid in children))


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(port), str(free_port()), "works"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode != 0
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.anyio
async def test_listening_serves_inside_a_loop() -> None:
    import aiohttp

    from hatoba.serving.asgi import answer
    from hatoba.serving.listeners import listening

    async def app(scope, receive, send):
        await answer(send, status=200, body=scope["path"].encode())

    async with (
        listening(app) as server,
        aiohttp.ClientSession() as session,
        session.get(server.url + "/here") as response,
    ):
        assert await response.text() == "/here"

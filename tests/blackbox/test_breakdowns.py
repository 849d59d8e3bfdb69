"""A disk that is full and a database that is gone: refused with a reason, and nothing is lost."""

import os
import shutil
import socket
import subprocess
import threading
import time
from base64 import b64encode
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest
from tests.blackbox.conftest import PASSWORD, on_postgresql, standalone
from tests.blackbox.test_protocol import Client

from hatoba.kernel.digests import Digest

pytestmark = [pytest.mark.timeout(120)]

DISK_BYTES = 8 << 20


@contextmanager
def small_disk(path):
    """A file system of its own below `path`; only root may mount one."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system to fill")
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


class Wire:
    """Carries bytes to a server until it is cut."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._server = (target.hostname, target.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._is_cut = False
        port = self._listener.getsockname()[1]
        self.url = url.replace(f"{target.hostname}:{target.port}", f"127.0.0.1:{port}")
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
                continue
            server = socket.create_connection(self._server)
            self._open += [client, server]
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self._is_cut = True
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._listener.close()


@pytest.fixture(scope="module")
def wired(postgres_server, tmp_path_factory):
    """A registry, and the wire to its database."""
    with postgres_server.database() as url:
        wire = Wire(url)
        try:
            with on_postgresql(tmp_path_factory.mktemp("wired"), wire.url) as registry:
                yield registry, wire
        finally:
            wire.close()


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def stored(registry) -> set[str]:
    """The digests whose bytes lie in the storage."""
    return {path.name for path in (registry.directory / "storage" / "sha256").glob("*/*")}


@pytest.mark.postgres
def test_a_database_lost_during_a_push_is_told_and_the_push_can_be_repeated(wired) -> None:
    registry, wire = wired
    client = Client(registry, "admin/lost-database")
    content = b"x" * 100_000
    digest = str(Digest.of(content))
    upload = client.start()
    assert client.call("PATCH", upload, body=content[:40_000]).status == 202
    manifest = client.image("lost")
    wire.cut()
    refused = [
        client.call("PUT", f"{upload}?digest={digest}", body=content[40_000:]),
        client.call("POST", "/blobs/uploads/"),
        client.push("v1", manifest),
        client.call("GET", "/manifests/v1"),
        registry.call("GET", "/v2/auth?service=x&scope=repository:admin/x:pull"),
        registry.call("GET", "/v2/auth?service=x", headers=basic("admin", PASSWORD)),
    ]
    wire.mend()
    assert [answer.status for answer in refused] == [503] * len(refused)
    assert all(answer.json["errors"][0]["message"] for answer in refused)
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert client.call("GET", f"/blobs/{digest}").status == 404
    assert client.call("GET", "/manifests/v1").status == 404
    progress = client.call("GET", upload)
    assert progress.headers["range"] == "0-39999"
    finished = client.call("PUT", f"{upload}?digest={digest}", body=content[40_000:])
    assert finished.status == 201
    assert client.call("GET", f"/blobs/{digest}").body == content
    assert client.push("v1", manifest).status == 201


def health_becomes(registry, status: int) -> bool:
    """Whether a probe soon answers so; each worker keeps an answer for a second."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if registry.call("GET", "/health/instance").status == status:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.postgres
def test_a_lost_database_takes_a_pod_out_of_its_service(wired) -> None:
    registry, wire = wired
    wire.cut()
    try:
        assert health_becomes(registry, 503)
    finally:
        wire.mend()
    assert health_becomes(registry, 200)


def test_a_full_disk_is_told_and_acknowledges_nothing(tmp_path) -> None:
    with standalone(tmp_path) as registry:
        client = Client(registry, "admin/full-disk")
        kept = client.push_blob(b"kept" * 1000)
        storage = registry.directory / "storage"
        shutil.move(storage, tmp_path / "before")
        with small_disk(storage):
            shutil.copytree(tmp_path / "before", storage, dirs_exist_ok=True)
            too_large = os.urandom(DISK_BYTES + (1 << 20))
            digest = str(Digest.of(too_large))
            upload = client.start()
            assert client.call("PATCH", upload, body=too_large[:1000]).status == 202
            before = stored(registry)
            refused = client.call("PUT", f"{upload}?digest={digest}", body=too_large[1000:])
            assert refused.status == 503, refused.body
            assert "full" in refused.json["errors"][0]["message"]
            assert stored(registry) == before
            assert client.call("GET", f"/blobs/{digest}").status == 404
            assert client.call("GET", f"/blobs/{kept}").body == b"kept" * 1000
            assert client.call("GET", upload).headers["range"] == "0-999"
            assert client.call("DELETE", upload).status == 204
            assert client.push_blob(b"room again" * 1000)

"""What was acknowledged survives `kill -9`, and work goes on around a drain."""

import http.client
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.blackbox.conftest import on_postgresql, restarted, standalone, wait_until_healthy
from tests.blackbox.test_protocol import Client
from tests.postgresql import end_sessions, query

from hatoba.kernel.digests import Digest

pytestmark = [pytest.mark.timeout(240)]
PATIENCE_SECONDS = 60


class Pusher(threading.Thread):
    """Pushes images one after another and remembers what was acknowledged."""

    def __init__(self, registry, number: int) -> None:
        super().__init__(daemon=True)
        self.client = Client(registry, f"admin/faults-{number}")
        self.number = number
        self.stopping = threading.Event()
        self.acknowledged: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.broken = 0

    def run(self) -> None:
        count = 0
        while not self.stopping.is_set():
            count += 1
            try:
                self.push_one(f"{self.number}-{count}")
            except (OSError, http.client.HTTPException):
                self.broken += 1

    def push_one(self, text: str) -> None:
        content = random.Random(text).randbytes(300_000)
        digest = str(Digest.of(content))
        upload = self.client.start()
        half = len(content) // 2
        if self.client.call("PATCH", upload, body=content[:half]).status != 202:
            return
        if self.client.call("PUT", f"{upload}?digest={digest}", body=content[half:]).status == 201:
            self.acknowledged[digest] = content
        manifest = self.client.image(text)
        if self.client.push(f"t{text}", manifest).status == 201:
            self.tags[f"t{text}"] = str(Digest.of(manifest))

    def check(self) -> None:
        for digest, content in self.acknowledged.items():
            answer = self.client.call("GET", f"/blobs/{digest}")
            assert answer.status == 200, f"acknowledged blob {digest} is lost: {answer.body!r}"
            assert answer.body == content
        for tag, digest in self.tags.items():
            answer = self.client.call("GET", f"/manifests/{tag}")
            assert answer.status == 200, f"acknowledged tag {tag} is lost: {answer.body!r}"
            assert str(Digest.of(answer.body)) == digest


def acknowledged(pushers: list[Pusher]) -> int:
    return sum(len(pusher.acknowledged) for pusher in pushers)


def push_while(registry, disturb, *, seconds: float = 6.0) -> list[Pusher]:
    pushers = [Pusher(registry, number) for number in range(3)]
    for pusher in pushers:
        pusher.start()
    end, latest = time.monotonic() + seconds, time.monotonic() + seconds + PATIENCE_SECONDS
    # A busy machine pushes little in its time: the history must be worth a look all the same.
    while time.monotonic() < end or (acknowledged(pushers) <= 10 and time.monotonic() < latest):
        disturb()
        time.sleep(0.4)
    for pusher in pushers:
        pusher.stopping.set()
    for pusher in pushers:
        pusher.join(60)
    assert acknowledged(pushers) > 10
    return pushers


@pytest.mark.postgres
def test_killing_workers_loses_nothing_acknowledged(postgres_server, tmp_path) -> None:
    with postgres_server.database() as url, on_postgresql(tmp_path, url) as registry:

        def kill_one() -> None:
            if workers := registry.workers():
                os.kill(random.choice(workers), signal.SIGKILL)

        pushers = push_while(registry, kill_one)
        wait_until_healthy(registry.port, registry.process, registry.log)
        for pusher in pushers:
            pusher.check()
        assert sum(pusher.broken for pusher in pushers) > 0, "no request was disturbed"


def test_killing_everything_loses_nothing_acknowledged(tmp_path) -> None:
    with standalone(tmp_path) as registry:
        pushers = push_while(registry, lambda: None, seconds=3)
        for pid in [registry.process.pid, *registry.workers()]:
            os.kill(pid, signal.SIGKILL)
        registry.process.wait()
        with restarted(registry):
            for pusher in pushers:
                pusher.check()


@pytest.mark.postgres
def test_pulls_and_pushes_leave_audit_rows(postgres_server, tmp_path) -> None:
    with postgres_server.database() as url:
        with on_postgresql(tmp_path, url) as registry:
            client = Client(registry, "admin/audited")
            client.push("v1", client.image("x"))
            client.call("GET", "/manifests/v1", User_Agent="tester/1.0")
            client.call("DELETE", "/manifests/v1")
        # The registry has ended: what was buffered must have been written.
        rows = query(
            url,
            "SELECT k.name, u.username, l.metadata_json FROM logentry3 l "
            "JOIN logentrykind k ON k.id = l.kind_id "
            'LEFT JOIN "user" u ON u.id = l.performer_id ORDER BY l.id',
        )
    kinds = [row["name"] for row in rows]
    assert {"push_repo", "pull_repo", "delete_tag"} <= set(kinds)
    pull = next(row for row in rows if row["name"] == "pull_repo")
    assert pull["username"] == "admin"
    assert '"tag": "v1"' in pull["metadata_json"]
    assert "tester/1.0" in pull["metadata_json"]


def metrics_of(registry) -> str:
    connection = http.client.HTTPConnection(registry.metrics_host, 9091, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def in_flight(registry) -> float:
    lines = metrics_of(registry).splitlines()
    name = "hatoba_registry_requests_in_flight "
    return float(next(line for line in lines if line.startswith(name)).removeprefix(name))


def becomes(question, wanted) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if question() == wanted:
            return True
        time.sleep(0.05)
    return False


@contextmanager
def half_an_upload(client: Client):
    """Send the half of a chunk, and leave when the context ends."""
    connection = http.client.HTTPConnection("127.0.0.1", client.registry.port, timeout=10)
    connection.putrequest("PATCH", f"/v2/{client.name}{client.start()}")
    for name, value in {**client.headers, "Content-Length": "1000"}.items():
        connection.putheader(name, value)
    connection.endheaders(b"x" * 500)
    yield
    connection.close()


@pytest.mark.postgres
def test_metrics_and_readiness_have_a_port_of_their_own(postgres_server, tmp_path) -> None:
    with postgres_server.database() as url, on_postgresql(tmp_path, url) as registry:
        client = Client(registry, "admin/measured")
        client.push("v1", client.image("x"))
        client.call("GET", "/manifests/v1")
        text = metrics_of(registry)
        with half_an_upload(client):
            assert becomes(lambda: in_flight(registry), 1.0)
        assert becomes(lambda: in_flight(registry), 0.0)
    assert 'quay_registry_image_pulls_total{protocol="v2",ref="tag",status="200"} 1.0' in text
    assert "quay_registry_image_pushes_total" in text
    assert 'quay_request_duration_seconds_count{method="GET",route="v2.manifest"' in text


@pytest.mark.postgres
def test_an_idle_database_loss_is_survived(postgres_server, tmp_path) -> None:
    with postgres_server.database() as url, on_postgresql(tmp_path, url) as registry:
        client = Client(registry, "admin/reconnect")
        client.push("v1", client.image("x"))
        end_sessions(url)
        assert client.call("GET", "/manifests/v1").status == 200
        assert client.push("v2", client.image("y")).status == 201


def test_a_second_signal_does_not_hang(tmp_path) -> None:
    with standalone(tmp_path) as registry:
        registry.process.send_signal(signal.SIGTERM)
        registry.process.send_signal(signal.SIGINT)
        assert registry.process.wait(20) == 0


@pytest.mark.postgres
def test_draining_answers_probes_with_503_and_still_serves(postgres_server, tmp_path) -> None:
    with (
        postgres_server.database() as url,
        on_postgresql(tmp_path, url, drain="3") as registry,
    ):
        client = Client(registry, "admin/draining")
        client.push("v1", client.image("x"))
        registry.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 2
        while registry.call("GET", "/health/instance").status != 503:
            assert time.monotonic() < deadline
        answer = client.call("GET", "/manifests/v1")
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert registry.process.wait(20) == 0


def test_a_database_without_tables_is_named(tmp_path) -> None:
    config = {
        "DB_URI": f"sqlite:///{tmp_path}/empty.db",
        "DISTRIBUTED_STORAGE_CONFIG": {"default": ["LocalStorage", {"storage_path": "storage"}]},
        "SECRET_KEY": "s" * 64,
        "DATABASE_SECRET_KEY": "d" * 64,
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [sys.executable, "-m", "hatoba.cli.main", "registry", "serve", "--config", tmp_path],
        env={**os.environ, "HATOBA_BIND": "127.9.9.9"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "hatoba registry migrate" in done.stderr


@pytest.mark.postgres
def test_https_is_served_when_a_certificate_lies_beside_the_configuration(
    postgres_server, tmp_path
) -> None:
    certificate = make_certificate(tmp_path)
    with (
        postgres_server.database() as url,
        on_postgresql(tmp_path, url, SSL_PROTOCOLS=["TLSv1.3"]) as registry,
    ):
        context = ssl.create_default_context(cafile=str(certificate))
        with (
            socket.create_connection((registry.metrics_host, 8443), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="registry") as secured,
        ):
            secured.sendall(b"GET /v2/ HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n")
            assert secured.recv(100).startswith(b"HTTP/1.1 401")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with (
            socket.create_connection((registry.metrics_host, 8443), timeout=10) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            context.wrap_socket(plain, server_hostname="registry")


@pytest.mark.postgres
def test_a_deleted_repository_is_forgotten_by_every_worker(postgres_server, tmp_path) -> None:
    with postgres_server.database() as url, on_postgresql(tmp_path, url) as registry:
        client = Client(registry, "admin/doomed")
        digest = str(Digest.of(manifest := client.image("x")))
        client.push("v1", manifest)
        for _ in range(8):
            assert client.call("GET", f"/manifests/{digest}").status == 200
        assert registry.api("DELETE", "/repository/admin/doomed").status == 204
        time.sleep(0.1)  # the stated bound: one notification of PostgreSQL
        for _ in range(8):
            assert client.call("GET", f"/manifests/{digest}").status == 404


def test_neighbours_stay_at_the_name_they_came_by(tmp_path) -> None:
    with standalone(tmp_path) as registry:
        client = Client(registry, "admin/neighbour")
        public = client.call("POST", "/blobs/uploads/", Host=registry.host)
        inside = client.call("POST", "/blobs/uploads/", Host="quay-app:8080")
    assert public.headers["location"].startswith(f"http://{registry.host}/v2/")
    assert inside.headers["location"].startswith("/v2/admin/neighbour/blobs/uploads/")


def make_certificate(directory):
    """Write ssl.cert and ssl.key, self-signed for the name `registry`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("registry")]), False)
        .sign(key, hashes.SHA256())
    )
    (directory / "ssl.cert").write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "ssl.key").write_bytes(pem)
    return directory / "ssl.cert"

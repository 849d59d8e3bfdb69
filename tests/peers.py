"""Debian's docker-registry as a peer: over TLS, with credentials, on a free loopback port."""

import datetime as dt
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.ports import free_port


@dataclass
class Peer:
    """A running docker-registry."""

    port: int
    username: str
    password: str
    certificate: Path
    process: subprocess.Popen

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"


def self_signed(directory: Path, *hosts: str) -> tuple[Path, Path]:
    """Write `tls.crt` and `tls.key` for these hosts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(host) for host in hosts]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [*names, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "tls.crt", directory / "tls.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@contextmanager
def docker_registry(
    directory: Path, *, username: str = "peer", password: str = "peer-password"
) -> Iterator[Peer]:
    """Start a docker-registry that demands credentials; ended with the context."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    certificate, key = self_signed(directory, "localhost")
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    (directory / "htpasswd").write_text(f"{username}:{hashed}\n")
    port = free_port()
    (directory / "config.yml").write_text(f"""\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {directory}/data}}}}
http: {{addr: "127.0.0.1:{port}", tls: {{certificate: {certificate}, key: {key}}}}}
auth: {{htpasswd: {{realm: peer, path: {directory}/htpasswd}}}}
""")
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [program, "serve", str(directory / "config.yml")],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        _wait(process, port)
        yield Peer(port, username, password, certificate, process)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)


def _wait(process: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("docker-registry did not start")

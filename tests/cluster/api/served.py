"""What tests of the API server share: a fake node, clients, certificates."""

import asyncio
import ipaddress
import json
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hatoba.cluster.api.assembly import Api
from hatoba.cluster.api.local import LocalObjects
from hatoba.cluster.api.server import Server
from hatoba.cluster.node import ExecSession, LogRequest, Node, Usage

TOKEN = "administrator"


@dataclass(slots=True)
class EchoSession(ExecSession):
    """A program that repeats its input, complains once and ends with a chosen code."""

    code: int
    typed: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    stdin: bool = False

    async def write(self, data):
        await self.typed.put(data)

    async def output(self):
        yield 1, b"started\n"
        yield 2, b"warned\n"
        while self.stdin and (data := await self.typed.get()):
            yield 1, data

    async def wait(self):
        return self.code

    async def close(self):
        pass


class FakeNode(Node):
    """A machine on which every container says the same."""

    async def logs(self, namespace: str, pod: str, request: LogRequest) -> AsyncIterator[bytes]:
        lines = [b"one\n", b"two\n", b"three\n"]
        for line in lines[-request.tail_lines :] if request.tail_lines else lines:
            yield line

    async def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: bool
    ) -> ExecSession:
        return EchoSession(int(command[-1]) if command[-1].isdecimal() else 0, stdin=stdin)

    def usage(self, namespace: str, pod: str) -> Sequence[Usage]:
        return [
            Usage(
                container="c",
                cpu_nanocores=2_500_000,
                memory_bytes=10 << 20,
                at=1e9,
                window_seconds=15,
            )
        ]


@dataclass(slots=True)
class Cluster:
    """A served API and clients for it."""

    api: Api
    server: Server
    objects: LocalObjects
    session: aiohttp.ClientSession
    scheme: str = "http"

    async def call(
        self,
        method: str,
        path: str,
        body=None,
        *,
        accept="application/json",
        kind="application/json",
    ):
        headers = {"Accept": accept, "Authorization": f"Bearer {TOKEN}"}
        data = body
        if body is not None:
            headers["Content-Type"] = kind
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.scheme}://{self.server.address}{path}"
        async with self.session.request(method, url, data=data, headers=headers) as response:
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.text()


def write_certificate(directory: Path) -> ssl.SSLContext:
    """Make a self-signed certificate for loopback; return the server's side of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([address, x509.DNSName("localhost")]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "ca.pem", directory / "key.pem")
    return context


@dataclass(slots=True)
class Shell:
    """Runs kubectl against a served API over TLS."""

    program: Path
    home: Path
    objects: LocalObjects

    async def run(self, *arguments: str, stdin: str = "", expect: int = 0) -> str:
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.home / "kubeconfig"),
            "KUBECACHEDIR": str(self.home / f"cache-{self.program.name}"),
        }
        process = await asyncio.create_subprocess_exec(
            str(self.program),
            *arguments,
            env=environment,
            cwd=self.home,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        text = output.decode()
        assert process.returncode == expect, f"{arguments}: {process.returncode}\n{text}"
        return text

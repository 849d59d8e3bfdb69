"""What people type at rollouts, with the real kubectl, over the network."""

import asyncio
import ipaddress
import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.cluster.controllers.conftest import NAMESPACE, build, deployment
from tests.kubectls import kubectl as kubectl_of

from hatoba.cluster.api.server import serve
from hatoba.kernel.clock import SystemClock

pytestmark = [pytest.mark.anyio, pytest.mark.kubectl]

TOKEN = "kubectl-tests"


@pytest.fixture
def anyio_backend():
    """A program outside has its own time: no jumping here."""
    return "asyncio"


def _certificate(directory: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster")])
    now = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = directory / "server.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


class Kubectl:
    """Runs kubectl against one server."""

    def __init__(self, client: str, address: str, home: Path) -> None:
        self.client = client
        self.home = home
        self.options = (
            f"--server={address}",
            f"--token={TOKEN}",
            "--insecure-skip-tls-verify",
            f"--namespace={NAMESPACE}",
            f"--cache-dir={home / 'cache'}",
        )

    async def __call__(self, *words: str, stdin: str = "") -> str:
        code, out, err = await self.attempt(*words, stdin=stdin)
        assert code == 0, f"{' '.join(words)}: {err}"
        return out

    async def attempt(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            self.client,
            *self.options,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
        )
        async with asyncio.timeout(40):
            out, err = await process.communicate(stdin.encode())
        return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
async def kubectl(tmp_path):
    client = str(kubectl_of("1.32"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))
    async with build(tmp_path, clock=SystemClock(), admin_token=TOKEN) as cluster:
        server = await serve(cluster.api, node=cluster.machine, tls=context)
        try:
            yield Kubectl(client, f"https://127.0.0.1:{server.port}", tmp_path)
        finally:
            await server.close()


async def make(kubectl, obj):
    await kubectl("create", "-f", "-", stdin=json.dumps(obj))


async def test_a_rollout_from_its_start_to_going_back(kubectl):
    await make(kubectl, deployment(replicas=3))
    assert 'deployment "web" successfully rolled out' in await kubectl(
        "rollout", "status", "deploy/web", "--timeout=30s"
    )

    await kubectl("set", "image", "deploy/web", "app=app:2")
    assert "successfully rolled out" in await kubectl("rollout", "status", "deploy/web")
    history = await kubectl("rollout", "history", "deploy/web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2"]

    await kubectl("rollout", "undo", "deploy/web")
    await kubectl("rollout", "status", "deploy/web")
    image = "jsonpath={.items[*].spec.containers[*].image}"
    assert await kubectl("get", "pods", "-o", image) == "app:1 app:1 app:1"
    history = await kubectl("rollout", "history", "deploy/web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["2", "3"]

    await kubectl("scale", "deploy/web", "--replicas=1")
    await kubectl("wait", "deploy/web", "--for=jsonpath={.status.replicas}=1", "--timeout=20s")


async def test_pause_resume_and_restart(kubectl):
    await make(kubectl, deployment())
    await kubectl("rollout", "status", "deploy/web")
    await kubectl("set", "env", "deploy/web", "V=2")
    await kubectl("rollout", "status", "deploy/web")
    await kubectl("rollout", "pause", "deploy/web")
    await kubectl("set", "env", "deploy/web", "V=3")
    code, out, err = await kubectl.attempt("rollout", "status", "deploy/web", "--timeout=1s")
    assert code == 1
    assert "0 out of 2 new replicas have been updated" in out
    _, _, err = await kubectl.attempt("rollout", "undo", "deploy/web")
    assert "you cannot rollback a paused deployment" in err

    await kubectl("rollout", "resume", "deploy/web")
    assert "successfully rolled out" in await kubectl("rollout", "status", "deploy/web")
    await kubectl("rollout", "restart", "deploy/web")
    assert "successfully rolled out" in await kubectl("rollout", "status", "deploy/web")
    sets = await kubectl("get", "rs", "-o", "jsonpath={.items[*].spec.replicas}")
    assert sorted(sets.split()) == ["0", "0", "0", "2"]


async def test_waiting_for_jobs_and_deleting_trees(kubectl):
    await make(kubectl, deployment())
    await kubectl("rollout", "status", "deploy/web")
    await kubectl("create", "job", "once", "--image=app:1", "--", "true")
    await kubectl("wait", "job/once", "--for=jsonpath={.status.active}=1", "--timeout=20s")

    await kubectl("delete", "job/once", "--wait=true", "--timeout=20s")
    await kubectl("delete", "deploy/web", "--cascade=foreground", "--timeout=20s")
    assert await kubectl("get", "rs,pods", "-o", "name") == ""

    await kubectl("delete", "namespace", NAMESPACE, "--timeout=30s")
    code, _, err = await kubectl.attempt("get", "namespace", NAMESPACE)
    assert code == 1
    assert "NotFound" in err

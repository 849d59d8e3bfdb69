"""kube-apiserver and etcd out of KUBEBUILDER_ASSETS, for the suite: a cluster without controllers.

    KUBEBUILDER_ASSETS=DIRECTORY python -m tests.operator.control_plane COMMAND...

starts both on loopback, runs the command with HATOBA_TEST_KUBECONFIG, and ends them. The flags are
those of Kubernetes' own test environment, but for the administrator, who has a static token.
Without a directory it takes the stand-ins, which are the embedded API in a process of its own.
"""

import contextlib
import os
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.peers import self_signed

SECONDS = 120
"""How long each of the two may take until it is ready."""
WORDS = 4000
"""How many characters of a log explain a failure."""


class NotStarted(Exception):
    """A server ended, or did not become ready."""


@contextlib.contextmanager
def control_plane(assets: Path, directory: Path) -> Iterator[Path]:
    """Start etcd and kube-apiserver; give the administrator's kubeconfig.

    Raises:
        NotStarted: one of them is not there, ended, or did not become ready; with its last words.
    """
    certificate, key = self_signed(directory, "localhost")
    context = ssl.create_default_context(cafile=str(certificate))
    token = secrets.token_hex(16)
    store, port = f"http://127.0.0.1:{_free_port()}", _free_port()
    server = f"https://127.0.0.1:{port}"
    with (
        _running(assets / "etcd", _etcd_flags(store, directory), f"{store}/health"),
        _running(
            assets / "kube-apiserver",
            [
                f"--etcd-servers={store}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--tls-cert-file={certificate}",
                f"--tls-private-key-file={key}",
                f"--cert-dir={directory}",
                f"--token-auth-file={_token_file(directory, token)}",
                "--authorization-mode=RBAC",
                "--allow-privileged=true",
                "--service-cluster-ip-range=10.0.0.0/24",
                # No controller makes the accounts that this plugin asks for.
                "--disable-admission-plugins=ServiceAccount",
                *_account_flags(directory, server),
            ],
            f"{server}/readyz",
            context=context,
            token=token,
        ),
    ):
        yield _kubeconfig(directory, server, certificate, token)


def _etcd_flags(store: str, directory: Path) -> list[str]:
    return [
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={store}",
        f"--advertise-client-urls={store}",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--unsafe-no-fsync=true",
    ]


def _account_flags(directory: Path, server: str) -> list[str]:
    """Make the pair by which tokens of service accounts are signed and known."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private, public = directory / "accounts.key", directory / "accounts.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return [
        f"--service-account-issuer={server}",
        f"--service-account-signing-key-file={private}",
        f"--service-account-key-file={public}",
    ]


def _token_file(directory: Path, token: str) -> Path:
    path = directory / "tokens.csv"
    path.write_text(f'{token},admin,admin,"system:masters"\n')
    path.chmod(0o600)
    return path


def _kubeconfig(directory: Path, server: str, authority: Path, token: str) -> Path:
    path = directory / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "assets",
                "cluster": {"server": server, "certificate-authority": str(authority)},
            }
        ],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "assets", "context": {"cluster": "assets", "user": "admin"}}],
        "current-context": "assets",
    }
    path.write_text(yaml.safe_dump(content))
    return path


@contextlib.contextmanager
def _running(
    program: Path,
    flags: Sequence[str],
    readiness: str,
    *,
    context: ssl.SSLContext | None = None,
    token: str = "",
) -> Iterator[None]:
    if not os.access(program, os.X_OK):
        raise NotStarted(f"{program} is no program: KUBEBUILDER_ASSETS holds etcd, kube-apiserver")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([program, *flags], stdout=log, stderr=log)
        try:
            if not _is_ready(process, readiness, context=context, token=token):
                log.seek(0)
                words = log.read().decode(errors="replace")[-WORDS:]
                raise NotStarted(f"{program.name} is not ready ({process.poll()}): {words}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_ready(
    process: "subprocess.Popen[bytes]", url: str, *, context: ssl.SSLContext | None, token: str
) -> bool:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(request, timeout=5, context=context),
        ):
            return True
        time.sleep(0.1)
    return False


def _free_port() -> int:
    """Return a port that nobody holds, below those that systems give to whoever asks for any."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def main() -> int:
    """Run a command against a control plane; return how it ended."""
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="hatoba-test-assets-") as directory:
        return _run_beside(_assets(Path(directory)), Path(directory), sys.argv[1:])


def _assets(directory: Path) -> Path:
    if given := os.environ.get("KUBEBUILDER_ASSETS", ""):
        return Path(given)
    print("KUBEBUILDER_ASSETS is not set: stand-ins serve the embedded API", file=sys.stderr)
    # They stand on the suite's own fixtures.
    from tests.operator.stand_ins import write_programs

    return write_programs(directory / "stand-ins")


def _run_beside(assets: Path, directory: Path, command: Sequence[str]) -> int:
    with control_plane(assets, directory) as kubeconfig:
        environment = {**os.environ, "HATOBA_TEST_KUBECONFIG": str(kubeconfig)}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

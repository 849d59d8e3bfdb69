"""An Azure Blob Storage for tests: Microsoft's emulator, one per test process, a container each.

It checks signatures and tokens. It does not join ranges of other blobs (Put Block From URL), which
the driver therefore never asks for.
"""

import base64
import hmac
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from tests.ports import free_port

from hatoba.config.schema.containers import AzureLocation
from hatoba.config.schema.storage import parse_location
from hatoba.kernel.clock import SystemClock
from hatoba.registry.blobs.azure_signing import VERSION, SharedKey
from hatoba.registry.blobs.exchange import Question, send

PROGRAM = Path(__file__).parent / "azurite/node_modules/azurite/dist/src/blob/main.js"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The emulator's own, printed in its documentation."""


@dataclass(frozen=True, kw_only=True)
class AzureEmulator:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    async def new_container(self) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        question = Question(
            operation="create",
            method="PUT",
            url=f"{self.url}/{name}",
            query={"restype": "container"},
        )
        async with aiohttp.ClientSession() as session:
            answer = await send(session, await account_key().signed(question))
            assert answer.status == 201, await answer.text()
            answer.release()
        return name


def account_key() -> SharedKey:
    location = azure_location(azure_parameters(0, "unused"))
    assert location.account_key is not None
    return SharedKey(account=ACCOUNT, key=location.account_key, clock=SystemClock())


def azure_parameters(port: int, container: str, **more: object) -> dict[str, object]:
    """The parameters of AzureStorage."""
    return {
        "azure_account_name": "devstoreaccount1",
        "azure_account_key": KEY,
        "azure_container": container,
        "endpoint_url": f"http://127.0.0.1:{port}/{ACCOUNT}",
        "storage_path": "/datastorage/registry",
        **more,
    }


def azure_location(given: dict[str, object]) -> AzureLocation:
    location = parse_location("a", ["AzureStorage", given])
    assert isinstance(location, AzureLocation)
    return location


def with_token(given: dict[str, object]) -> dict[str, object]:
    """The same with a token for the container in place of the account's key.

    Azure Storage documentation, "Create a service SAS".
    """
    until, permissions = "2099-01-01T00:00:00Z", "racwdl"
    resource = f"/blob/{ACCOUNT}/{given['azure_container']}"
    lines = [permissions, "", until, resource, "", "", "", VERSION, "c", *[""] * 7]
    digest = hmac.digest(base64.b64decode(KEY), "\n".join(lines).encode(), "sha256")
    token = urlencode(
        {
            "sv": VERSION,
            "sr": "c",
            "sp": permissions,
            "se": until,
            "sig": base64.b64encode(digest).decode(),
        }
    )
    return {**given, "azure_account_key": None, "sas_token": f"?{token}"}


@contextmanager
def running_azure(directory: Path) -> Iterator[AzureEmulator]:
    if not PROGRAM.is_file():
        pytest.skip("the emulator of Azure is not installed: make azurite")
    port = free_port()
    process = subprocess.Popen(
        [
            "node",
            str(PROGRAM),
            *("--blobHost", "127.0.0.1", "--blobPort", str(port)),
            *("--inMemoryPersistence", "--disableTelemetry", "--silent"),
        ],
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    emulator = AzureEmulator(port=port)
    try:
        _wait(emulator, process)
        yield emulator
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait(emulator: AzureEmulator, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the emulator ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", emulator.port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the emulator does not answer")

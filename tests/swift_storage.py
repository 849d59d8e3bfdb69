"""An OpenStack Swift for tests: Swift's own servers, one process per test process."""

import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hatoba.config.schema.storage import parse_location
from hatoba.config.schema.swift import SwiftLocation

USER, PASSWORD = "harbour:master", "sesame"
LINK_KEY = "key-of-the-links"


@dataclass(frozen=True, kw_only=True)
class Swift:
    port: int
    account: str
    """Address of the account."""
    token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def new_container(self) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.ask("PUT", f"/{name}")
        return name

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        """Call as somebody else would; `x_name` is the header X-Name."""
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        request = urllib.request.Request(
            self.account + path,
            method=method,
            data=body,
            headers={"X-Auth-Token": self.token, **named},
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status < 300


def swift_parameters(port: int, container: str, **more: object) -> dict[str, object]:
    """The parameters of SwiftStorage."""
    return {
        "auth_url": f"http://127.0.0.1:{port}/auth/v1.0",
        "auth_version": 1,
        "swift_user": USER,
        "swift_password": PASSWORD,
        "swift_container": container,
        "storage_path": "/datastorage/registry",
        "temp_url_key": LINK_KEY,
        **more,
    }


def swift_location(given: dict[str, object]) -> SwiftLocation:
    location = parse_location("a", ["SwiftStorage", given])
    assert isinstance(location, SwiftLocation)
    return location


@contextmanager
def running_swift(directory: Path) -> Iterator[Swift]:
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.swift_server", str(directory)],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        with process.stdout:
            line = process.stdout.readline()
        assert line, (directory / "log").read_text()
        yield _entered(int(line))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _entered(port: int) -> Swift:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/auth/v1.0",
        headers={"X-Auth-User": USER, "X-Auth-Key": PASSWORD},
    )
    with urllib.request.urlopen(request) as answer:
        account, token = answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"]
    swift = Swift(port=port, account=account, token=token)
    swift.ask("POST", "", x_account_meta_temp_url_key=LINK_KEY)
    return swift

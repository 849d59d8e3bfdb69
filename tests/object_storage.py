"""An S3 server for tests: moto's, one per test process, ended with it; a bucket for each test."""

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

from hatoba.config.schema.storage import BucketLocation, parse_location

ACCESS_KEY, SECRET_KEY = "AKIATESTTESTTESTTEST", "secret-of-the-bucket"


@dataclass(frozen=True, kw_only=True)
class ObjectStorage:
    """A server that speaks S3; it believes every signature."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def new_bucket(self) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        request = urllib.request.Request(f"{self.url}/{name}", method="PUT")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200
        return name


def parameters(storage: ObjectStorage, bucket: str, **more: object) -> dict[str, object]:
    """The parameters of a driver, as RadosGWStorage and RHOCSStorage call them."""
    return {
        "hostname": "127.0.0.1",
        "port": storage.port,
        "is_secure": False,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "bucket_name": bucket,
        "storage_path": "/datastorage/registry",
        **more,
    }


def google_parameters(port: int, bucket: str, **more: object) -> dict[str, object]:
    """The parameters of GoogleCloudStorage, at a server of ours."""
    return {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "bucket_name": bucket,
        "storage_path": "/datastorage/registry",
        **more,
    }


def bucket_location(driver: str, given: dict[str, object]) -> BucketLocation:
    location = parse_location("a", [driver, given])
    assert isinstance(location, BucketLocation)
    return location


@contextmanager
def running_object_storage() -> Iterator[ObjectStorage]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.moto_server", "-H", "127.0.0.1", "-p", str(port)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    storage = ObjectStorage(port=port)
    try:
        _wait(storage, process)
        yield storage
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait(storage: ObjectStorage, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the object storage ended"
        try:
            with urllib.request.urlopen(f"{storage.url}/moto-api/"):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError("the object storage does not answer")

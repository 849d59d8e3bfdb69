"""Blobs in a bucket, two workers: clients are sent to the storage; uploads go on in any worker."""

import json
import os
import signal
import time
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from tests.blackbox.conftest import on_postgresql
from tests.blackbox.test_protocol import Client
from tests.blackbox.test_skopeo import (  # noqa: F401 -- the same claims, of this registry
    test_a_deleted_image_is_gone,
    test_a_moved_tag_is_served_new_at_once,
    test_a_multi_architecture_index_is_kept_whole,
    test_an_image_comes_back_byte_for_byte,
    test_docker_schema_2,
    test_pull_by_digest,
)
from tests.object_storage import parameters

from hatoba.kernel.digests import Digest

pytestmark = [pytest.mark.postgres, pytest.mark.clients, pytest.mark.timeout(300)]
MIB = 1 << 20


@contextmanager
def upon_a_bucket(tmp_path_factory, postgres_server, object_storage, **config):
    bucket = object_storage.new_bucket()
    with (
        postgres_server.database() as url,
        on_postgresql(
            tmp_path_factory.mktemp("registry"),
            url,
            DISTRIBUTED_STORAGE_CONFIG={
                "local_us": ["RHOCSStorage", parameters(object_storage, bucket)]
            },
            DISTRIBUTED_STORAGE_PREFERENCE=["local_us"],
            **config,
        ) as running,
    ):
        running.bucket = f"{object_storage.url}/{bucket}"
        yield running


@pytest.fixture(scope="module")
def registry(tmp_path_factory, postgres_server, object_storage):
    with upon_a_bucket(
        tmp_path_factory, postgres_server, object_storage, GARBAGE_COLLECTION_FREQUENCY=1
    ) as running:
        yield running


@pytest.fixture
def client(registry, request):
    name = request.node.originalname.lower().replace("_", "-")[:60]
    return Client(registry, f"admin/{name}")


def keys(registry) -> str:
    with urllib.request.urlopen(f"{registry.bucket}?list-type=2") as answer:
        return answer.read().decode()


def test_get_is_sent_to_the_storage_and_head_is_answered_here(client, registry) -> None:
    digest = client.push_blob(b"0123456789")
    answer = client.call("GET", f"/blobs/{digest}")
    assert answer.status == 307
    assert answer.headers["docker-content-digest"] == digest
    assert answer.headers["cache-control"] == "no-store"
    assert answer.body == b""
    with urllib.request.urlopen(answer.headers["location"]) as found:
        assert found.read() == b"0123456789"
    head = client.call("HEAD", f"/blobs/{digest}")
    assert (head.status, head.headers["content-length"]) == (200, "10")
    signature = urlsplit(answer.headers["location"]).query
    assert signature not in registry.log.read_text()
    assert "X-Amz-Signature" not in registry.log.read_text()


def test_a_range_is_repeated_by_the_client_and_a_bad_one_is_refused_here(client) -> None:
    digest = client.push_blob(b"0123456789")
    answer = client.call("GET", f"/blobs/{digest}", Range="bytes=2-4")
    assert answer.status == 307
    wanted = urllib.request.Request(answer.headers["location"], headers={"Range": "bytes=2-4"})
    with urllib.request.urlopen(wanted) as found:
        assert (found.status, found.read()) == (206, b"234")
    assert client.call("GET", f"/blobs/{digest}", Range="bytes=10-").status == 416


def test_chunks_go_on_in_any_worker(client, registry) -> None:
    path, content = client.start(), b""
    for number, length in enumerate((6 * MIB, 3, 2 * MIB, 5 * MIB)):
        part = bytes([number]) * length
        span = f"{len(content)}-{len(content) + length - 1}"
        answer = client.call("PATCH", path, body=part, Content_Range=span)
        assert answer.status == 202, answer.body
        content += part
        # Whoever took this chunk will not take the next one.
        os.kill(registry.workers()[0], signal.SIGKILL)
        wait_for_workers(registry, 3)
    digest = Digest.of(content)
    assert client.call("PUT", f"{path}?digest={digest}", body=b"").status == 201
    with urllib.request.urlopen(client.call("GET", f"/blobs/{digest}").headers["location"]) as got:
        assert got.read() == content
    assert path.rpartition("/")[2] not in keys(registry)


def wait_for_workers(registry, count: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if len(registry.workers()) == count and registry.call("GET", "/health").status == 200:
            return
        time.sleep(0.1)
    raise AssertionError("a worker did not come back")


def test_a_wrong_digest_and_a_cancelled_upload_leave_nothing(client, registry) -> None:
    digest = Digest.of(b"something else")
    path = client.start()
    assert client.call("PATCH", path, body=b"x" * 6 * MIB).status == 202
    assert client.call("PUT", f"{path}?digest={digest}", body=b"y").status == 400
    assert client.call("HEAD", f"/blobs/{digest}").status == 404
    cancelled = client.start()
    assert client.call("PATCH", cancelled, body=b"z" * 6 * MIB).status == 202
    assert client.call("DELETE", cancelled).status == 204
    listed = keys(registry)
    assert digest.hex not in listed
    for upload in (path, cancelled):
        assert upload.rpartition("/")[2] not in listed


def test_the_storage_is_part_of_its_health(registry) -> None:
    answer = registry.call("GET", "/health/endtoend")
    assert (answer.status, answer.json["data"]["services"]["storage"]) == (200, True)
    assert registry.call("GET", "/health/instance").status == 200


def test_a_bucket_that_is_not_there_is_ill_health_and_a_clean_refusal(
    tmp_path_factory, postgres_server, object_storage
) -> None:
    with (
        upon_a_bucket(tmp_path_factory, postgres_server, object_storage) as registry,
    ):
        client = Client(registry, "admin/lost")
        request = urllib.request.Request(registry.bucket, method="DELETE")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 204
        health = registry.call("GET", "/health/endtoend")
        assert (health.status, health.json["data"]["services"]["storage"]) == (503, False)
        digest = Digest.of(b"x")
        refused = client.call("POST", f"/blobs/uploads/?digest={digest}", body=b"x")
        assert (refused.status, refused.code) == (503, "UNAVAILABLE")
        assert int(refused.headers["retry-after"]) > 0
        assert json.loads(refused.body)["errors"][0]["message"].startswith("the object storage")

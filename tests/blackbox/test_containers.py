"""Blobs in a container of Azure's emulator and of OpenStack Swift: clients are sent to them."""

import asyncio
import urllib.request

import pytest
from tests.azure_storage import azure_parameters
from tests.blackbox.conftest import on_postgresql
from tests.blackbox.test_protocol import Client
from tests.blackbox.test_skopeo import (  # noqa: F401 -- the same claim, of this registry
    test_an_image_comes_back_byte_for_byte,
)
from tests.swift_storage import swift_parameters

from hatoba.kernel.digests import Digest

pytestmark = [pytest.mark.postgres, pytest.mark.clients, pytest.mark.timeout(300)]
MIB = 1 << 20


def location_of(driver, request):
    if driver == "SwiftStorage":
        server = request.getfixturevalue("swift")
        return [driver, swift_parameters(server.port, server.new_container())]
    emulator = request.getfixturevalue("azure")
    return [driver, azure_parameters(emulator.port, asyncio.run(emulator.new_container()))]


@pytest.fixture(scope="module", params=["AzureStorage", "SwiftStorage"])
def registry(request, tmp_path_factory, postgres_server):
    storage = {"here": location_of(request.param, request)}
    directory = tmp_path_factory.mktemp("registry")
    with (
        postgres_server.database() as url,
        on_postgresql(
            directory,
            url,
            DISTRIBUTED_STORAGE_CONFIG=storage,
            DISTRIBUTED_STORAGE_PREFERENCE=["here"],
        ) as running,
    ):
        yield running


def test_chunks_of_any_worker_become_a_blob_that_the_storage_serves(registry) -> None:
    client = Client(registry, "admin/chunks")
    path, content = client.start(), b""
    for number, length in enumerate((6 * MIB, 3)):
        part = bytes([number]) * length
        span = f"{len(content)}-{len(content) + length - 1}"
        answer = client.call("PATCH", path, body=part, Content_Range=span)
        assert answer.status == 202, answer.body
        content += part
    digest = Digest.of(content)
    assert client.call("PUT", f"{path}?digest={digest}", body=b"").status == 201
    answer = client.call("GET", f"/blobs/{digest}")
    assert answer.status == 307
    with urllib.request.urlopen(answer.headers["location"]) as found:
        assert found.read() == content
    for word in ("temp_url_sig", "sig=", "sesame"):
        assert word not in registry.log.read_text()

"""What is wrong with a storage reaches the status of a QuayRegistry in these words."""

import ssl
from pathlib import Path

import pytest
import yaml
from tests.azure_storage import azure_parameters
from tests.object_storage import parameters
from tests.peers import self_signed
from tests.ports import free_port
from tests.registry.blobs.faulty import faulty
from tests.swift_storage import swift_parameters

from hatoba.config.loader import load
from hatoba.registry.probing import probe

pytestmark = pytest.mark.anyio
ELSEWHERE = "certificate is not valid for 'localhost'"


async def probed(directory: Path, storage: list[object]) -> str | None:
    content = {
        "SECRET_KEY": "k" * 32,
        "DATABASE_SECRET_KEY": "k" * 32,
        "SERVER_HOSTNAME": "registry.example",
        "DB_URI": f"sqlite:///{directory}/database",
        "DISTRIBUTED_STORAGE_CONFIG": {"default": storage},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(content))
    return (await probe(load(directory), ["objectstorage"])).get("objectstorage")


def other_certificate(directory: Path) -> ssl.SSLContext:
    """Return what a server needs to show a certificate of another host, which `ca.pem` signed."""
    certificate, key = self_signed(directory, "elsewhere.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
async def azure_given(azure):
    return azure_parameters(azure.port, await azure.new_container(), attempts=1)


async def test_a_container_that_is_there_is_well(azure_given, tmp_path) -> None:
    assert await probed(tmp_path, ["AzureStorage", azure_given]) is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"azure_account_key": "d3Jvbmc="},
            (
                "the object storage refuses put_blob: AuthorizationFailure"
                " (the account's name, key or token is wrong)"
            ),
        ),
        (
            {"azure_container": "not-there"},
            ("the object storage refuses put_blob: ContainerNotFound (there is no such container)"),
        ),
    ],
)
async def test_what_azure_refuses_is_told(azure_given, tmp_path, wrong, told) -> None:
    assert await probed(tmp_path, ["AzureStorage", azure_given | wrong]) == told


async def test_a_storage_that_nobody_serves_is_told_with_its_address(tmp_path) -> None:
    port = free_port()
    told = await probed(tmp_path, ["AzureStorage", azure_parameters(port, "abc", attempts=1)])
    assert told is not None
    assert told.startswith("the object storage does not answer put_blob: ClientConnectorError (")
    assert f"127.0.0.1:{port}" in told


async def test_a_certificate_of_another_host_is_told(azure_given, azure, tmp_path) -> None:
    async with faulty(azure.url, tls=other_certificate(tmp_path)) as proxy:
        there = {"endpoint_url": f"https://localhost:{proxy.port}", "ca_bundle": "tls.crt"}
        told = await probed(tmp_path, ["AzureStorage", azure_given | there])
    assert told is not None
    assert ELSEWHERE in told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({}, None),
        (
            {"swift_password": "wrong"},
            (
                "the authentication of the object storage answers 401"
                " (swift_user or swift_password is wrong)"
            ),
        ),
        (
            {"swift_container": "not-there"},
            "the object storage refuses put_object: 404 (there is no such container)",
        ),
    ],
)
async def test_what_swift_refuses_is_told(swift, tmp_path, wrong, told) -> None:
    given = swift_parameters(swift.port, swift.new_container(), attempts=1)
    assert await probed(tmp_path, ["SwiftStorage", given | wrong]) == told


async def test_an_authentication_that_nobody_serves_is_told(tmp_path) -> None:
    port = free_port()
    told = await probed(tmp_path, ["SwiftStorage", swift_parameters(port, "abc", attempts=1)])
    assert told is not None
    assert told.startswith("the object storage does not answer authenticate: ClientConnectorError")
    assert f"127.0.0.1:{port}" in told


async def test_a_certificate_of_another_host_is_told_of_an_authentication(swift, tmp_path) -> None:
    async with faulty(swift.url, tls=other_certificate(tmp_path)) as proxy:
        there = {"auth_url": f"https://localhost:{proxy.port}", "ca_cert_path": "tls.crt"}
        given = swift_parameters(swift.port, "abc", attempts=1)
        told = await probed(tmp_path, ["SwiftStorage", given | there])
    assert told is not None
    assert ELSEWHERE in told


async def test_a_certificate_of_another_host_is_told_of_a_bucket(object_storage, tmp_path) -> None:
    async with faulty(object_storage.url, tls=other_certificate(tmp_path)) as proxy:
        given = parameters(object_storage, "bucket", attempts=1, ca_bundle="tls.crt")
        there = {"hostname": "localhost", "port": proxy.port, "is_secure": True}
        told = await probed(tmp_path, ["RadosGWStorage", given | there])
    assert told is not None
    assert ELSEWHERE in told

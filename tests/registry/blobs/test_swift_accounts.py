"""How a Swift user comes in by way of Keystone."""

import pytest
from tests.registry.blobs.keystone import keystone
from tests.swift_storage import swift_location, swift_parameters

from hatoba.registry.blobs.driver import StorageUnavailable
from hatoba.registry.blobs.swift_opening import open_swift

pytestmark = pytest.mark.anyio
HARBOUR = {"region_name": "Harbour"}


@pytest.fixture
async def identity(swift):
    async with keystone(swift) as service:
        yield service


@pytest.fixture
def given(swift, identity):
    return {
        **swift_parameters(swift.port, swift.new_container()),
        "auth_url": identity.url,
        "swift_user": "quay",
        "os_options": HARBOUR,
    }


async def check(given, directory) -> None:
    async with open_swift(swift_location(given), directory=directory) as blobs:
        await blobs.check()


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        (
            {"auth_version": 2, "os_options": {**HARBOUR, "tenant_name": "images"}},
            {
                "passwordCredentials": {"username": "quay", "password": "sesame"},
                "tenantName": "images",
            },
        ),
        (
            {"auth_version": "2", "os_options": {**HARBOUR, "tenant_id": "t1"}},
            {"passwordCredentials": {"username": "quay", "password": "sesame"}, "tenantId": "t1"},
        ),
        (
            {"auth_version": 2, "swift_user": "images:quay"},
            {
                "passwordCredentials": {"username": "quay", "password": "sesame"},
                "tenantName": "images",
            },
        ),
    ],
)
async def test_version_2(given, identity, tmp_path, named, asked) -> None:
    await check({**given, **named}, tmp_path)
    assert identity.asked == [asked]


def v3(user, **scope):
    identity = {"methods": ["password"], "password": {"user": {**user, "password": "sesame"}}}
    return {"identity": identity, **scope}


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, v3({"name": "quay", "domain": {"id": "default"}})),
        (
            {"project_name": "images", "project_domain_name": "P", "user_domain_name": "U"},
            v3(
                {"name": "quay", "domain": {"name": "U"}},
                scope={"project": {"name": "images", "domain": {"name": "P"}}},
            ),
        ),
        (
            {"tenant_id": "p1", "user_domain_id": "u1"},
            v3({"name": "quay", "domain": {"id": "u1"}}, scope={"project": {"id": "p1"}}),
        ),
        (
            {"user_id": "q1", "project_name": "images"},
            v3(
                {"id": "q1"},
                scope={"project": {"name": "images", "domain": {"id": "default"}}},
            ),
        ),
    ],
)
async def test_version_3(given, identity, tmp_path, options, asked) -> None:
    given |= {"auth_version": 3, "os_options": {**HARBOUR, **options}}
    await check({**given, "auth_url": f"{identity.url}/v3"}, tmp_path)
    assert identity.asked == [asked]


@pytest.mark.parametrize("version", [2, 3])
async def test_a_wrong_password_is_said_exactly(given, tmp_path, version) -> None:
    with pytest.raises(StorageUnavailable, match="swift_user or swift_password is wrong"):
        await check({**given, "auth_version": version, "swift_password": "wrong"}, tmp_path)


@pytest.mark.parametrize("version", [2, 3])
async def test_a_catalog_without_the_region_is_said(given, tmp_path, version) -> None:
    named = {"auth_version": version, "os_options": {"region_name": "Nowhere"}}
    with pytest.raises(StorageUnavailable, match="names no object storage"):
        await check({**given, **named}, tmp_path)


@pytest.mark.parametrize("version", [2, 3])
async def test_a_catalog_without_the_service_is_said(given, identity, tmp_path, version) -> None:
    identity.type = "compute"
    with pytest.raises(StorageUnavailable, match="names no object storage"):
        await check({**given, "auth_version": version}, tmp_path)


async def test_the_first_region_of_the_wanted_kind_is_taken(given, tmp_path) -> None:
    for kind in ("internalURL", "adminURL"):
        named = {"auth_version": 2, "attempts": 1, "os_options": {"endpoint_type": kind}}
        with pytest.raises(StorageUnavailable, match="does not answer put_object"):
            await check({**given, **named}, tmp_path)

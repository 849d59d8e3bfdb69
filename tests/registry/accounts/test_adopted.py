"""A database that Quay made goes on working: accounts, credentials, repositories, tags."""

import gzip
import json

import pytest
from tests.registry.conftest import QUAY, SETTINGS

from hatoba.config.schema import QuayConfig
from hatoba.kernel.clock import FixedClock, from_milliseconds
from hatoba.registry.accounts.errors import InvalidCredentials
from hatoba.registry.api.repository import tag_place
from hatoba.registry.content.tagging import TagFilter
from hatoba.registry.db.lookups import load_lookups
from hatoba.registry.db.migrate import migrate_registry
from hatoba.registry.rooms import open_rooms
from hatoba.sql.engine import open_database

pytestmark = [pytest.mark.anyio, pytest.mark.postgres, pytest.mark.recorded]


@pytest.fixture
def expected():
    return json.loads(gzip.decompress((QUAY / "expectations.json.gz").read_bytes()))


@pytest.fixture
async def rooms(adopted_url, expected):
    database = open_database(adopted_url)
    await migrate_registry(database)
    yield open_rooms(
        QuayConfig.model_validate(SETTINGS),
        database=database,
        lookups=await load_lookups(database),
        clock=FixedClock(from_milliseconds(expected["dumped_at_ms"])),
    )
    await database.close()


async def test_everybody_signs_in_as_before(rooms, expected):
    for name, user in expected["users"].items():
        if "login_ok" not in user:
            continue
        attempt = rooms.credentials.check_basic(username=name, password=user["password"])
        if user["login_ok"]:
            assert (await attempt).account.username == name
        else:
            with pytest.raises(InvalidCredentials):
                await attempt


async def test_encrypted_passwords_and_tokens_are_still_good(rooms, expected):
    encrypted = expected["encrypted_passwords"]["quayadmin"]
    await rooms.credentials.check_basic(username="quayadmin", password=encrypted)
    for name, token in expected["robots"].items():
        await rooms.credentials.check_basic(username=name, password=token)
    for code, token in expected["app_tokens"].items():
        found = await rooms.credentials.check_basic(username="$app", password=code)
        assert found.account.username == token["user"]
    for code, token in expected["oauth_tokens"].items():
        found = await rooms.credentials.check_bearer(code)
        assert (found is not None) == token["live"]
        if found is not None:
            assert found.account.username == token["user"]


async def test_repositories_and_living_tags_are_all_there(rooms, expected):
    for full_name, tags in expected["alive_tags"].items():
        namespace, _, name = full_name.partition("/")
        repository = await rooms.repositories.get(namespace, name)
        found, more = await rooms.tagging.history(
            tag_place(repository), TagFilter(only_alive=True, limit=100)
        )
        assert not more
        assert {tag.name: tag.digest for tag in found} == tags


async def test_new_things_are_made_beside_the_old(rooms):
    owner = await rooms.users.get("quayadmin")
    from hatoba.registry.audit.models import NOBODY

    organization = await rooms.organizations.create(
        name="brandnew", email=None, owner=owner, actor=NOBODY
    )
    repository = await rooms.repositories.create(
        namespace=organization,
        name="app",
        is_public=False,
        description="",
        creator=owner,
        actor=NOBODY,
    )
    robot = await rooms.robots.create(
        organization, short_name="ci", description="", metadata=None, actor=NOBODY
    )
    await rooms.permissions.set_user(
        repository, username=robot.account.username, role="write", actor=NOBODY
    )
    found = await rooms.credentials.check_basic(username="brandnew+ci", password=robot.token)
    assert found.account.id == robot.account.id

import pytest

from hatoba.registry.accounts.errors import AccountDisabled, InvalidCredentials, TooManyLogins
from hatoba.registry.audit.models import NOBODY

pytestmark = pytest.mark.anyio
PASSWORD = "alice-pass-900"


@pytest.fixture
async def alice(console):
    return await console.rooms.users.create(
        username="alice", password=PASSWORD, email="alice@example.com", actor=NOBODY
    )


@pytest.mark.parametrize("name", ["alice", "alice@example.com"])
async def test_name_or_address_and_password_are_recognised(console, alice, name):
    found = await console.rooms.credentials.check_basic(username=name, password=PASSWORD)
    assert found.account.id == alice.id


async def test_each_failure_makes_the_next_attempt_wait_longer(console, alice, clock):
    credentials = console.rooms.credentials
    for wait in (0.5, 1.5, 3.5):
        with pytest.raises(InvalidCredentials):
            await credentials.check_basic(username="alice", password="wrong-wrong")
        clock.advance(seconds=wait - 0.1)
        with pytest.raises(TooManyLogins):
            await credentials.check_basic(username="alice", password=PASSWORD)
        clock.advance(seconds=0.2)
    await credentials.check_basic(username="alice", password=PASSWORD)
    await credentials.check_basic(username="alice", password=PASSWORD)


async def test_a_disabled_account_is_refused_by_every_credential(console, alice):
    rooms = console.rooms
    token = await rooms.app_tokens.create(alice, title="t", actor=NOBODY)
    robot = await rooms.robots.create(
        alice, short_name="ci", description="", metadata=None, actor=NOBODY
    )
    await rooms.users.set_enabled(alice, enabled=False, actor=NOBODY)
    with pytest.raises(AccountDisabled):
        await rooms.credentials.check_basic(username="alice", password=PASSWORD)
    with pytest.raises(AccountDisabled):
        await rooms.credentials.check_basic(username="$app", password=token.code)
    with pytest.raises(InvalidCredentials):
        await rooms.credentials.check_basic(username="alice+ci", password=robot.token)


async def test_a_robots_old_token_is_refused_at_once(console, alice):
    rooms = console.rooms
    robot = await rooms.robots.create(
        alice, short_name="ci", description="", metadata=None, actor=NOBODY
    )
    await rooms.credentials.check_basic(username="alice+ci", password=robot.token)
    fresh = await rooms.robots.regenerate(alice, short_name="ci", actor=NOBODY)
    with pytest.raises(InvalidCredentials):
        await rooms.credentials.check_basic(username="alice+ci", password=robot.token)
    found = await rooms.credentials.check_basic(username="alice+ci", password=fresh.token)
    assert found.account.username == "alice+ci"


async def test_a_revoked_app_token_is_refused_at_once(console, alice):
    rooms = console.rooms
    token = await rooms.app_tokens.create(alice, title="t", actor=NOBODY)
    await rooms.credentials.check_basic(username="$app", password=token.code)
    await rooms.app_tokens.revoke(alice, uuid=token.uuid, actor=NOBODY)
    with pytest.raises(InvalidCredentials):
        await rooms.credentials.check_basic(username="$app", password=token.code)


async def test_plain_passwords_are_refused_where_encrypted_ones_are_demanded(console, open_console):
    async with open_console(FEATURE_REQUIRE_ENCRYPTED_BASIC_AUTH=True) as strict:
        credentials = strict.rooms.credentials
        with pytest.raises(InvalidCredentials, match="unencrypted passwords is disabled"):
            await credentials.check_basic(username="quayadmin", password="quaypass123")
        encrypted = strict.rooms.passwords.encrypt("quaypass123")
        await credentials.check_basic(username="quayadmin", password=encrypted)


async def test_of_two_first_users_at_once_one_is_made(empty_console):
    import asyncio

    rooms = empty_console.rooms
    results = await asyncio.gather(
        *(
            rooms.users.create_first(
                username=f"first{n}", password="long-enough", email=None, actor=NOBODY
            )
            for n in range(4)
        ),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, Exception) for result in results) == 1

"""GET /v2/auth: who may push where nothing is yet, and what each kind of credential opens."""

import base64
import json

import pytest
from sqlalchemy import insert, select

from hatoba.registry.audit.models import NOBODY
from hatoba.registry.content.models import RepositoryState
from hatoba.registry.db.tables.tokens import access_tokens

pytestmark = pytest.mark.anyio
HOST = "registry.example:5180"
PASSWORD = "alice-pass-900"


async def access(console, credentials, scope):
    """Return the status and the actions that a token for one repository grants."""
    params = {"service": HOST, "scope": scope}
    response = await console.client.get("/v2/auth", params=params, auth=credentials)
    if response.status_code != 200:
        return response.status_code
    encoded = response.json()["token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    return set(claims["access"][0]["actions"])


PUSH = {"push", "pull"}


@pytest.fixture
async def alice(console):
    await console.rooms.users.create(
        username="alice", password=PASSWORD, email="alice@example.com", actor=NOBODY
    )
    return console


async def make(console, name="alice/app", *, is_public=False):
    namespace, _, short = name.partition("/")
    owner = await console.rooms.users.get(namespace)
    return await console.rooms.repositories.create(
        namespace=owner,
        name=short,
        is_public=is_public,
        description=None,
        creator=owner,
        actor=NOBODY,
    )


# -- what a push creates --


@pytest.mark.parametrize("is_private", [True, False])
async def test_a_push_creates_a_repository_as_private_as_it_is_set(alice, open_console, is_private):
    async with open_console(CREATE_PRIVATE_REPO_ON_PUSH=is_private) as console:
        scope = "repository:alice/new:pull,push"
        assert await access(console, ("alice", PASSWORD), scope) == PUSH
        found = await console.rooms.repositories.find("alice", "new")
        assert found.is_public is not is_private


@pytest.mark.parametrize("actions", ["pull", "*"])
async def test_what_is_not_pushed_to_is_not_created(alice, actions):
    await access(alice, ("alice", PASSWORD), f"repository:alice/new:{actions}")
    assert await alice.rooms.repositories.find("alice", "new") is None


async def test_nobody_creates_in_the_namespace_of_another(alice):
    scope = "repository:quayadmin/new:pull,push"
    assert await access(alice, ("alice", PASSWORD), scope) == set()
    assert await access(alice, None, scope) == set()
    assert await alice.rooms.repositories.find("quayadmin", "new") is None


@pytest.mark.parametrize(("role", "may"), [("member", False), ("creator", True), ("admin", True)])
async def test_in_an_organization_those_create_whose_team_may(alice, role, may):
    rooms = alice.rooms
    owner, member = await rooms.users.get("quayadmin"), await rooms.users.get("alice")
    acme = await rooms.organizations.create(name="acme", email=None, owner=owner, actor=NOBODY)
    team, _ = await rooms.teams.put(acme, name="makers", role=role, description=None, actor=NOBODY)
    await rooms.teams.add_member(acme, team=team, account=member, actor=NOBODY)
    granted = await access(alice, ("alice", PASSWORD), "repository:acme/new:pull,push")
    assert granted == (PUSH if may else set())


@pytest.mark.parametrize("settings", [{"DISABLE_PUSHES": True}, {"REGISTRY_STATE": "readonly"}])
async def test_a_registry_that_takes_no_pushes_creates_nothing(alice, open_console, settings):
    async with open_console(CREATE_NAMESPACE_ON_PUSH=True, **settings) as console:
        for name in ("alice/new", "newcomer/new"):
            await access(console, ("alice", PASSWORD), f"repository:{name}:push")
        assert await console.rooms.repositories.find("alice", "new") is None
        assert await console.rooms.users.find_any("newcomer") is None


async def test_a_missing_namespace_stays_missing_unless_it_is_offered(alice):
    assert await access(alice, ("alice", PASSWORD), "repository:newcomer/new:push") == set()
    assert await alice.rooms.users.find_any("newcomer") is None


async def test_a_push_creates_the_organization_that_it_names(alice, open_console):
    async with open_console(CREATE_NAMESPACE_ON_PUSH=True) as console:
        scope = "repository:newcomer/new:pull,push"
        assert await access(console, ("alice", PASSWORD), scope) == PUSH
        made = await console.rooms.users.find_any("newcomer")
        assert made.is_organization
        assert await access(console, None, scope) == set()


async def test_a_pull_creates_no_organization(alice, open_console):
    async with open_console(CREATE_NAMESPACE_ON_PUSH=True) as console:
        assert await access(console, ("alice", PASSWORD), "repository:newcomer/new:pull") == set()
        assert await console.rooms.users.find_any("newcomer") is None


async def test_neither_nobody_nor_a_robot_makes_organizations(alice, open_console):
    async with open_console(CREATE_NAMESPACE_ON_PUSH=True) as console:
        robot = await robot_of(console)
        for credentials in (None, robot):
            await access(console, credentials, "repository:newcomer/new:push")
        assert await console.rooms.users.find_any("newcomer") is None


async def test_superusers_alone_make_organizations_where_it_is_so_set(alice, open_console):
    settings = {"CREATE_NAMESPACE_ON_PUSH": True, "FEATURE_SUPERUSERS_ORG_CREATION_ONLY": True}
    async with open_console(**settings) as console:
        scope = "repository:newcomer/new:push"
        assert await access(console, ("alice", PASSWORD), scope) == set()
        assert await access(console, ("quayadmin", "quaypass123"), scope) == {"push"}


async def test_a_name_that_no_organization_can_have_is_not_made(alice, open_console):
    async with open_console(CREATE_NAMESPACE_ON_PUSH=True) as console:
        granted = await access(console, ("alice", PASSWORD), "repository:a/new:push")
        assert granted == set()


# -- kinds of credentials --


async def robot_of(console):
    owner = await console.rooms.users.get("alice")
    robot = await console.rooms.robots.create(
        owner, short_name="ci", description="", metadata=None, actor=NOBODY
    )
    return robot.account.username, robot.token


async def test_a_password_opens_encrypted_and_in_clear(alice, open_console):
    await make(alice)
    encrypted = alice.rooms.passwords.encrypt(PASSWORD)
    scope = "repository:alice/app:pull,push"
    assert await access(alice, ("alice", encrypted), scope) == PUSH
    assert await access(alice, ("alice@example.com", PASSWORD), scope) == PUSH
    async with open_console(FEATURE_REQUIRE_ENCRYPTED_BASIC_AUTH=True) as console:
        assert await access(console, ("alice", encrypted), scope) == PUSH
        assert await access(console, ("alice", PASSWORD), scope) == 401


async def test_a_robot_opens_what_it_was_granted(alice, open_console):
    repository = await make(alice)
    robot = await robot_of(alice)
    scope = "repository:alice/app:pull,push"
    assert await access(alice, robot, scope) == set()
    await alice.rooms.permissions.set_user(repository, username=robot[0], role="read", actor=NOBODY)
    assert await access(alice, robot, scope) == {"pull"}
    assert await access(alice, (robot[0], "X" * 64), scope) == 401
    async with open_console(ROBOTS_DISALLOW=True) as console:
        assert await access(console, robot, scope) == 401


async def test_an_app_token_opens_what_its_owner_may(alice):
    await make(alice)
    owner = await alice.rooms.users.get("alice")
    token = await alice.rooms.app_tokens.create(owner, title="laptop", actor=NOBODY)
    scope = "repository:alice/app:pull,push"
    assert await access(alice, ("$app", token.code), scope) == PUSH
    await alice.rooms.app_tokens.revoke(owner, uuid=token.uuid, actor=NOBODY)
    assert await access(alice, ("$app", token.code), scope) == 401


async def test_an_oauth_token_opens_what_its_scopes_allow(alice):
    await make(alice, "quayadmin/app")
    scope = "repository:quayadmin/app:pull,push"
    assert await access(alice, ("$oauthtoken", alice.token), scope) == PUSH
    assert await access(alice, ("$oauthtoken", "X" * 40), scope) == 401


NAME, SECRET = "N" * 32, "S" * 32


async def insert_access_token(console, repository, *, role):
    rooms = console.rooms
    async with rooms.repositories.database.begin() as connection:
        await connection.execute(
            insert(access_tokens).values(
                friendly_name="deploy",
                repository_id=repository.id,
                created=rooms.clock.now(),
                role_id=rooms.repositories.lookups.id("role", role),
                temporary=False,
                token_name=NAME,
                token_code=rooms.credentials.cipher.encrypt(SECRET),
            )
        )


@pytest.mark.parametrize(("role", "granted"), [("read", {"pull"}), ("write", PUSH)])
async def test_a_repositorys_token_opens_it_and_nothing_else(alice, role, granted):
    repository = await make(alice)
    await make(alice, "alice/other")
    await make(alice, "alice/public", is_public=True)
    await insert_access_token(alice, repository, role=role)
    token = ("$token", NAME + SECRET)
    assert await access(alice, token, "repository:alice/app:pull,push") == granted
    assert await access(alice, token, "repository:alice/other:pull,push") == set()
    assert await access(alice, token, "repository:alice/public:pull,push") == {"pull"}
    assert await access(alice, token, "repository:alice/new:pull,push") == set()
    assert await alice.rooms.repositories.find("alice", "new") is None


@pytest.mark.parametrize("code", ["", NAME, NAME + "X" * 32, "X" * 64, NAME + SECRET + "S"])
async def test_a_token_that_is_none_opens_nothing(alice, code):
    await insert_access_token(alice, await make(alice), role="read")
    assert await access(alice, ("$token", code), "repository:alice/app:pull") == 401


async def test_a_repositorys_token_is_no_users(alice):
    await insert_access_token(alice, await make(alice), role="admin")
    encoded = base64.b64encode(f"$token:{NAME}{SECRET}".encode()).decode()
    headers = {"Authorization": f"Basic {encoded}"}
    answer = await alice.call("GET", "/user/", token="", headers=headers)
    assert answer.status_code == 401


async def test_no_secret_of_a_token_is_in_what_is_issued(alice):
    await insert_access_token(alice, await make(alice), role="read")
    params = {"service": HOST, "scope": "repository:alice/app:pull"}
    answer = await alice.client.get("/v2/auth", params=params, auth=("$token", NAME + SECRET))
    encoded = answer.json()["token"].split(".")[1]
    claims = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    assert SECRET not in claims
    assert NAME not in claims
    assert json.loads(claims)["sub"] == "$token"
    async with alice.rooms.repositories.database.read() as connection:
        assert (await connection.execute(select(access_tokens.c.id))).scalar_one()


# -- states --


@pytest.mark.parametrize(
    ("state", "granted"),
    [
        (RepositoryState.NORMAL, PUSH),
        (RepositoryState.READ_ONLY, {"pull"}),
        (RepositoryState.MIRROR, {"pull"}),
    ],
)
async def test_a_state_that_takes_no_pushes_grants_none(alice, state, granted):
    repository = await make(alice)
    await alice.rooms.repositories.set_state(repository, state=state, actor=NOBODY)
    scope = "repository:alice/app:pull,push"
    assert await access(alice, ("alice", PASSWORD), scope) == granted

"""Every route against every role: who may not is refused, who may is not.

The table ALLOWED is written by hand from the meaning of each need; a new need without a row in
it, or a route with NOTHING needed that is not listed in OPEN, fails here.
"""

import pytest

from hatoba.registry.access.scopes import FIRST_TOKEN_SCOPES
from hatoba.registry.api.app import ROWS
from hatoba.registry.api.call import Needs
from hatoba.registry.audit.models import NOBODY

pytestmark = pytest.mark.anyio

PEOPLE = ("owner", "member", "reader", "writer", "keeper", "stranger", "quayadmin")
CAPPED = {
    "owner:repo:read": "repo:read",
    "owner:user:read": "user:read",
    "owner:org:admin": "org:admin",
    "quayadmin:no-super": FIRST_TOKEN_SCOPES.replace("super:user ", ""),
}
EVERYBODY = frozenset({"nobody", *PEOPLE, *CAPPED})
KNOWN = EVERYBODY - {"nobody"}

ALLOWED = {
    Needs.NOTHING: EVERYBODY,
    Needs.ORG_ANY: EVERYBODY,
    Needs.SIGNED_IN: KNOWN,
    Needs.USER_READ: frozenset(PEOPLE) | {"owner:user:read", "quayadmin:no-super"},
    Needs.USER_ADMIN: frozenset(PEOPLE) | {"quayadmin:no-super"},
    Needs.SUPERUSER: frozenset({"quayadmin"}),
    Needs.ORG_ADMIN: frozenset({"owner", "owner:org:admin"}),
    Needs.ORG_MEMBER: frozenset({"owner", "member", "owner:org:admin"}),
    Needs.REPO_READ: frozenset({"owner", "reader", "writer", "keeper", "owner:repo:read"}),
    Needs.REPO_WRITE: frozenset({"owner", "writer", "keeper"}),
    Needs.REPO_ADMIN: frozenset({"owner", "keeper"}),
}
OPEN = {
    ("POST", "/user/"),
    ("GET", "/users/{username}"),
    ("POST", "/signin"),
    ("POST", "/signout"),
    ("GET", "/superuser/registrystatus"),
    ("GET", "/repository"),
}
ASKS_ITSELF = {
    ("POST", "/repository"),  # whether the namespace in the body may be created in
    ("GET", "/organization/{org}/team/{team}/members"),  # whether the member is of this team
}
DESTROYS = {
    ("DELETE", "/organization/{org}"),
    ("DELETE", "/user/"),
    ("DELETE", "/repository/{repository:path}"),
    ("POST", "/signout"),
    ("DELETE", "/superuser/users/{username}"),
    ("DELETE", "/superuser/organizations/{name}"),
    ("POST", "/superuser/takeownership/{namespace}"),
}
PLACES = {
    "{org}": "acme",
    "{repository:path}": "acme/secret",
    "{username}": "reader",
    "{name}": "acme",
    "{namespace}": "acme",
}


@pytest.fixture
async def tokens(console):
    """A token for every role in the organization `acme` and its private repository `secret`."""
    rooms = console.rooms
    accounts = {
        name: await rooms.users.create(
            username=name, password="some-pass-1", email=None, actor=NOBODY
        )
        for name in PEOPLE
        if name != "quayadmin"
    }
    accounts["quayadmin"] = await rooms.users.get("quayadmin")
    acme = await rooms.organizations.create(
        name="acme", email=None, owner=accounts["owner"], actor=NOBODY
    )
    team, _ = await rooms.teams.put(
        acme, name="guests", role="member", description=None, actor=NOBODY
    )
    await rooms.teams.add_member(acme, team=team, account=accounts["member"], actor=NOBODY)
    repository = await rooms.repositories.create(
        namespace=acme,
        name="secret",
        is_public=False,
        description="",
        creator=accounts["owner"],
        actor=NOBODY,
    )
    for username, role in (("reader", "read"), ("writer", "write"), ("keeper", "admin")):
        await rooms.permissions.set_user(repository, username=username, role=role, actor=NOBODY)
    issued = {"nobody": ""}
    wanted = dict.fromkeys(PEOPLE, FIRST_TOKEN_SCOPES) | CAPPED
    for name, scopes in wanted.items():
        account = accounts[name.partition(":")[0]]
        async with rooms.applications.database.begin() as connection:
            application_id = await rooms.applications._insert(
                connection, owner_id=account.id, client_id=name, values={"name": name}
            )
            issued[name] = await rooms.applications.issue_token(
                connection, application_id=application_id, account=account, scopes=scopes
            )
    return issued


def _path(row):
    """Return a path whose change, where it is allowed, takes nothing from the roles."""
    path = row.path.replace("/permissions/user/{username}", "/permissions/user/nosuch")
    for place, value in PLACES.items():
        path = path.replace(place, value)
    while "{" in path:
        before, _, rest = path.partition("{")
        path = before + "nosuch" + rest.partition("}")[2]
    return path


def test_every_need_has_a_row_in_the_table():
    assert set(ALLOWED) == set(Needs)
    assert {(row.method, row.path) for row in ROWS if row.needs is Needs.NOTHING} == OPEN


@pytest.mark.timeout(120)
async def test_each_route_lets_in_those_it_should_and_nobody_else(console, tokens):
    wrong = []
    for row in ROWS:
        key = (row.method, row.path)
        for role in sorted(EVERYBODY):
            may = role in ALLOWED[row.needs]
            if may and (key in DESTROYS or key in ASKS_ITSELF):
                continue
            response = await console.call(row.method, _path(row), token=tokens[role])
            refused = response.status_code in {401, 403}
            if role == "nobody" and row.method != "GET":
                # Nobody is stopped at the door of every change, open or not: no CSRF token.
                may = False
            if refused == may:
                wrong.append((role, *key, response.status_code, response.text[:80]))
    assert wrong == []


async def test_what_is_foreign_and_what_does_not_exist_look_alike(console, tokens):
    foreign = await console.call("GET", "/repository/acme/secret", token=tokens["stranger"])
    missing = await console.call("GET", "/repository/acme/nosuch", token=tokens["stranger"])
    nowhere = await console.call("GET", "/repository/nosuch/nosuch", token=tokens["stranger"])
    assert foreign.status_code == missing.status_code == nowhere.status_code == 403
    assert foreign.json() == missing.json() == nowhere.json()


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 201), ("member", 403), ("stranger", 403), ("quayadmin", 403)]
)
async def test_only_those_who_may_create_repositories_in_an_organization_do(
    console, tokens, role, status
):
    body = {
        "namespace": "acme",
        "repository": "new",
        "visibility": "private",
        "description": "",
    }
    response = await console.call("POST", "/repository", body=body, token=tokens[role])
    assert response.status_code == status


async def test_the_members_of_a_team_are_shown_to_its_members_only(console, tokens):
    path = "/organization/acme/team/owners/members"
    assert (await console.call("GET", path, token=tokens["member"])).status_code == 403
    path = "/organization/acme/team/guests/members"
    assert (await console.call("GET", path, token=tokens["member"])).status_code == 200
    assert (await console.call("GET", path, token=tokens["stranger"])).status_code == 403


async def test_a_token_that_is_worth_nothing_is_nobodys(console):
    response = await console.call("GET", "/user/", token="X" * 40)
    assert (response.status_code, response.json()["error_type"]) == (401, "invalid_token")

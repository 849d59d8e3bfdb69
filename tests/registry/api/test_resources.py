import pytest

from hatoba.registry.audit.models import NOBODY

pytestmark = pytest.mark.anyio


@pytest.fixture
async def acme(console):
    await console.call("POST", "/organization/", body={"name": "acme", "email": "a@example.com"})
    await console.rooms.users.create(
        username="alice", password="alice-pass-900", email="alice@example.com", actor=NOBODY
    )
    return console


async def test_a_robot_has_its_token_until_it_gets_another(acme):
    created = await acme.call("PUT", "/organization/acme/robots/ci", body={"description": "d"})
    assert created.status_code == 201
    assert list(created.json()) == [
        "name",
        "created",
        "last_accessed",
        "description",
        "token",
        "unstructured_metadata",
    ]
    assert created.json()["name"] == "acme+ci"
    fresh = await acme.call("POST", "/organization/acme/robots/ci/regenerate")
    assert fresh.json()["token"] != created.json()["token"]
    shown = await acme.call("GET", "/organization/acme/robots/ci")
    assert shown.json()["token"] == fresh.json()["token"]
    assert (await acme.call("DELETE", "/organization/acme/robots/ci")).status_code == 204
    gone = await acme.call("GET", "/organization/acme/robots/ci")
    assert (gone.status_code, gone.json()) == (
        400,
        {"message": "Could not find robot with specified username"},
    )


async def test_a_robots_bad_name_is_told(acme):
    refused = await acme.call("PUT", "/organization/acme/robots/Bad-Name", body={})
    assert refused.status_code == 400
    assert refused.json()["detail"] == (
        "The name for the robot 'Bad-Name' is invalid: Namespace must match expression"
        " ^([a-z0-9]+(?:[._-][a-z0-9]+)*)$"
    )


async def test_the_last_administrators_stay(acme):
    path = "/organization/acme/team/owners"
    refused = await acme.call("DELETE", path)
    assert refused.json() == {
        "message": "Deleting team 'owners' would remove admin ability for user 'quayadmin' in"
        " organization 'acme'"
    }
    refused = await acme.call("DELETE", f"{path}/members/quayadmin")
    assert refused.json() == {
        "message": "User cannot remove themselves from their only admin team."
    }
    assert (await acme.call("PUT", path, body={"role": "member"})).status_code == 400


async def test_default_permissions_are_granted_in_new_repositories(acme):
    await acme.call("PUT", "/organization/acme/team/readers", body={"role": "member"})
    body = {"role": "read", "delegate": {"kind": "team", "name": "readers"}}
    assert (await acme.call("POST", "/organization/acme/prototypes", body=body)).status_code == 200
    body = {"namespace": "acme", "repository": "a/b", "visibility": "private", "description": ""}
    assert (await acme.call("POST", "/repository", body=body)).status_code == 201
    granted = await acme.call("GET", "/repository/acme/a/b/permissions/team/")
    assert granted.json()["permissions"]["readers"]["role"] == "read"
    creator = await acme.call("GET", "/repository/acme/a/b/permissions/user/")
    assert creator.json()["permissions"]["quayadmin"]["role"] == "admin"


async def test_a_deleted_repositorys_name_is_free_and_a_namespaces_is_not(acme):
    body = {"namespace": "acme", "repository": "app", "visibility": "public", "description": ""}
    await acme.call("POST", "/repository", body=body)
    assert (await acme.call("DELETE", "/repository/acme/app")).status_code == 204
    assert (await acme.call("GET", "/repository/acme/app")).status_code == 404
    assert (await acme.call("POST", "/repository", body=body)).status_code == 201
    assert (await acme.call("DELETE", "/organization/acme")).status_code == 204
    assert (await acme.call("GET", "/organization/acme")).status_code == 404
    again = await acme.call("POST", "/organization/", body={"name": "acme"})
    assert (again.status_code, again.json()["detail"]) == (400, "Username is not available")


@pytest.mark.parametrize("name", ["Upper", "bad name", "a/../b", "/x", "x//y", "_x", "x" * 256])
async def test_a_repositorys_bad_name_is_refused(acme, name):
    body = {"namespace": "acme", "repository": name, "visibility": "public", "description": ""}
    refused = await acme.call("POST", "/repository", body=body)
    assert (refused.status_code, refused.json()["detail"]) == (400, "Invalid repository name")


async def test_lists_hold_what_the_caller_may_read_and_no_more(acme):
    for name, visibility in (("open", "public"), ("closed", "private")):
        body = {
            "namespace": "acme",
            "repository": name,
            "visibility": visibility,
            "description": "",
        }
        await acme.call("POST", "/repository", body=body)

    async def names(token, **params):
        answer = await acme.call("GET", "/repository", params=params, token=token)
        return [item["name"] for item in answer.json()["repositories"]]

    assert await names(None, namespace="acme") == ["open", "closed"]
    assert await names("", public="true") == ["open"]
    assert await names("", namespace="acme") == []


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        ({}, "'repository' is a required property"),
        ({"repository": 5}, "5 is not of type 'string'"),
        (
            {"repository": "x", "visibility": "secret", "description": ""},
            "'secret' is not one of ['public', 'private']",
        ),
    ],
)
async def test_a_body_of_another_shape_is_refused_in_words(console, sent, complaint):
    refused = await console.call("POST", "/repository", body=sent)
    assert (refused.status_code, refused.json()["detail"]) == (400, complaint)
    assert refused.json()["error_type"] == "invalid_request"


async def test_a_body_that_is_not_json_changes_nothing(console):
    headers = {"Content-Type": "application/json"}
    refused = await console.call("POST", "/organization/", content=b'{"name":', headers=headers)
    assert refused.status_code == 400
    refused = await console.call("POST", "/organization/", content=b"name=x")
    assert refused.status_code == 415
    assert (await console.call("GET", "/superuser/organizations/")).json() == {"organizations": []}


async def test_a_session_needs_the_token_against_forgery(console):
    client = console.client
    credentials = {"username": "quayadmin", "password": "quaypass123"}
    refused = await client.post("/api/v1/signin", json=credentials)
    assert refused.status_code == 403
    token = (await client.get("/csrf_token")).json()["csrf_token"]
    signed_in = await client.post(
        "/api/v1/signin", json=credentials, headers={"X-CSRF-Token": token}
    )
    assert signed_in.json() == {"success": True}
    following = signed_in.headers["X-Next-CSRF-Token"]
    assert (await client.get("/api/v1/user/")).json()["username"] == "quayadmin"
    body = {"name": "neworg"}
    refused = await client.post("/api/v1/organization/", json=body, headers={"X-CSRF-Token": token})
    assert refused.status_code == 403
    made = await client.post(
        "/api/v1/organization/", json=body, headers={"X-CSRF-Token": following}
    )
    assert made.status_code == 201
    await client.post("/api/v1/signout", headers={"X-CSRF-Token": following})
    assert (await client.get("/api/v1/user/")).status_code == 401


async def test_a_browser_has_to_say_that_it_is_a_script(open_console):
    async with open_console(BROWSER_API_CALLS_XHR_ONLY=True) as console:
        agent = {"User-Agent": "Mozilla/5.0"}
        refused = await console.call("GET", "/repository", headers=agent)
        assert refused.status_code == 400
        assert "X-Requested-With" in refused.text
        agent["X-Requested-With"] = "XMLHttpRequest"
        answered = await console.call(
            "GET", "/repository", headers=agent, params={"public": "true"}
        )
        assert answered.status_code == 200


async def test_a_read_only_registry_takes_no_changes(console, open_console):
    async with open_console(REGISTRY_STATE="readonly") as frozen:
        refused = await frozen.call(
            "POST", "/organization/", body={"name": "x1"}, token=console.token
        )
        assert (refused.status_code, refused.json()["is_readonly"]) == (503, True)


async def test_what_the_console_needs_to_know_holds_no_secret(console):
    answer = await console.client.get("/config")
    assert answer.json()["config"]["SERVER_HOSTNAME"] == "registry.example:5180"
    assert answer.json()["features"]["USER_INITIALIZE"] is True
    assert console.rooms.settings.secret_key not in answer.text
    assert console.rooms.settings.database_secret_key not in answer.text

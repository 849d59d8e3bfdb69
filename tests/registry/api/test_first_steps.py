import re

import pytest

pytestmark = pytest.mark.anyio

FIRST = {"username": "quayadmin", "password": "quaypass123", "email": "quayadmin@example.com"}


async def test_the_first_user_gets_a_token_and_an_encrypted_password(empty_console):
    response = await empty_console.client.post(
        "/api/v1/user/initialize", json={**FIRST, "access_token": True}
    )
    assert response.status_code == 200
    body = response.json()
    assert list(body) == ["access_token", "email", "encrypted_password", "username"]
    assert re.fullmatch("[A-Z0-9]{40}", body["access_token"])
    assert len(body["encrypted_password"]) == 64
    assert body["email"] == FIRST["email"]


async def test_a_database_with_a_user_is_not_initialized(console):
    response = await console.client.post(
        "/api/v1/user/initialize", json={**FIRST, "username": "other", "password": "x"}
    )
    assert response.status_code == 400
    assert response.json() == {"message": "Cannot initialize user in a non-empty database"}


@pytest.mark.parametrize("password", ["pass123", "pass word 123"])
async def test_a_weak_first_password_is_refused_and_changes_nothing(empty_console, password):
    response = await empty_console.client.post(
        "/api/v1/user/initialize", json={**FIRST, "password": password}
    )
    assert response.status_code == 400
    assert response.json() == {
        "message": "Failed to initialize user: Invalid password, password must be at least 8"
        " characters and contain no whitespace."
    }
    await empty_console.rooms.users.require_empty()


async def test_initialize_is_not_there_when_the_feature_is_off(open_console):
    async with open_console(FEATURE_USER_INITIALIZE=False) as console:
        response = await console.client.post("/api/v1/user/initialize", json=FIRST)
    assert response.status_code in {404, 405}


async def test_superusers_list_users_as_documented(console):
    response = await console.call("GET", "/superuser/users/")
    assert response.status_code == 200
    assert response.json() == {
        "users": [
            {
                "kind": "user",
                "name": "quayadmin",
                "username": "quayadmin",
                "email": "quayadmin@example.com",
                "verified": True,
                "avatar": {
                    "name": "quayadmin",
                    "hash": "3e82e9cbf62d25dec0ed1b4c66ca7c5d47ab9f1f271958298dea856fb26adc4c",
                    "color": "#e7ba52",
                    "kind": "user",
                },
                "super_user": True,
                "enabled": True,
            }
        ]
    }


async def test_an_organization_is_shown_as_documented(console):
    created = await console.call(
        "POST", "/organization/", body={"name": "testorg", "email": "testorg@example.com"}
    )
    assert (created.status_code, created.json()) == (201, "Created")
    shown = await console.call("GET", "/organization/testorg")
    expected = {
        "name": "testorg",
        "email": "testorg@example.com",
        "avatar": {
            "name": "testorg",
            "hash": "5f113632ad532fc78215c9258a4fb60606d1fa386c91b141116a1317bf9c53c8",
            "color": "#a55194",
            "kind": "user",
        },
        "is_admin": True,
        "is_member": True,
        "teams": {
            "owners": {
                "name": "owners",
                "description": "",
                "role": "admin",
                "avatar": {
                    "name": "owners",
                    "hash": "6f0e3a8c0eb46e8834b43b03374ece43a030621d92a7437beb48f871e90f8d90",
                    "color": "#c7c7c7",
                    "kind": "team",
                },
                "can_view": True,
                "repo_count": 0,
                "member_count": 1,
                "is_synced": False,
            }
        },
        "ordered_teams": ["owners"],
        "invoice_email": False,
        "invoice_email_address": None,
        "tag_expiration_s": 1209600,
        "is_free_account": True,
    }
    assert shown.json() == expected
    assert list(shown.json()) == list(expected)


async def test_nobody_lists_users(console):
    response = await console.call("GET", "/superuser/users/", token="")
    assert response.status_code == 401
    assert response.json() == {
        "detail": "Requires authentication",
        "error_message": "Requires authentication",
        "error_type": "invalid_token",
        "title": "invalid_token",
        "type": "http://registry.example:5180/api/v1/error/invalid_token",
        "status": 401,
    }


async def test_a_path_that_is_no_route_is_not_found(console):
    response = await console.call("GET", "/no/such/thing")
    assert (response.status_code, response.json()["error_type"]) == (404, "not_found")


async def test_the_encrypted_password_logs_an_image_client_in(console):
    first = console.rooms.passwords.encrypt("quaypass123")
    response = await console.client.get(
        "/v2/auth",
        params={"service": "registry.example:5180", "scope": "repository:quayadmin/a:pull,push"},
        auth=("quayadmin", first),
    )
    assert response.status_code == 200
    claims = await console.rooms.verifier.verify(response.json()["token"])
    assert claims.username == "quayadmin"
    assert claims.allows("push", "quayadmin/a")
    assert await console.rooms.repositories.find("quayadmin", "a") is not None

import pytest

pytestmark = pytest.mark.anyio

BODY = {
    "is_enabled": True,
    "external_reference": "quay.io/lib/base",
    "external_registry_username": "ext",
    "external_registry_password": "extpass",
    "sync_interval": 3600,
    "sync_start_date": "2026-01-02T03:04:05Z",
    "root_rule": {"rule_kind": "tag_glob_csv", "rule_value": ["latest", "v*"]},
    "robot_username": "testorg+ci",
    "external_registry_config": {"verify_tls": False, "unsigned_images": True},
}
MIRROR = "/repository/testorg/mirrored/mirror"


async def log_in(console):
    user = {
        "username": "quayadmin", "password": "quaypass123",
        "email": "quayadmin@example.com", "access_token": True,
    }  # fmt: skip
    answer = await console.client.post("/api/v1/user/initialize", json=user)
    console.token = answer.json()["access_token"]
    console.client.cookies.clear()


@pytest.fixture
async def console(open_console):
    """A console with an organization, a robot and a repository, mirroring offered."""
    async with open_console(FEATURE_REPO_MIRROR=True) as console:
        await log_in(console)
        await console.call("POST", "/organization/", body={"name": "testorg"})
        await console.call("PUT", "/organization/testorg/robots/ci", body={})
        await console.call("PUT", "/user/robots/laptop", body={})
        body = {
            "namespace": "testorg", "repository": "mirrored",
            "visibility": "private", "description": "",
        }  # fmt: skip
        created = await console.call("POST", "/repository", body=body)
        assert created.status_code == 201, created.text
        yield console


async def made(console):
    answer = await console.call("POST", MIRROR, body=BODY)
    assert (answer.status_code, answer.json()) == (201, "")


async def test_a_new_mirror_is_shown_without_its_password(console):
    await made(console)
    shown = (await console.call("GET", MIRROR)).json()
    assert shown == {
        "is_enabled": True, "mirror_type": "PULL", "external_reference": "quay.io/lib/base",
        "external_registry_username": "ext",
        "external_registry_config": {
            "verify_tls": False, "unsigned_images": True,
            "proxy": {"http_proxy": None, "https_proxy": None, "no_proxy": None},
        },
        "sync_interval": 3600, "sync_start_date": "2026-01-02T03:04:05Z",
        "sync_expiration_date": None, "sync_retries_remaining": 3, "sync_status": "NEVER_RUN",
        "root_rule": {"rule_kind": "tag_glob_csv", "rule_value": ["latest", "v*"]},
        "robot_username": "testorg+ci", "skopeo_timeout_interval": 300, "architecture_filter": [],
    }  # fmt: skip


async def test_a_mirrored_repository_changes_state_and_its_robot_may_write(console):
    await made(console)
    repository = (await console.call("GET", "/repository/testorg/mirrored")).json()
    assert repository["state"] == "MIRROR"
    path = "/repository/testorg/mirrored/permissions/user/testorg+ci"
    assert (await console.call("GET", path)).json()["role"] == "write"


async def test_a_second_configuration_is_refused(console):
    await made(console)
    answer = await console.call("POST", MIRROR, body=BODY)
    assert answer.status_code == 409
    assert answer.json() == {
        "detail": "Mirror configuration already exits for repository testorg/mirrored"
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"robot_username": "testorg+nosuch"}, {"message": "Could not find robot with specified username"}),
        ({"robot_username": "quayadmin"}, {"message": "Could not find robot with specified username"}),
        ({"robot_username": "quayadmin+laptop"}, {"message": "Invalid robot"}),
        ({"sync_start_date": "tomorrow"}, {"detail": "Incorrect DateTime format for sync_start_date."}),
        ({"external_reference": "10.0.0.1/x/y"}, "The provided registry location is not allowed"),
        ({"external_reference": "localhost:5000/x"}, "The provided registry location is not allowed"),
        ({"external_reference": ""}, "External registry reference is required"),
        ({"root_rule": {"rule_kind": "tag_glob_csv", "rule_value": []}},
         "validation failed: rule_value for TAG_GLOB_CSV must be a list with at least one rule"),
        ({"root_rule": {"rule_kind": "regex", "rule_value": ["x"]}}, "'regex' is not one of ['tag_glob_csv']"),
    ],
)  # fmt: skip
async def test_a_wrong_configuration_is_refused_and_changes_nothing(console, change, expected):
    answer = await console.call("POST", MIRROR, body=BODY | change)
    assert answer.status_code == 400
    if isinstance(expected, dict):
        assert answer.json() == expected
    else:
        assert answer.json()["detail"] == expected
    assert (await console.call("GET", MIRROR)).status_code == 404
    repository = (await console.call("GET", "/repository/testorg/mirrored")).json()
    assert repository["state"] == "NORMAL"


async def test_what_is_missing_is_named(console):
    answer = await console.call("POST", MIRROR, body={})
    assert answer.json()["detail"].startswith("'external_reference' is a required property")


@pytest.mark.parametrize(
    ("change", "status", "expected"),
    [
        ({"sync_interval": 7200}, 201, ""),
        ({}, 201, ""),
        ({"external_registry_password": "x"}, 400,
         {"detail": "Unable to set a new password without also specifying a username."}),
        ({"external_registry_username": None, "external_registry_password": "x"}, 400,
         {"detail": "Unable to delete username while setting a password."}),
        ({"sync_start_date": "x"}, 400, {"detail": "Incorrect DateTime format for sync_start_date."}),
        ({"robot_username": "testorg+nosuch"}, 400,
         {"message": "Could not find robot with specified username"}),
    ],
)  # fmt: skip
async def test_a_change_answers_as_quay(console, change, status, expected):
    await made(console)
    answer = await console.call("PUT", MIRROR, body=change)
    assert (answer.status_code, answer.json()) == (status, expected)


async def test_a_change_is_shown(console):
    await made(console)
    await console.call(
        "PUT", MIRROR, body={"sync_interval": 60, "external_registry_username": None}
    )
    shown = (await console.call("GET", MIRROR)).json()
    assert (shown["sync_interval"], shown["external_registry_username"]) == (60, None)
    assert shown["root_rule"]["rule_value"] == ["latest", "v*"]


async def test_a_sync_is_asked_for_and_cancelled_once(console):
    await made(console)
    assert (await console.call("POST", f"{MIRROR}/sync-now")).status_code == 204
    assert (await console.call("GET", MIRROR)).json()["sync_status"] == "SYNC_NOW"
    assert (await console.call("POST", f"{MIRROR}/sync-cancel")).status_code == 204
    assert (await console.call("GET", MIRROR)).json()["sync_status"] == "CANCEL"
    assert (await console.call("POST", f"{MIRROR}/sync-cancel")).status_code == 404


async def test_nobody_sees_a_mirror_without_logging_in(console):
    await made(console)
    assert (await console.call("GET", MIRROR, token="")).status_code == 401


async def test_without_the_feature_there_is_no_mirror(open_console):
    async with open_console() as console:
        await log_in(console)
        await console.call("POST", "/organization/", body={"name": "testorg"})
        body = {
            "namespace": "testorg", "repository": "mirrored",
            "visibility": "private", "description": "",
        }  # fmt: skip
        await console.call("POST", "/repository", body=body)
        assert (await console.call("GET", MIRROR)).status_code == 404

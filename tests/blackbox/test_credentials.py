"""skopeo signs in with each kind of credential that Quay knows, pulls, and pushes where it may."""

import asyncio
import json
import subprocess

import pytest
from sqlalchemy import func, insert, select
from tests.blackbox.conftest import PASSWORD, on_postgresql

from hatoba.kernel.clock import SystemClock
from hatoba.registry.accounts.secrets import ColumnCipher, derive_key
from hatoba.registry.db.tables.permissions import roles
from hatoba.registry.db.tables.repositories import repositories
from hatoba.registry.db.tables.tokens import access_tokens
from hatoba.sql.engine import open_database

pytestmark = [pytest.mark.clients, pytest.mark.postgres, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory, postgres_server):
    directory = tmp_path_factory.mktemp("registry")
    with (
        postgres_server.database() as url,
        on_postgresql(directory, url, CREATE_NAMESPACE_ON_PUSH=True) as running,
    ):
        yield running


@pytest.fixture
def pushed(registry, skopeo, layout) -> str:
    source: str = layout.name(layout.add_image(seed=41, layers=1), "one")
    skopeo.push(source, "admin/app:v1")
    return source


async def insert_access_token(registry) -> str:
    """Write what an adopted database may hold; no API of this release makes it."""
    database = open_database(registry.database_uri)
    cipher = ColumnCipher(derive_key("d" * 64))
    async with database.begin() as connection:
        # The first of the name is admin/app.
        found = select(func.min(repositories.c.id)).where(repositories.c.name == "app")
        role = select(roles.c.id).where(roles.c.name == "write")
        await connection.execute(
            insert(access_tokens).values(
                friendly_name="deploy",
                repository_id=(await connection.execute(found)).scalar_one(),
                created=SystemClock().now(),
                role_id=(await connection.execute(role)).scalar_one(),
                temporary=False,
                token_name="N" * 32,
                token_code=cipher.encrypt("S" * 32),
            )
        )
    await database.close()
    return "N" * 32 + "S" * 32


def credentials(registry, kind: str) -> str:
    """Make credentials of a kind; return the user name for them."""
    if kind == "encrypted":
        key = registry.api("POST", "/user/clientkey", password=PASSWORD).json["key"]
        registry.users["encrypted"] = key
        return "admin"
    if kind == "robot":
        made = registry.api("PUT", "/user/robots/ci", description="")
        registry.users["admin+ci"] = made.json["token"]
        path = "/repository/admin/app/permissions/user/admin+ci"
        assert registry.api("PUT", path, role="write").status == 200
        return "admin+ci"
    if kind == "$app":
        made = registry.api("POST", "/user/apptoken", title="laptop")
        registry.users["$app"] = made.json["token"]["token_code"]
    elif kind == "$oauthtoken":
        registry.users["$oauthtoken"] = registry.token
    elif kind == "$token" and "$token" not in registry.users:
        registry.users["$token"] = asyncio.run(insert_access_token(registry))
    return kind


@pytest.mark.parametrize("kind", ["encrypted", "robot", "$app", "$oauthtoken", "$token"])
def test_skopeo_signs_in_pulls_and_pushes(registry, skopeo, pushed, tmp_path, kind) -> None:
    user = credentials(registry, kind)
    password = registry.users["encrypted" if kind == "encrypted" else user]
    subprocess.run(
        [
            *("skopeo", "login", "--tls-verify=false", "--username", user, "--password-stdin"),
            *("--authfile", str(tmp_path / "auth.json"), registry.host),
        ],
        input=password.encode(),
        check=True,
        timeout=60,
    )
    signed_in = ("--authfile", str(tmp_path / "auth.json"))
    copied = f"dir:{tmp_path}/pulled"
    plain = ("copy", *signed_in)
    skopeo.run(*plain, "--src-tls-verify=false", skopeo.remote("admin/app:v1"), copied)
    tag = f"admin/app:by-{kind.strip('$')}"
    skopeo.run(*plain, "--dest-tls-verify=false", copied, skopeo.remote(tag))
    assert json.loads(skopeo.inspect(tag))["Digest"]


def test_the_token_of_a_repository_opens_no_other(registry, skopeo, pushed) -> None:
    credentials(registry, "$token")
    assert "unauthorized" in skopeo.push(pushed, "admin/other:v1", user="$token", fails=True)


def test_a_push_makes_the_organization_that_it_names(registry, skopeo, pushed) -> None:
    skopeo.push(pushed, "newcomer/app:v1")
    assert registry.api("GET", "/organization/newcomer").json["name"] == "newcomer"


def test_a_token_from_before_does_not_outlive_the_state(registry, skopeo, pushed) -> None:
    skopeo.push(pushed, "admin/frozen:v1")
    before = registry.bearer("repository:admin/frozen:pull,push")
    path = "/v2/admin/frozen/manifests/v1"
    manifest = registry.call("GET", path, headers=before)
    state = "/repository/admin/frozen/changestate"
    assert registry.api("PUT", state, state="READ_ONLY").status == 200
    headers = {**before, "Content-Type": manifest.headers["content-type"]}
    for method, body in (("PUT", manifest.body), ("DELETE", None)):
        refused = registry.call(method, path, body=body, headers=headers)
        assert (refused.status, refused.code) == (403, "DENIED")
    started = registry.call("POST", "/v2/admin/frozen/blobs/uploads/", headers=before)
    assert (started.status, started.code) == (403, "DENIED")
    assert skopeo.push(pushed, "admin/frozen:v2", fails=True)
    assert registry.call("GET", path, headers=before).body == manifest.body
    assert registry.api("PUT", state, state="NORMAL").status == 200
    skopeo.push(pushed, "admin/frozen:v2")


def test_a_deleted_tag_is_restored_over_the_api(registry, skopeo, pushed) -> None:
    skopeo.push(pushed, "admin/past:v1")
    digest = json.loads(skopeo.inspect("admin/past:v1"))["Digest"]
    skopeo.delete("admin/past:v1")
    assert skopeo.inspect("admin/past:v1", fails=True)
    history = registry.api("GET", "/repository/admin/past/tag/?specificTag=v1").json["tags"]
    assert [(one["manifest_digest"], "end_ts" in one) for one in history] == [(digest, True)]
    path = "/repository/admin/past/tag/v1/restore"
    assert registry.api("POST", path, manifest_digest=digest).status == 200
    assert json.loads(skopeo.inspect("admin/past:v1"))["Digest"] == digest

"""A question for a token that was asked a moment ago gets the same token, until something changes."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from tests.registry.conftest import only_postgresql

from hatoba.config.loader import Configuration
from hatoba.config.schema import QuayConfig
from hatoba.registry.access.issued import IssuedToken
from hatoba.registry.accounts.app_tokens import AppTokens
from hatoba.registry.app import make_application, open_services
from hatoba.registry.content.invalidation import DELETED, announce_change

pytestmark = pytest.mark.anyio
HOST = "registry.example:5180"
FIRST = ("quayadmin", "quaypass123")
PULL = "repository:quayadmin/app:pull"


@asynccontextmanager
async def registry(uri, directory, clock, **changes):
    """The whole application in process, with its first user and his token for the API."""
    settings = QuayConfig.model_validate(
        {
            "SECRET_KEY": "s",
            "DATABASE_SECRET_KEY": "d",
            "DB_URI": uri,
            "SERVER_HOSTNAME": HOST,
            "FEATURE_USER_INITIALIZE": True,
            "BROWSER_API_CALLS_XHR_ONLY": False,
            "DISTRIBUTED_STORAGE_CONFIG": {
                "default": ["LocalStorage", {"storage_path": str(directory / "blobs")}]
            },
            "DISTRIBUTED_STORAGE_PREFERENCE": ["default"],
            **changes,
        }
    )
    configuration = Configuration(directory=directory, settings=settings, unused=())
    async with open_services(configuration, clock=clock) as services:
        services.rooms.users.hasher.rounds = 4
        if uri.startswith("postgres"):
            await begun_to_listen(services.rooms)
        transport = httpx2.ASGITransport(make_application(services))
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            yield services, client


async def begun_to_listen(rooms) -> None:
    """Wait for the first word of the database, with which a process begins with empty hands."""
    for _ in range(6000):
        if rooms.issued.generation:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the database is not listened to")


async def heard_of(services) -> None:
    """Wait until a process knows of all that was announced: word comes in the order of commits."""
    if not services.database.is_postgresql:
        return
    remembered: Any = services.shelf.caches.blobs
    remembered.put("mark", "until something is deleted")
    await announce_change(services.database, DELETED)
    for _ in range(6000):
        if remembered.get("mark") is None:
            return
        await asyncio.sleep(0.01)
    pytest.fail("what was announced is not heard")


async def first_user(client) -> dict[str, str]:
    body = {"username": FIRST[0], "password": FIRST[1], "access_token": True}
    answer = await client.post("/api/v1/user/initialize", json=body)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def ask(client, credentials=FIRST, scope=PULL, **headers):
    params = {"service": HOST, "scope": scope}
    answer = await client.get("/v2/auth", params=params, auth=credentials, headers=headers)
    return answer.json()["token"] if answer.status_code == 200 else answer.status_code


async def test_the_same_question_is_answered_with_the_same_token_for_a_minute(
    migrated_uri, tmp_path, clock
) -> None:
    async with registry(migrated_uri, tmp_path, clock) as (services, client):
        await first_user(client)
        await heard_of(services)
        token = await ask(client)
        clock.advance(seconds=59)
        assert await ask(client) == token
        clock.advance(seconds=1)
        assert await ask(client) != token


async def test_nothing_is_answered_again_where_that_is_switched_off(
    migrated_uri, tmp_path, clock
) -> None:
    async with registry(migrated_uri, tmp_path, clock, REGISTRY_TOKEN_REUSE_S=0) as (_, client):
        await first_user(client)
        token = await ask(client)
        clock.advance(seconds=1)
        assert await ask(client) != token


async def test_other_questions_get_answers_of_their_own(migrated_uri, tmp_path, clock) -> None:
    async with registry(migrated_uri, tmp_path, clock) as (_, client):
        await first_user(client)
        token = await ask(client)
        assert await ask(client, ("quayadmin", "wrong-password")) == 401
        assert await ask(client, scope="repository:quayadmin/app:push") != token
        assert await ask(client, None) != token


async def test_a_changed_password_ends_what_was_answered_before(
    migrated_uri, tmp_path, clock
) -> None:
    async with registry(migrated_uri, tmp_path, clock) as (_, client):
        headers = await first_user(client)
        await ask(client)
        changed = await client.put(
            "/api/v1/user/", json={"password": "another-pass-1"}, headers=headers
        )
        assert changed.status_code == 200, changed.text
        assert await ask(client) == 401


async def test_an_answer_says_how_long_its_token_lives_and_from_when(
    migrated_uri, tmp_path, clock
) -> None:
    async with registry(migrated_uri, tmp_path, clock) as (services, client):
        await first_user(client)
        await heard_of(services)
        params = {"service": HOST, "scope": PULL}
        first = (await client.get("/v2/auth", params=params, auth=FIRST)).json()
        assert (first["expires_in"], first["issued_at"]) == (300, "2026-11-23T12:00:00Z")
        claims = await services.rooms.verifier.verify(first["token"])
        assert claims.expires_at == clock.now().timestamp() + 300
        clock.advance(seconds=59)
        again = await client.get("/v2/auth", params=params, auth=FIRST)
        assert again.json() == first, "the same token began when it began"


async def test_a_token_counts_from_before_its_grants_were_read(console, clock) -> None:
    """As of a process that was stopped in between: what it read may be revoked since."""
    rooms = console.rooms

    class Slow(AppTokens):
        async def find(self, code):
            found = await super().find(code)
            clock.advance(seconds=1000)
            return found

    slow = Slow(**{part.name: getattr(rooms.app_tokens, part.name) for part in fields(AppTokens)})
    credentials = replace(rooms.credentials, app_tokens=slow)
    console.app.state.rooms = replace(rooms, credentials=credentials)
    made = await console.call("POST", "/user/apptoken", body={"title": "laptop"})
    code = made.json()["token"]["token_code"]
    began = clock.now()
    params = {"service": rooms.settings.server_hostname, "scope": PULL}
    answer = (await console.client.get("/v2/auth", params=params, auth=("$app", code))).json()
    assert clock.now() == began + timedelta(seconds=1000)
    claims = jwt_claims(answer["token"])
    assert claims["exp"] == began.timestamp() + answer["expires_in"]


def jwt_claims(token: str) -> dict:
    payload = token.split(".")[1]
    read: dict = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return read


# SQLite has no word for other processes: what they remember ends by its age.
@only_postgresql
async def test_another_process_learns_of_a_change(migrated_uri, tmp_path, clock) -> None:
    async with (
        registry(migrated_uri, tmp_path, clock) as (_, one),
        registry(migrated_uri, tmp_path, clock) as (services, other),
    ):
        headers = await first_user(one)
        await heard_of(services)
        token = await ask(other)
        assert await ask(other) == token
        await one.put("/api/v1/user/", json={"password": "another-pass-1"}, headers=headers)
        answer = token
        for _ in range(6000):
            answer = await ask(other)
            if answer != token:
                break
            await asyncio.sleep(0.01)
        assert answer == 401


async def test_each_answer_is_a_login_of_its_own(migrated_uri, tmp_path, clock) -> None:
    async with registry(migrated_uri, tmp_path, clock) as (services, client):
        await first_user(client)
        await services.rooms.audit.flush()
        for _ in range(3):
            await ask(client)
        assert services.rooms.audit.waiting == 3


async def test_a_decision_that_something_overtook_is_not_kept(console) -> None:
    issued = console.rooms.issued
    generation = issued.generation
    issued.clear()
    issued.put(b"question", IssuedToken(body=b"{}"), generation=generation)
    assert issued.get(b"question") is None


async def test_a_token_ends_after_its_configured_time(migrated_uri, tmp_path, clock) -> None:
    async with registry(migrated_uri, tmp_path, clock) as (_, client):
        await first_user(client)
        headers = {"Authorization": f"Bearer {await ask(client)}"}
        clock.advance(seconds=329)
        assert (await client.get("/v2/", headers=headers)).status_code == 200
        clock.advance(seconds=1)
        assert (await client.get("/v2/", headers=headers)).status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_another_method_is_refused_in_the_shape_of_the_specification(
    migrated_uri, tmp_path, clock, method
) -> None:
    async with registry(migrated_uri, tmp_path, clock) as (_, client):
        refused = await client.request(method, "/v2/auth")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert refused.json()["errors"][0]["code"] == "UNSUPPORTED"

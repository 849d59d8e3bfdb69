"""What was taken away works no longer than is stated: for anybody, at any replica.

The bound: a registry token lives for REGISTRY_TOKEN_LIFETIME_S, and 30 seconds by which clocks may
differ. The other replica is stopped by SIGSTOP while something is revoked, so that no word of it
can have arrived, and goes on with all that it remembered. The clock of the whole machine is moved
by libfaketime, so that the bound is held to the second and nobody waits for it.
"""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from tests.torture.client import Client, Refused
from tests.torture.stage import Stage
from tests.torture.test_clocks import faked_time
from tests.torture.test_replicas import push, stopped

from hatoba.registry.access.tokens import SKEW_SECONDS

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

LIFETIME_SECONDS = 60
"""REGISTRY_TOKEN_LIFETIME_S, the shortest that the registry takes."""
REPOSITORY = "acme/app"
BOTH = (0, 1)


@dataclass(kw_only=True)
class World:
    """Two replicas, and the clock that they and their database share."""

    stage: Stage
    put: Callable[[timedelta], None]
    offset: timedelta = field(default=timedelta())

    def advance(self, seconds: float) -> None:
        self.offset += timedelta(seconds=seconds)
        self.put(self.offset)

    def now(self) -> float:
        return time.time() + self.offset.total_seconds()

    def client(self, replica: int, user: str, password: str) -> Client:
        return replace(self.stage.client(replica), user=user, password=password, tokens={})


@pytest.fixture(scope="module")
def world(module_play):
    with faked_time() as (environment, put):
        stage = module_play(
            replicas=2,
            # What counts the seconds since the last look at the clock has to move with it.
            environment={**environment, "FAKETIME_DONT_FAKE_MONOTONIC": "0"},
            database_environment=environment,
            REGISTRY_TOKEN_LIFETIME_S=LIFETIME_SECONDS,
        )
        stage.api("POST", "/organization/", name="acme", email="acme@example.com")
        push(stage.client(0), REPOSITORY, "latest", "kept from strangers")
        yield World(stage=stage, put=put)
        # With a counter of seconds that jumps, waiting in an orderly end may last for ever.
        for replica in stage.replicas:
            replica.kill()


# -- credentials, and how each is taken away: (user, password), revoke --

Case = tuple[str, str, Callable[[], object]]


def _person(stage: Stage, name: str) -> str:
    password: str = stage.api("POST", "/superuser/users/", username=name)["password"]
    return password


def _granted(stage: Stage, kind: str, name: str) -> None:
    stage.api("PUT", f"/repository/{REPOSITORY}/permissions/{kind}/{name}", role="write")


def _permission(stage: Stage) -> Case:
    password = _person(stage, "granted")
    _granted(stage, "user", "granted")
    path = f"/repository/{REPOSITORY}/permissions/user/granted"
    return "granted", password, lambda: stage.api("DELETE", path)


def _team_membership(stage: Stage) -> Case:
    password = _person(stage, "member")
    stage.api("PUT", "/organization/acme/team/builders", role="member")
    _granted(stage, "team", "builders")
    path = "/organization/acme/team/builders/members/member"
    stage.api("PUT", path)
    return "member", password, lambda: stage.api("DELETE", path)


def _robot(stage: Stage, name: str) -> str:
    token: str = stage.api("PUT", f"/organization/acme/robots/{name}")["token"]
    _granted(stage, "user", f"acme+{name}")
    return token


def _robot_deleted(stage: Stage) -> Case:
    token = _robot(stage, "gone")
    return "acme+gone", token, lambda: stage.api("DELETE", "/organization/acme/robots/gone")


def _robot_token_renewed(stage: Stage) -> Case:
    token = _robot(stage, "fresh")
    path = "/organization/acme/robots/fresh/regenerate"
    return "acme+fresh", token, lambda: stage.api("POST", path)


def _password_changed(stage: Stage) -> Case:
    password = _person(stage, "careful")
    _granted(stage, "user", "careful")
    path = "/superuser/users/careful"
    return "careful", password, lambda: stage.api("PUT", path, password="another-pass-1")


def _person_disabled(stage: Stage) -> Case:
    password = _person(stage, "dismissed")
    _granted(stage, "user", "dismissed")
    path = "/superuser/users/dismissed"
    return "dismissed", password, lambda: stage.api("PUT", path, enabled=False)


def _app_token_revoked(stage: Stage) -> Case:
    made = stage.api("POST", "/user/apptoken", title="laptop")["token"]
    path = f"/user/apptoken/{made['uuid']}"
    return "$app", made["token_code"], lambda: stage.api("DELETE", path)


CASES = (
    _permission,
    _team_membership,
    _robot_deleted,
    _robot_token_renewed,
    _password_changed,
    _person_disabled,
    _app_token_revoked,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.strip("_"))
def test_what_is_revoked_ends_within_the_bound(world: World, case) -> None:
    user, password, revoke = case(world.stage)
    clients = [world.client(replica, user, password) for replica in BOTH]
    for client in clients:
        assert (pulls(client), starts_a_push(client)) == (True, True), "it worked before"
    held = [client.tokens[REPOSITORY] for client in clients]
    with stopped(world.stage.replicas[1]):
        revoke()
        revoked_at = world.now()
        # Here it is known as soon as the word arrives, though the other replica says nothing.
        late = wait_until_refused(clients[0])
    late += wait_until_refused(clients[1])
    # What was answered until then ends in time.
    assert all(expiry(token) <= revoked_at + LIFETIME_SECONDS for token in [*held, *late])
    world.advance(LIFETIME_SECONDS + SKEW_SECONDS + 1)
    for client in clients:
        for token in {*held, *late}:
            assert status_with(client, token) == 401
        assert grants(client) == set()


def test_a_token_is_taken_until_its_end_and_not_longer(world: World) -> None:
    password = _person(world.stage, "patient")
    _granted(world.stage, "user", "patient")
    client = world.client(1, "patient", password)
    token = client.token(REPOSITORY)
    world.advance(LIFETIME_SECONDS + SKEW_SECONDS - 15)
    assert status_with(client, token) == 200
    world.advance(16)
    assert status_with(client, token) == 401


def test_a_repository_made_private_is_closed_to_strangers_within_the_bound(world: World) -> None:
    path = f"/repository/{REPOSITORY}/changevisibility"
    world.stage.api("POST", path, visibility="public")
    strangers = [world.client(replica, "", "") for replica in BOTH]
    held = [anonymous_token(client) for client in strangers]
    assert [status_with(strangers[1], token) for token in held] == [200, 200]
    with stopped(world.stage.replicas[1]):
        world.stage.api("POST", path, visibility="private")
    world.advance(LIFETIME_SECONDS + SKEW_SECONDS + 1)
    for client in strangers:
        assert [status_with(client, token) for token in held] == [401, 401]


def pulls(client: Client) -> bool:
    return client.call("GET", REPOSITORY, "/manifests/latest").status == 200


def starts_a_push(client: Client) -> bool:
    answer = client.call("POST", REPOSITORY, "/blobs/uploads/")
    return answer.status == 202


def status_with(client: Client, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return client.send("GET", f"/v2/{REPOSITORY}/manifests/latest", headers=headers).status


def anonymous_token(client: Client) -> str:
    query = f"service={client.service}&scope=repository:{REPOSITORY}:pull"
    token: str = json.loads(client.send("GET", f"/v2/auth?{query}").body)["token"]
    return token


def grants(client: Client) -> set[str]:
    """Ask for a token anew; return what it allows, nothing where there is none."""
    client.tokens.clear()
    try:
        token = client.token(REPOSITORY)
    except Refused as refused:
        # 429 is for passwords that were tried too often.
        if refused.status not in {401, 429}:
            raise
        return set()
    return {action for access in claims(token)["access"] for action in access["actions"]}


def wait_until_refused(client: Client) -> list[str]:
    """Ask until nothing is granted any more; return the tokens that were given until then."""
    given = []
    deadline = time.monotonic() + 60
    while grants(client):
        given.append(client.tokens[REPOSITORY])
        assert time.monotonic() < deadline, "the word never arrives"
        time.sleep(0.01)
    return given


def claims(token: str) -> dict:
    payload = token.split(".")[1]
    read: dict = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return read


def expiry(token: str) -> int:
    end: int = claims(token)["exp"]
    return end

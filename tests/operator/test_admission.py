"""Webhooks and policies of the cluster: what they refuse is told, with who refused and what helps."""

import json
from datetime import timedelta

import httpx2
import pytest
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.conftest import a_world
from tests.operator.weather import Calm, Weather

from hatoba.cluster.objects import DEPLOYMENTS, NAMESPACES
from hatoba.kernel.clock import FixedClock, SystemClock
from hatoba.kernel.errors import Unavailable
from hatoba.operator.admission import PATIENCE, NamespaceEnding
from hatoba.operator.process import Operator

pytestmark = [pytest.mark.api, pytest.mark.anyio]

DENIED = 'admission webhook "policy.example" denied the request: no registry on a Friday'
POLICY = (
    "ValidatingAdmissionPolicy 'no-latest' with binding 'no-latest' denied request: no such image"
)
BROKEN = (
    'Internal error occurred: failed calling webhook "policy.example": failed to call webhook: '
    'Post "https://policy.policies.svc:443/": service "policy" not found'
)


class Webhook(Calm):
    """Refuses writes below a path, as the API server says it for a webhook or a policy."""

    def __init__(self, path, *, code, message):
        super().__init__()
        self.path = path
        self.code = code
        self.message = message

    async def pass_on(self, request, send):
        if request.method == "GET" or self.path not in request.url.path:
            return await super().pass_on(request, send)
        status = {
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "code": self.code, "message": self.message,
        }  # fmt: skip
        return httpx2.Response(
            self.code,
            request=request,
            headers={"Content-Type": "application/json"},
            content=json.dumps(status).encode(),
        )


@pytest.fixture
async def hooked():
    """A cluster, and the weather between it and the operator."""
    weathers = []

    def around(transport):
        weathers.append(Weather(transport))
        return weathers[-1]

    async with a_world(around=around) as world:
        await world.create_registry()
        await world.converge()
        yield world, weathers[0]


async def blocked(world):
    status = (await world.registry())["status"]
    found = {one["type"]: one for one in status["conditions"]}
    assert found["Available"]["status"] == "True"
    told = found["RolloutBlocked"]
    return told["status"], told["reason"], told["message"]


async def change_something(world):
    """Let the operator have something to write: a variable of its pods."""
    given = (await world.registry())["spec"]["components"]
    named = [
        {**one, "overrides": {"env": [{"name": "FOO", "value": "bar"}]}}
        if one["kind"] == "mirror"
        else one
        for one in given
    ]
    await world.update_spec({"components": named})


@pytest.mark.parametrize(
    ("code", "message"), [(400, DENIED), (403, DENIED), (500, DENIED), (422, POLICY)]
)
async def test_a_denied_write_is_told_with_its_object_and_who_denied_it(hooked, code, message):
    world, weather = hooked
    await change_something(world)
    weather.policy = Webhook(f"/deployments/{NAME}-quay-mirror", code=code, message=message)
    await world.once()
    assert await blocked(world) == (
        "True",
        "ComponentCreationFailed",
        (
            f"all Kubernetes objects not created/updated successfully: Deployment {NAME}-quay-mirror: "
            f"{message}: change what it demands, or exempt the objects of the registry from it"
        ),
    )
    weather.policy = Calm()
    await world.converge()
    assert (await blocked(world))[0] == "False"


async def test_a_denied_spec_is_no_lack_of_rights(hooked):
    world, weather = hooked
    given = (await world.registry())["spec"]["components"]
    await world.update_spec({"components": [one for one in given if one["kind"] != "mirror"]})
    weather.policy = Webhook(f"/quayregistries/{NAME}", code=403, message=DENIED)
    path = f"/quayregistries/{NAME}/status"
    weather.policy.pass_on = _but(weather.policy, path)
    await world.once()
    status, _, message = await blocked(world)
    assert status == "True"
    assert f"QuayRegistry {NAME}: {DENIED}" in message
    assert "service account" not in message


def _but(webhook, path):
    """Let a webhook look at everything but a path."""
    looking = webhook.pass_on

    async def pass_on(request, send):
        if request.url.path.endswith(path):
            return await send(request)
        return await looking(request, send)

    return pass_on


async def test_a_webhook_that_stays_away_is_told_and_one_that_rolls_is_not(hooked):
    world, weather = hooked
    await change_something(world)
    weather.policy = Webhook("/deployments/", code=500, message=BROKEN)
    clock = FixedClock(SystemClock().now())
    world.operator = Operator(world.cluster, settings=SETTINGS, clock=clock)
    async with world.operator.watching():
        for passed in (timedelta(), PATIENCE - timedelta(seconds=1)):
            clock.advance(seconds=passed.total_seconds())
            with pytest.raises(Unavailable, match="failed calling webhook"):
                await world.once()
            assert (await blocked(world))[0] == "False"
        clock.advance(seconds=1)
        await world.once()
        status, _, message = await blocked(world)
        assert status == "True"
        assert f"Deployment {NAME}-" in message
        assert message.endswith(
            "not found: bring the webhook that it names back, or delete its configuration"
        )
        # One that answered in between starts anew.
        weather.policy = Calm()
        await world.converge()
        assert (await blocked(world))[0] == "False"
        app = await world.get(DEPLOYMENTS, "quay-mirror")
        assert {"name": "FOO", "value": "bar"} in app["spec"]["template"]["spec"]["containers"][0][
            "env"
        ]


@pytest.mark.embedded
async def test_a_namespace_that_is_being_deleted_is_told_and_is_no_lack_of_rights(world):
    await world.create_registry()
    await world.converge()
    await world.objects.delete(DEPLOYMENTS, f"{NAME}-quay-mirror", NAMESPACE)
    await world.objects.delete(NAMESPACES, NAMESPACE, None)
    written = []
    for _ in range(3):
        # What is raised lets the queue wait longer each time.
        with pytest.raises(NamespaceEnding):
            await world.once()
        written.append(world.cluster.writes)
    assert written[2] - written[1] == 1, "told once, and tried again with one request"
    found = (await world.registry())["status"]["conditions"]
    told = next(one for one in found if one["type"] == "RolloutBlocked")
    message = told["message"]
    assert (told["status"], told["reason"]) == ("True", "ComponentCreationFailed")
    assert message.startswith(
        f'the namespace is being deleted: deployments.apps "{NAME}-quay-mirror" is forbidden: '
        f"unable to create new content in namespace {NAMESPACE} because it is being terminated: "
    )
    assert "service account" not in message

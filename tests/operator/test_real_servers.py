"""What API servers do that no client asked for: the operator lives with it, and writes once.

Recorded of Kubernetes 1.32 where not said otherwise; the embedded API does the same.
"""

import asyncio
import copy

import httpx2
import pytest
from tests.operator.builders import NAME, NAMESPACE, a_plan
from tests.operator.conftest import REGISTRIES
from tests.operator.test_admission import Webhook, blocked, change_something
from tests.operator.weather import Calm, a_status, an_answer

from hatoba.cluster.api.decoding import check_types, drop_unknown
from hatoba.cluster.formats.schema import UnknownSchema, builtin
from hatoba.cluster.formats.typed import field_set
from hatoba.cluster.objects import CLAIMS, DEPLOYMENTS
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.errors import Conflict
from hatoba.operator import names
from hatoba.operator.landscape import Capabilities, Exposure, Way
from hatoba.operator.render import render
from hatoba.operator.runtime import election
from hatoba.operator.runtime.informer import Informer, Scope

pytestmark = [pytest.mark.api, pytest.mark.anyio]
HAND_OVER = "quay-operator-scale"
PLANS = {
    "everything managed": a_plan(),
    "nothing managed": a_plan(*names.COMPONENT_ORDER),
    "an Ingress": a_plan(
        "monitoring",
        exposure=Exposure(way=Way.INGRESS),
        capabilities=Capabilities(),
        hostname="registry.example",
    ),
    "scaled by requests": a_plan(capabilities=Capabilities(routes=True, requests_measured=True)),
}
ZEROES_KEPT = {"maxUnavailable", "backoffLimit", "automountServiceAccountToken", "optional"}
"""Fields that a server stores though they are zero, since absence means something else."""


def built_in(plan):
    for obj in render(plan).objects:
        group, _, version = obj["apiVersion"].rpartition("/")
        try:
            yield obj, builtin(group, version, obj["kind"])
        except UnknownSchema:
            continue


def zeroes(value, path=()):
    if isinstance(value, dict):
        for name, part in value.items():
            yield from zeroes(part, (*path, name))
    elif isinstance(value, list):
        for part in value:
            yield from zeroes(part, path)
    elif value in (0, False) and not ZEROES_KEPT & {*path[-1:]}:
        yield path


@pytest.mark.parametrize("shape", PLANS)
def test_what_is_applied_comes_back_as_it_was_written(shape):
    for obj, schema in built_in(PLANS[shape]):
        sent = copy.deepcopy(obj)
        assert drop_unknown(obj, schema) == [], f"{obj['kind']}: a server refuses these"
        check_types(obj, schema.raw, kind=obj["kind"], version="v1")
        assert obj == sent, "quantities are written otherwise by a server"
        assert field_set(obj, schema), "raises where two items of a list have the same key"
        assert list(zeroes(obj)) == [], "a server leaves these out"


async def test_a_size_that_the_api_writes_otherwise_is_written_once(world):
    await world.create_registry()
    note = {"metadata": {"annotations": {names.DATA_STORE_SIZE_ANNOTATION: "102400Mi"}}}
    merge = "application/merge-patch+json"
    await world.objects.patch(REGISTRIES, NAME, NAMESPACE, note, type=merge, manager="kubectl")
    await world.converge()
    claim = await world.get(CLAIMS, "quay-datastore")
    assert claim["spec"]["resources"]["requests"]["storage"] == "100Gi"


async def test_a_field_that_somebody_applied_by_kubectl_stays_and_costs_no_write(world):
    await world.create_registry()
    await world.converge()
    app = await world.get(DEPLOYMENTS, "quay-app")
    (container,) = app["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": "THEIRS", "value": "1"}, *container["env"]]
    await world.objects.update(DEPLOYMENTS, app, manager="kubectl-client-side-apply")
    await world.caught_up()
    before = world.cluster.writes
    await world.once()
    assert world.cluster.writes == before
    app = await world.get(DEPLOYMENTS, "quay-app")
    assert app["spec"]["template"]["spec"]["containers"][0]["env"][0]["name"] == "THEIRS"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            500,
            "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): .spec.x: field not declared",
        ),
        (500, "etcdserver: request is too large"),
        (403, 'deployments.apps "x" is forbidden: exceeded quota: small, requested: count/x=1'),
    ],
)
async def test_a_refusal_for_good_is_told_whatever_its_code(stage, code, message):
    world = stage.world
    await world.create_registry()
    await world.converge()
    await change_something(world)
    path = f"/deployments/{NAME}-quay-mirror"
    stage.weather.policy = Webhook(path, code=code, message=message)
    await world.once()
    status, reason, told = await blocked(world)
    assert (status, reason) == ("True", "ComponentCreationFailed")
    assert f"Deployment {NAME}-quay-mirror: {message}: " in told
    stage.weather.policy = Calm()
    await world.converge()
    assert (await blocked(world))[0] == "False"


class Deleting(Calm):
    """Somebody deletes a Deployment just before its replicas are handed over."""

    def __init__(self, world):
        super().__init__()
        self.world = world
        self.deleted = ""

    async def pass_on(self, request, send):
        mine = request.url.params.get("fieldManager") == HAND_OVER
        if mine and not self.deleted and not request.url.path.endswith("/scale"):
            self.deleted = request.url.path.rpartition("/")[2]
            await self.world.objects.delete(DEPLOYMENTS, self.deleted, NAMESPACE)
        return await super().pass_on(request, send)


async def test_a_deployment_that_is_deleted_while_it_is_changed_is_made_again(stage):
    world = stage.world
    await world.create_registry()
    await world.converge()
    await change_something(world)
    stage.weather.policy = deleting = Deleting(world)
    with pytest.raises(Conflict, match="uid mismatch"):
        await world.converge()
    await world.converge()
    assert deleting.deleted in await world.names(DEPLOYMENTS)


class Deaf(Calm):
    """The API does not answer about Leases, or answers late."""

    deaf = True

    async def pass_on(self, request, send):
        if self.deaf and "/leases" in request.url.path:
            await asyncio.Event().wait()
        return await super().pass_on(request, send)


async def ended(task):
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
def leading(stage, monkeypatch):
    monkeypatch.setattr(election, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(election, "RETRY_SECONDS", 0.01)
    return election.Election(
        stage.world.cluster, namespace="hatoba-system", identity="me", clock=SystemClock()
    )


async def test_a_lease_that_the_api_is_silent_about_is_given_up_in_time(
    stage, leading, monkeypatch
):
    monkeypatch.setattr(election, "DEADLINE_SECONDS", 0.2)
    await leading.acquire()
    stage.weather.policy = Deaf()
    async with asyncio.timeout(60):
        with pytest.raises(election.LostLeadership):
            await leading.keep()


class Failing(Calm):
    """The API fails some requests for Leases."""

    def __init__(self, times):
        super().__init__()
        self.left = times
        self.renewed = asyncio.Event()

    async def pass_on(self, request, send):
        if "/leases" not in request.url.path:
            return await super().pass_on(request, send)
        if self.left:
            self.left -= 1
            return an_answer(request, 500)
        if request.method == "PUT":
            self.renewed.set()
        return await super().pass_on(request, send)


async def test_a_lease_survives_an_api_that_fails_for_a_moment(stage, leading):
    await leading.acquire()
    stage.weather.policy = failing = Failing(5)
    keeping = asyncio.create_task(leading.keep())
    async with asyncio.timeout(60):
        await failing.renewed.wait()
    assert not keeping.done()
    await ended(keeping)


class Busy(Calm):
    """API Priority and Fairness has no place for this client."""

    async def pass_on(self, request, send):
        answer = {"Retry-After": "45", "Content-Type": "application/json"}
        return httpx2.Response(429, request=request, headers=answer, json=a_status(429))


async def test_a_watch_comes_back_when_the_api_asked_for_it(stage):
    informer = Informer(
        stage.world.cluster, names.KIND, changed=lambda _: None, scope=Scope(labelled=False)
    )
    stage.weather.policy = Busy()
    assert await informer._try() is None
    assert informer._pause(1.0) == 45.0
    stage.weather.policy = Failing(0)
    waiting = asyncio.create_task(informer._try())
    async with asyncio.timeout(60):
        await informer.synced.wait()
    assert informer._pause(1.0) == 1.0
    await ended(waiting)

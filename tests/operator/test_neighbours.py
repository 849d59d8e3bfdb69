"""A server of somebody else that dies after the rollout is told, and told again when it is back."""

import asyncio
import json
import random
from contextlib import asynccontextmanager

import pytest
from tests.operator.builders import NAME, NAMESPACE, a_plan, a_pod, everything_healthy, owned
from tests.operator.test_external import asked

from hatoba.cluster.objects import PODS
from hatoba.kernel.clock import FixedClock, SystemClock
from hatoba.operator import status
from hatoba.operator.neighbours import JITTER, PERIOD_SECONDS, Neighbours

pytestmark = [pytest.mark.alone, pytest.mark.anyio]
dice = random.SystemRandom()
WELL = {"auth": True, "database": True, "redis": True, "storage": True, "security_scanner": True}
SCANNER = {
    "FEATURE_SECURITY_SCANNER": True,
    "SECURITY_SCANNER_V4_ENDPOINT": "http://clair.example",
    "SECURITY_SCANNER_V4_PSK": "a2V5",
}
PLAN = a_plan("postgres", "redis", "objectstorage", "clair", config=SCANNER, files={})
KEY = (NAMESPACE, NAME)


class App:
    """A pod of the registry at an address of its own, and what it tells of its neighbours."""

    def __init__(self):
        self.address = ".".join(map(str, (127, 243, dice.randint(1, 250), dice.randint(2, 250))))
        self.services = dict(WELL)
        self.asked = 0
        self.body = None

    async def answer(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        body = self.body or json.dumps({"data": {"services": self.services}}).encode()
        head = b"HTTP/1.1 503 X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        await writer.drain()
        writer.close()

    def pod(self, name):
        pod = a_pod("quay-app", phase="Running", podIP=self.address)
        pod["metadata"]["name"] = name
        return pod


@asynccontextmanager
async def apps(count):
    made = [App() for _ in range(count)]
    servers = [await asyncio.start_server(app.answer, app.address, 8080) for app in made]
    try:
        yield (
            made,
            owned(*everything_healthy(), *(app.pod(f"app-{n}") for n, app in enumerate(made))),
        )
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()


@pytest.fixture
def neighbours():
    return Neighbours(clock=SystemClock(), period_seconds=0.0)


@pytest.mark.parametrize(
    ("kind", "service", "title"),
    [
        ("postgres", "database", "database"),
        ("redis", "redis", "Redis"),
        ("objectstorage", "storage", "object storage"),
        ("clair", "security_scanner", "security scanner"),
    ],
)
async def test_a_server_that_dies_is_told_and_told_when_it_is_back(
    neighbours, kind, service, title
):
    async with apps(1) as ((app,), there):
        assert await neighbours.silent(PLAN, there) == {}
        app.services[service] = False
        silent = await neighbours.silent(PLAN, there)
        verdicts = status.verdicts_of(PLAN, there, silent=silent)
        assert not verdicts[kind].ready
        assert verdicts[kind].message == (
            f"the external {title} does not answer the registry's pods: see that it runs and lets "
            f"them in, at the address in Secret {PLAN.bundle_name}"
            + (", with the SECURITY_SCANNER_V4_PSK there" if kind == "clair" else "")
        )
        assert kind in verdicts["base"].message
        app.services[service] = True
        assert await neighbours.silent(PLAN, there) == {}


async def test_one_pod_that_reaches_a_server_is_proof_that_it_lives(neighbours):
    async with apps(2) as ((first, second), there):
        first.services["redis"] = False
        assert await neighbours.silent(PLAN, there) == {}
        second.services["redis"] = False
        assert list(await neighbours.silent(PLAN, there)) == ["redis"]


async def test_of_servers_of_its_own_nobody_is_asked(neighbours):
    async with apps(1) as ((app,), there):
        app.services = dict.fromkeys(WELL, False)
        assert await neighbours.silent(a_plan(), there) == {}
        assert app.asked == 0
        assert neighbours.due_in_seconds(KEY) is None


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": []}', b'{"data": {"services": 1}}'])
async def test_a_pod_that_says_nothing_of_use_condemns_nobody(neighbours, body):
    async with apps(1) as ((app,), there):
        app.body = body
        assert await neighbours.silent(PLAN, there) == {}
        assert app.asked == 1


async def test_a_pod_that_cannot_be_reached_condemns_nobody(neighbours):
    there = owned(App().pod("app"))
    assert await neighbours.silent(PLAN, there) == {}


@pytest.mark.api
async def test_available_follows_a_server_that_dies_and_comes_back(world):
    job = await asked(world)
    await world.converge()
    world.operator.reconciler._neighbours = Neighbours(clock=SystemClock(), period_seconds=0.0)
    async with apps(1) as ((app,), _):
        running = app.pod("app")
        account = job["spec"]["template"]["spec"]["serviceAccountName"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {key: running["metadata"][key] for key in ("name", "namespace", "labels")},
            "spec": {**running["spec"], "serviceAccountName": account},
        }
        pod = await world.objects.create(PODS, pod, manager="world")
        pod["status"] = {"phase": "Running", "podIP": app.address}
        await world.objects.update(PODS, pod, manager="world", subresource="status")

        async def told(kind):
            await world.once()
            found = (await world.registry())["status"]["conditions"]
            return next((one["status"], one["message"]) for one in found if one["type"] == kind)

        assert (await told("Available"))[0] == "True"
        app.services["database"] = False
        assert (await told("Available"))[0] == "False"
        assert (await told("ComponentPostgresReady"))[1].startswith(
            "the external database does not answer the registry's pods: see that"
        )
        app.services["database"] = True
        assert (await told("Available"))[0] == "True"


async def test_pods_are_asked_once_in_a_period_that_differs():
    clock = FixedClock(SystemClock().now())
    neighbours = Neighbours(clock=clock)
    async with apps(1) as ((app,), there):
        app.services["redis"] = False
        for _ in range(5):
            assert list(await neighbours.silent(PLAN, there)) == ["redis"]
        assert app.asked == 1
        due = neighbours.due_in_seconds(KEY)
        assert PERIOD_SECONDS * (1 - JITTER) <= due <= PERIOD_SECONDS * (1 + JITTER)

import base64
import json

import aiohttp
import pytest
import yaml
from tests.operator.builders import NAME, NAMESPACE, components
from tests.operator.test_reconcile import config_of

from hatoba.cluster.objects import SECRETS
from hatoba.operator.endpoints import (
    health_application,
    metrics_application,
    reconfigure_application,
)
from hatoba.operator.model import Component
from hatoba.operator.reconfigure import Reconfigurer, inferred_components
from hatoba.serving.listeners import listening

pytestmark = [pytest.mark.api, pytest.mark.anyio]


@pytest.fixture
async def endpoint(world):
    await world.create_bundle({"REGISTRY_TITLE": "Before"})
    await world.create_registry({"configBundleSecret": "init-config-bundle-secret"})
    await world.converge()
    async with listening(reconfigure_application(Reconfigurer(world.cluster))) as server:
        yield f"{server.url}/reconfigure"


async def credentials(world):
    name = (await world.registry())["status"]["configEditorCredentialsSecret"]
    data = (await world.objects.get(SECRETS, name, NAMESPACE))["data"]
    return tuple(base64.b64decode(data[k]).decode() for k in ("username", "password"))


def a_body(config, **changes):
    return {
        "config.yaml": config,
        "certs": {},
        "namespace": NAMESPACE,
        "quayRegistryName": NAME,
    } | changes


async def post(url, body, auth=None):
    data = body if isinstance(body, str) else json.dumps(body)
    headers = {}
    if auth:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, data=data) as answer,
    ):
        return answer.status, await answer.text()


async def test_a_new_configuration_becomes_a_new_bundle_and_is_rolled_out(world, endpoint):
    before = await config_of(world)
    config = before | {"REGISTRY_TITLE": "After"}
    assert await post(endpoint, a_body(config), await credentials(world)) == (
        200,
        '{"status":"success"}',
    )
    registry = await world.registry()
    name = registry["spec"]["configBundleSecret"]
    assert name.startswith(f"{NAME}-quay-config-bundle-")
    bundle = await world.objects.get(SECRETS, name, NAMESPACE)
    assert bundle["metadata"]["labels"] == {"quay-registry": NAME}
    stored = yaml.safe_load(base64.b64decode(bundle["data"]["config.yaml"]))
    assert stored["REGISTRY_TITLE"] == "After"
    assert not {"DB_URI", "SECRET_KEY", "SERVER_HOSTNAME", "BUILDLOGS_REDIS"} & stored.keys()
    await world.converge()
    assert await config_of(world) == before | {"REGISTRY_TITLE": "After"}
    assert all(entry["managed"] for entry in registry["spec"]["components"])


async def test_an_own_database_makes_the_component_unmanaged(world, endpoint):
    config = {"DB_URI": "postgresql://me:secret@elsewhere/quay"}
    status, _ = await post(endpoint, a_body(config), await credentials(world))
    assert status == 200
    entries = {e["kind"]: e["managed"] for e in (await world.registry())["spec"]["components"]}
    assert entries["postgres"] is False
    assert entries["redis"] is True


async def test_certificates_get_the_keys_of_a_bundle(world, endpoint):
    certs = {
        "extra_ca_certs/mine.crt": base64.b64encode(b"ca").decode(),
        "some/where/ldap.crt": base64.b64encode(b"ldap").decode(),
    }
    body = a_body({"REGISTRY_TITLE": "After"}, certs=certs)
    status, _ = await post(endpoint, body, await credentials(world))
    assert status == 200
    name = (await world.registry())["spec"]["configBundleSecret"]
    data = (await world.objects.get(SECRETS, name, NAMESPACE))["data"]
    assert set(data) == {"config.yaml", "extra_ca_cert_mine.crt", "ldap.crt"}


@pytest.mark.parametrize(
    ("body", "auth", "code"),
    [
        (a_body({}), None, 401),
        (a_body({}), ("quayconfig", "guess"), 403),
        (a_body({}), ("admin", "guess"), 403),
        (a_body({}, quayRegistryName="other"), ("quayconfig", "guess"), 403),
    ],
)
async def test_strangers_change_nothing(world, endpoint, body, auth, code):
    before = (await world.registry())["metadata"]["resourceVersion"]
    status, _ = await post(endpoint, body, auth)
    assert status == code
    assert (await world.registry())["metadata"]["resourceVersion"] == before


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        a_body({"SUPER_USERS": 5}),
        a_body({}, namespace=""),
        a_body({}, certs={"x": "not base64!"}),
    ],
)
async def test_what_is_not_valid_is_refused_and_changes_nothing(world, endpoint, body):
    before = (await world.registry())["metadata"]["resourceVersion"]
    status, text = await post(endpoint, body, await credentials(world))
    assert status == 400
    assert text
    assert (await world.registry())["metadata"]["resourceVersion"] == before


async def test_only_posting_is_offered(endpoint):
    async with aiohttp.ClientSession() as session, session.get(endpoint) as answer:
        assert answer.status == 405


async def test_health_and_metrics_answer():
    ready = False
    async with (
        listening(health_application(lambda: ready)) as health,
        listening(metrics_application()) as metrics,
        aiohttp.ClientSession() as session,
    ):
        statuses = []
        for url in (f"{health.url}/healthz", f"{health.url}/readyz", f"{metrics.url}/metrics"):
            async with session.get(url) as answer:
                statuses.append(answer.status)
    assert statuses == [200, 503, 200]


def test_a_configuration_says_whose_job_a_component_is():
    found = inferred_components(
        components("clair", "postgres"),
        config={"FEATURE_REPO_MIRROR": False, "BUILDLOGS_REDIS": {}, "SERVER_HOSTNAME": "x"},
        files=frozenset(),
    )
    managed = {entry.kind: entry.managed for entry in found}
    assert managed == {
        "postgres": True,
        "clair": False,
        "redis": False,
        "horizontalpodautoscaler": True,
        "objectstorage": True,
        "route": True,
        "mirror": False,
        "monitoring": True,
        "tls": True,
    }
    assert found[0] == Component(kind="postgres", managed=True)

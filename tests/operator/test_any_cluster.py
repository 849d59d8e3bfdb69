"""A registry on clusters that are not OpenShift: the API serves what each of them has."""

import base64
import copy
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import yaml
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.conftest import a_world
from tests.operator.test_certificates import a_pair
from tests.operator.test_reconcile import conditions, config_of

from hatoba.cli.manifests import Wanted
from hatoba.cluster.objects import DEFINITIONS, DEPLOYMENTS, INGRESSES, SECRETS, ResourceName
from hatoba.kernel.clock import FixedClock, SystemClock
from hatoba.kernel.errors import NotFound
from hatoba.operator import certificates
from hatoba.operator.process import Operator

pytestmark = [pytest.mark.api, pytest.mark.anyio]

GATEWAYS = ResourceName("gateways", "gateway.networking.k8s.io")
HTTP_ROUTES = ResourceName("httproutes", "gateway.networking.k8s.io")
CERTIFICATES = ResourceName("certificates", "cert-manager.io")
ISSUERS = ResourceName("clusterissuers", "cert-manager.io")
CLASSES = ResourceName("ingressclasses", "networking.k8s.io")
SERVICES = ResourceName("services")
READY = {"type": "Ready", "status": "True"}
KINDS = {
    "Gateway": ("gateway.networking.k8s.io", "v1", "gateways", "Namespaced"),
    "HTTPRoute": ("gateway.networking.k8s.io", "v1", "httproutes", "Namespaced"),
    "Certificate": ("cert-manager.io", "v1", "certificates", "Namespaced"),
    "ClusterIssuer": ("cert-manager.io", "v1", "clusterissuers", "Cluster"),
}


def definition(kind):
    group, version, plural, scope = KINDS[kind]
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "https://gateway-api.sigs.k8s.io"},
        },
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": schema, "status": schema},
                        }
                    },
                }
            ],
        },
    }


@pytest.fixture
async def world():
    async with a_world(
        wanted=Wanted(overlay="kubernetes"), without={"openshift-config-managed"}
    ) as found:
        yield found


@asynccontextmanager
async def cluster(world, *kinds, ingress=False, objects=()):
    """Make the cluster into another one, and start an operator in it."""
    await world.objects.delete(DEFINITIONS, "routes.route.openshift.io", None)
    if not ingress:
        await world.objects.delete(CLASSES, "hatoba", None)
    for kind in kinds:
        await world.objects.create(DEFINITIONS, definition(kind), manager="test")
    for resource, obj in objects:
        await world.objects.create(resource, obj, manager="test")
    world.operator = Operator(world.cluster, settings=SETTINGS, clock=SystemClock())
    async with world.operator.watching():
        yield


async def create(world, config=None, **annotations):
    await world.create_bundle(config or {}, name="bundle")
    obj = {
        "apiVersion": "quay.redhat.com/v1",
        "kind": "QuayRegistry",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "annotations": {f"hatoba.dev/{k.replace('_', '-')}": v for k, v in annotations.items()},
        },
        "spec": {"configBundleSecret": "bundle"},
    }
    await world.objects.create(
        ResourceName("quayregistries", "quay.redhat.com"), obj, manager="kubectl-create"
    )


async def converge(world, *steps):
    """Run passes and let others do their part, until a pass writes nothing."""
    for _ in range(14):
        before = world.cluster.writes
        await world.once()
        changed = [await step(world) for step in steps]
        if world.cluster.writes == before and not any(changed) and not await world.play():
            return
        await world.play()
    pytest.fail("not converged")


def setting(resource, suffix, status):
    """Return a part of the cluster that writes one status."""

    async def step(world):
        if not await world.exists(resource, suffix):
            return False
        obj = await world.get(resource, suffix)
        if obj.get("status") == status:
            return False
        wanted = copy.deepcopy(obj) | {"status": status}
        await world.objects.update(resource, wanted, manager="world", subresource="status")
        return True

    return step


async def messages(world):
    status = (await world.registry())["status"]
    return {c["type"]: c["message"] for c in status["conditions"]}


SERVED = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}


async def test_nothing_but_services_gives_a_registry_inside_the_cluster(world):
    async with cluster(world):
        await create(world)
        await converge(world)
        registry = await world.registry()
        managed = {e["kind"]: e["managed"] for e in registry["spec"]["components"]}
        assert [kind for kind, value in managed.items() if not value] == [
            "route",
            "monitoring",
            "tls",
        ]
        host = f"{NAME}-quay-app.{NAMESPACE}.svc:8080"
        assert conditions(registry, 1) == [("Available", "True", "HealthChecksPassing")]
        assert registry["status"]["registryEndpoint"] == f"http://{host}"
        config = await config_of(world)
        assert (config["SERVER_HOSTNAME"], config["PREFERRED_URL_SCHEME"]) == (host, "http")
        assert (
            "set SERVER_HOSTNAME in Secret bundle" in (await messages(world))["ComponentRouteReady"]
        )


async def test_a_gateway_serves_below_its_own_domain(world):
    listener = {
        "name": "https",
        "protocol": "HTTPS",
        "port": 443,
        "hostname": "*.apps.example",
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": "default"},
        "spec": {"gatewayClassName": "any", "listeners": [listener]},
    }
    parents = [{"conditions": [{"type": "Accepted", "status": "True"}]}]
    accepted = setting(HTTP_ROUTES, "quay", {"parents": parents})
    async with cluster(world, "Gateway", "HTTPRoute", objects=[(GATEWAYS, gateway)]):
        await create(world)
        await converge(world, accepted)
        status = (await world.registry())["status"]
        assert conditions(await world.registry(), 1)[0][1] == "True"
        host = f"{NAME}-quay-{NAMESPACE}.apps.example"
        assert status["registryEndpoint"] == f"https://{host}"
        assert status["configEditorEndpoint"] == (
            f"https://{NAME}-quay-config-editor-{NAMESPACE}.apps.example"
        )
        config = await config_of(world)
        assert (config["SERVER_HOSTNAME"], config["EXTERNAL_TLS_TERMINATION"]) == (host, True)
        refused = [{"type": "Accepted", "status": "False", "message": "not allowed here."}]
        await setting(HTTP_ROUTES, "quay", {"parents": [{"conditions": refused}]})(world)
        await world.once()
        assert conditions(await world.registry(), 1)[0][1] == "False"
        assert (
            f"HTTPRoute {NAME}-quay was refused (not allowed here)"
            in (await messages(world))["ComponentRouteReady"]
        )


async def test_an_ingress_waits_for_a_host_and_then_shows_a_certificate_of_ours(world):
    async with cluster(world, ingress=True):
        await create(world)
        await converge(world)
        assert not await world.exists(INGRESSES, "quay")
        assert (
            "set SERVER_HOSTNAME in Secret bundle" in (await messages(world))["ComponentRouteReady"]
        )
        text = yaml.safe_dump({"SERVER_HOSTNAME": "registry.example"})
        data = {"config.yaml": base64.b64encode(text.encode()).decode()}
        await world.objects.patch(
            SECRETS,
            "bundle",
            NAMESPACE,
            {"data": data},
            type="application/merge-patch+json",
            manager="kubectl",
        )
        await converge(world, setting(INGRESSES, "quay", SERVED))
        status = (await world.registry())["status"]
        assert status["registryEndpoint"] == "https://registry.example"
        assert conditions(await world.registry(), 1)[0][1] == "True"
        spec = (await world.get(INGRESSES, "quay"))["spec"]
        secret = await world.objects.get(SECRETS, spec["tls"][0]["secretName"], NAMESPACE)
        pair = {key: base64.b64decode(value) for key, value in secret["data"].items()}
        fault = certificates.fault_of(pair["tls.crt"], key=pair["tls.key"], host="registry.example")
        assert fault == ""
        assert "self-signed" in (await messages(world))["ComponentTLSReady"]


async def test_an_ingress_that_nobody_serves_is_not_available(world):
    async with cluster(world, ingress=True):
        await create(world, {"SERVER_HOSTNAME": "registry.example"})
        await converge(world)
        assert conditions(await world.registry(), 1)[0][1] == "False"
        told = (await messages(world))["ComponentRouteReady"]
        assert f"Ingress {NAME}-quay has no address" in told
        assert "IngressClass hatoba" in told


async def test_cert_manager_issues_what_the_ingress_shows(world):
    issuer = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": "letsencrypt"},
        "spec": {},
    }
    ready = {"conditions": [READY]}
    kinds = ("Certificate", "ClusterIssuer")
    served = setting(INGRESSES, "quay", SERVED)
    async with cluster(world, *kinds, ingress=True, objects=[(ISSUERS, issuer)]):
        await create(world, {"SERVER_HOSTNAME": "registry.example"})
        await converge(world, served)
        assert conditions(await world.registry(), 1)[0][1] == "False"
        assert (
            f"Certificate {NAME}-quay-issued-tls is not ready"
            in (await messages(world))["ComponentTLSReady"]
        )
        await converge(world, served, setting(CERTIFICATES, "quay-issued-tls", ready))
        assert conditions(await world.registry(), 1)[0][1] == "True"
        spec = (await world.get(INGRESSES, "quay"))["spec"]
        assert spec["tls"][0]["secretName"] == f"{NAME}-quay-issued-tls"


async def test_a_load_balancer_gives_the_host_name(world):
    async with cluster(world):
        await create(world, service_type="LoadBalancer")
        for _ in range(3):
            await world.once()
        assert not await world.exists(DEPLOYMENTS, "quay-app")
        await converge(world, setting(SERVICES, "quay", SERVED))
        status = (await world.registry())["status"]
        assert status["registryEndpoint"] == "https://192.0.2.7"
        pod = (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["template"]["spec"]
        assert pod["containers"][0]["readinessProbe"]["httpGet"]["port"] == 8443
        assert "self-signed" in (await messages(world))["ComponentTLSReady"]


async def test_an_annotation_that_cannot_be_followed_blocks(world):
    async with cluster(world, ingress=True):
        await create(world, gateway="infra/edge")
        await world.once()
        found = {c["type"]: c for c in (await world.registry())["status"]["conditions"]}
        blocked = found["RolloutBlocked"]
        assert (blocked["status"], blocked["reason"]) == ("True", "RouteComponentDependencyError")
        assert "hatoba.dev/gateway" in blocked["message"]


async def test_a_self_signed_certificate_is_renewed_before_its_end(world):
    async with cluster(world):
        await create(world, service_type="LoadBalancer")
        await converge(world, setting(SERVICES, "quay", SERVED))
        first = await shown(world)
        for days, same in ((334, True), (336, False)):
            later = FixedClock(SystemClock().now() + timedelta(days=days))
            world.operator = Operator(world.cluster, settings=SETTINGS, clock=later)
            async with world.operator.watching():
                await converge(world)
                assert (await shown(world) == first) is same


async def shown(world):
    """Return the certificate that the registry's pods serve with."""
    pod = (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["template"]["spec"]
    name = pod["volumes"][0]["projected"]["sources"][1]["secret"]["name"]
    return (await world.objects.get(SECRETS, name, NAMESPACE))["data"]["ssl.cert"]


async def test_a_pair_that_cert_manager_renews_is_rolled_out(world):
    issuer = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": "letsencrypt"},
        "spec": {},
    }
    name = f"{NAME}-quay-issued-tls"
    steps = (
        setting(SERVICES, "quay", SERVED),
        setting(CERTIFICATES, "quay-issued-tls", {"conditions": [READY]}),
    )
    kinds = ("Certificate", "ClusterIssuer")
    async with cluster(world, *kinds, objects=[(ISSUERS, issuer)]):
        await create(world, {"SERVER_HOSTNAME": "quay.example"}, service_type="LoadBalancer")
        with pytest.raises(NotFound):
            await shown(world)
        for renewed in (False, True):
            certificate, key = a_pair("quay.example")
            pair = {"tls.crt": certificate, "tls.key": key}
            data = {k: base64.b64encode(v).decode() for k, v in pair.items()}
            if renewed:
                await world.objects.patch(
                    SECRETS,
                    name,
                    NAMESPACE,
                    {"data": data},
                    type="application/merge-patch+json",
                    manager="cert-manager",
                )
            else:
                metadata = {"name": name, "labels": {"quay-operator/quayregistry": NAME}}
                secret = {"metadata": {**metadata, "namespace": NAMESPACE}, "data": data}
                await world.objects.create(SECRETS, secret, manager="cert-manager")
            await converge(world, *steps)
            assert base64.b64decode(await shown(world)) == certificate

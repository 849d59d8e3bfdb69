"""The operator against the embedded cluster's API, over HTTP, without controllers or pods.

HATOBA_TEST_KUBECONFIG names another API server instead: one without controllers, whose part the
tests play. Each test is marked by what it needs, is held to it, and is skipped where that is not.

`World` plays the cluster's other parts: it admits Routes, binds claims, and lets Deployments and
Jobs become what their specs say.
"""

import asyncio
import base64
import contextlib
import copy
import fcntl
import os
import tempfile
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from lightkube import KubeConfig
from lightkube.config.models import Cluster, User
from tests.operator import needs
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.remote import RemoteObjects, a_session, read_kubeconfig

from hatoba.cli.manifests import Wanted, operator_documents
from hatoba.cluster import manifests
from hatoba.cluster.api.assembly import open_api
from hatoba.cluster.api.local import LocalObjects, install
from hatoba.cluster.api.roles import Roles
from hatoba.cluster.api.server import serve
from hatoba.cluster.objects import (
    CLAIMS,
    DEFINITIONS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    ROUTES,
    SECRETS,
    ResourceName,
)
from hatoba.kernel.clock import SystemClock, rfc3339
from hatoba.kernel.errors import Conflict, NotFound
from hatoba.operator.kubernetes import connected
from hatoba.operator.process import Operator

REGISTRIES = ResourceName("quayregistries", "quay.redhat.com")
CUSTODY = (
    ResourceName("quayregistrybackups", "quay.redhat.com"),
    ResourceName("quayregistryrestores", "quay.redhat.com"),
)
STORAGE_CLASSES = ResourceName("storageclasses", "storage.k8s.io")
DEPLOY = Path(__file__).parents[2] / "deploy"
OPERATOR = "system:serviceaccount:hatoba-system:quay-operator"
LABELLED = "quay-operator/quayregistry"
MONITORING_LABELS = ("openshift.io/cluster-monitoring", "quay-operator/managed-label")
OURS = {"hatoba.dev/test": "yes"}
"""Labels of namespaces that tests make, beside the one that they share."""
KUBECONFIG = os.environ.get("HATOBA_TEST_KUBECONFIG", "")
LOCK = Path(tempfile.gettempdir()) / f"hatoba-test-{KUBECONFIG.replace('/', '-')}.lock"
WATCHED = {
    "Deployment": DEPLOYMENTS,
    "Job": JOBS,
    "Pod": PODS,
    "Secret": SECRETS,
    "PersistentVolumeClaim": CLAIMS,
    "Route": ROUTES,
    "Service": ResourceName("services"),
    "ConfigMap": ResourceName("configmaps"),
    "HorizontalPodAutoscaler": ResourceName("horizontalpodautoscalers", "autoscaling"),
    "ServiceMonitor": ResourceName("servicemonitors", "monitoring.coreos.com"),
    "PrometheusRule": ResourceName("prometheusrules", "monitoring.coreos.com"),
    "Role": ResourceName("roles", "rbac.authorization.k8s.io"),
    "RoleBinding": ResourceName("rolebindings", "rbac.authorization.k8s.io"),
    "ServiceAccount": ResourceName("serviceaccounts"),
}


class Witness(Roles):
    """Holds the operator to its roles, and remembers what it asked for."""

    def __init__(self, store):
        super().__init__(store)
        self.asked = set()

    def allows(self, user, ask):
        if user.name == OPERATOR:
            self.asked.add(ask)
        return super().allows(user, ask)


class NoMachine:
    """A node on which nothing runs."""

    def usage(self, namespace, pod):
        return []


def a_kubeconfig(directory, address):
    path = directory / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": f"http://{address}"}}],
        "users": [{"name": "me", "user": {"token": "admin-token"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    path.write_text(yaml.safe_dump(content))
    return path


def pytest_collection_modifyitems(items):
    needs.check(items, elsewhere=bool(KUBECONFIG))


@pytest.fixture(autouse=True)
def held_to_its_need(request):
    needs.Running.need = needs.need_of(request.node)
    yield
    needs.Running.need = None


def needs_embedded(value):
    needs.uses("embedded")
    if value is None:
        pytest.skip("needs the embedded API server, not one of HATOBA_TEST_KUBECONFIG")
    return value


class World:
    def __init__(self, objects, cluster, operator, address=None, asked=None):
        self._address = address
        self._asked = asked
        self.objects = objects
        self.cluster = cluster
        self.operator = operator
        self.key = (NAMESPACE, NAME)

    @property
    def address(self):
        """Where the embedded API is, without TLS."""
        return needs_embedded(self._address)

    @property
    def asked(self):
        """What the operator asked of the embedded API."""
        return needs_embedded(self._asked)

    async def create_namespace(self, name):
        metadata = {"name": name, "labels": OURS}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        # Elsewhere it may be there from a test before, emptied: nobody there ends namespaces.
        with contextlib.suppress(Conflict if KUBECONFIG else ()):
            await self.objects.create(NAMESPACES, namespace, manager="test")

    async def create_registry(self, spec=None, *, name=NAME, namespace=NAMESPACE):
        obj = {
            "apiVersion": "quay.redhat.com/v1",
            "kind": "QuayRegistry",
            "metadata": {"name": name, "namespace": namespace},
        }
        if spec is not None:
            obj["spec"] = spec
        return await self.objects.create(REGISTRIES, obj, manager="kubectl-create")

    async def create_bundle(self, config, name="init-config-bundle-secret"):
        text = config if isinstance(config, str) else yaml.safe_dump(config)
        obj = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {"config.yaml": base64.b64encode(text.encode()).decode()},
        }
        return await self.objects.create(SECRETS, obj, manager="kubectl-create")

    async def registry(self):
        return copy.deepcopy(await self.objects.get(REGISTRIES, NAME, NAMESPACE))

    async def update_spec(self, spec):
        patch = {"spec": spec}
        return await self.objects.patch(
            REGISTRIES,
            NAME,
            NAMESPACE,
            patch,
            type="application/merge-patch+json",
            manager="kubectl-patch",
        )

    async def get(self, resource, suffix):
        return copy.deepcopy(await self.objects.get(resource, f"{NAME}-{suffix}", NAMESPACE))

    async def exists(self, resource, suffix):
        try:
            await self.get(resource, suffix)
        except NotFound:
            return False
        return True

    async def names(self, resource):
        listing = await self.objects.list(resource, NAMESPACE)
        return sorted(obj["metadata"]["name"] for obj in listing.items)

    async def once(self):
        """Run one pass with informers that know everything."""
        await self.caught_up()
        outcome = await self.operator.reconciler.reconcile(self.key)
        await self.caught_up()
        return outcome

    async def caught_up(self):
        async with asyncio.timeout(60):
            for informer in self.operator.informers:
                await informer.synced.wait()
                resource = WATCHED.get(informer.kind)
                while resource is not None and informer.offered:
                    listing = await self.objects.list(resource, labels=LABELLED)
                    if _versions(listing.items) == _versions(informer.objects()):
                        break
                    await asyncio.sleep(0.005)

    async def converge(self, passes=12):
        """Run passes, the cluster doing its part in between, until one writes nothing."""
        for _ in range(passes):
            before = self.cluster.writes
            await self.once()
            if self.cluster.writes == before and not await self.play():
                return
            await self.play()
        pytest.fail(f"not converged after {passes} passes")

    async def play(self):
        """Do what the cluster's other parts do; return whether anything changed."""
        changed = [
            await self.admit_routes(),
            await self.bind_claims(),
            await self.run_deployments(),
            await self._status(JOBS, _complete),
        ]
        return any(changed)

    async def bind_claims(self):
        return await self._status(CLAIMS, _bound)

    async def run_deployments(self):
        return await self._status(DEPLOYMENTS, _available)

    async def admit_routes(self):
        return await self._status(ROUTES, _admitted)

    async def _status(self, resource, change):
        found = False
        try:
            listing = await self.objects.list(resource, labels=LABELLED)
        except NotFound:
            return False
        for obj in listing.items:
            wanted = change(copy.deepcopy(obj))
            if wanted == obj:
                continue
            found = True
            stored = await self.objects.update(resource, wanted, manager="world")
            wanted["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
            await self.objects.update(resource, wanted, manager="world", subresource="status")
        return found


def _versions(objects):
    return {
        (obj["metadata"].get("namespace"), obj["metadata"]["name"]): obj["metadata"][
            "resourceVersion"
        ]
        for obj in objects
    }


def _admitted(route):
    ports = {f"{NAME}-quay": "8443", f"{NAME}-quay-builder": "8444"}
    port = ports.get(route["metadata"]["name"], "8445")
    route["metadata"]["annotations"]["hatoba.dev/external-port"] = port
    if not route.get("status", {}).get("ingress"):
        condition = {"type": "Admitted", "status": "True", "lastTransitionTime": _now()}
        route["status"] = {
            "ingress": [
                {
                    "host": route["spec"].get("host") or "localhost",
                    "routerName": "hatoba",
                    "conditions": [condition],
                }
            ]
        }
    return route


def _bound(claim):
    claim["status"] = {**claim.get("status", {}), "phase": "Bound"}
    return claim


def _available(deployment):
    replicas = deployment["spec"].get("replicas", 1)
    wanted = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": replicas,
        "availableReplicas": replicas,
    }
    status = deployment.get("status", {})
    if {key: status.get(key, 0) for key in wanted} != wanted:
        deployment["status"] = wanted | {
            "conditions": [
                {
                    "type": "Available",
                    "status": "True",
                    "reason": "MinimumReplicasAvailable",
                    "message": "Deployment has minimum availability.",
                    "lastTransitionTime": _now(),
                    "lastUpdateTime": _now(),
                }
            ]
        }
    return deployment


def _complete(job):
    if not job.get("status", {}).get("succeeded"):
        job["status"] = {
            "succeeded": 1,
            "startTime": _now(),
            "completionTime": _now(),
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": _now()}
                for kind in ("SuccessCriteriaMet", "Complete")
            ],
        }
    return job


def _now():
    return rfc3339(SystemClock().now())


RIGHTS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


@asynccontextmanager
async def a_world(
    *,
    wanted=Wanted(overlay="openshift"),
    settings=SETTINGS,
    definitions=(),
    without=(),
    around=lambda transport: transport,
):
    """Open a cluster in which the operator has the rights that deploy/ gives to it, no more.

    `without` names namespaces that this cluster does not have; `around` is put between operator
    and cluster.
    """
    needs.uses("api")
    if KUBECONFIG:
        if without:
            pytest.skip(f"needs a cluster without the namespaces {without}")
        async with _elsewhere(wanted, settings, definitions, around) as found:
            yield found
        return
    clock = SystemClock()
    api = open_api(None, clock=clock, admin_token="admin-token")
    api = replace(api, roles=Witness(api.store))
    objects = LocalObjects(api)
    server = await serve(api, node=NoMachine(), tls=None)
    try:
        present = [
            obj for obj in manifests.initial_objects() if obj["metadata"]["name"] not in without
        ]
        await install(objects, present, registry=api.registry)
        for definition in (
            *(yaml.safe_load(path.read_text()) for path in (DEPLOY / "crd").glob("quay*.yaml")),
            *definitions,
        ):
            await objects.create(DEFINITIONS, definition, manager="test")
        await objects.create(
            NAMESPACES,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            manager="test",
        )
        rights = [doc for doc in operator_documents(wanted) if doc["kind"] in RIGHTS]
        await install(objects, rights, registry=api.registry)
        token = api.identities.issue(
            "hatoba-system", "quay-operator", lifetime=timedelta(hours=1)
        ).token
        configuration = KubeConfig.from_one(
            cluster=Cluster(server=f"http://{server.address}"), user=User(token=token)
        )
        async with connected(configuration, around=around) as cluster:
            operator = Operator(cluster, settings=settings, clock=clock)
            async with operator.watching():
                yield World(objects, cluster, operator, server.address, api.roles.asked)
    finally:
        await server.close()
        api.close()


@asynccontextmanager
async def _elsewhere(wanted, settings, definitions, around):
    """Use the API server of HATOBA_TEST_KUBECONFIG: one test at a time, in our namespaces."""
    cluster, context, headers = read_kubeconfig(KUBECONFIG)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with a_session(headers) as session:
            objects = RemoteObjects(session, cluster.server.rstrip("/"), context)
            ours = [
                yaml.safe_load(path.read_text()) for path in (DEPLOY / "crd").glob("quay*.yaml")
            ]
            rights = [doc for doc in operator_documents(wanted) if doc["kind"] in RIGHTS]
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            there = [*manifests.initial_objects(), namespace, *ours, *definitions, *rights]
            with contextlib.suppress(NotFound):
                # A test before may have changed it.
                await objects.delete(STORAGE_CLASSES, "standard", None)
            await objects.put_there(there)
            await _wiped(objects)
            token = await objects.token("quay-operator", "hatoba-system")
            configuration = KubeConfig.from_one(cluster=cluster, user=User(token=token))
            async with connected(configuration, around=around) as connection:
                operator = Operator(connection, settings=settings, clock=SystemClock())
                async with operator.watching():
                    yield World(objects, connection, operator)
            await _wiped(objects)
            for definition in definitions:
                await objects.delete(DEFINITIONS, definition["metadata"]["name"], None)


def _selector(labels):
    return ",".join(f"{key}={value}" for key, value in labels.items())


async def _wiped(objects):
    """Remove what an earlier test left."""
    resources = (*CUSTODY, REGISTRIES, *WATCHED.values())
    await objects.wipe(resources, NAMESPACE)
    for namespace in (await objects.list(NAMESPACES, labels=_selector(OURS))).items:
        await objects.wipe(resources, namespace["metadata"]["name"])
    # Somebody's Lease would have to run out first.
    await objects.wipe((), "hatoba-system")
    await objects.wipe(resources, "openshift-config-managed", labels=LABELLED)
    patch = {"metadata": {"labels": dict.fromkeys(MONITORING_LABELS)}}
    merge = "application/merge-patch+json"
    await objects.patch(NAMESPACES, NAMESPACE, None, patch, type=merge, manager="test")


@pytest.fixture
async def world():
    async with a_world() as found:
        yield found


@pytest.fixture
async def stage():
    """Yield a world between whose operators and cluster there is a weather to choose."""
    # Both stand on this module.
    from tests.operator.staging import Stage
    from tests.operator.weather import Weather

    weathers = []

    def around(transport):
        weathers.append(Weather(transport))
        return weathers[-1]

    async with a_world(around=around) as found:
        yield Stage(found, weathers[0])

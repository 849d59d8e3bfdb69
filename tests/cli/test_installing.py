"""`hatoba operator install` and `uninstall`, against the embedded cluster's API."""

import asyncio
import contextlib
import io
from dataclasses import replace

import pytest
from lightkube import Client, KubeConfig
from lightkube.config.models import Cluster, User
from rich.console import Console
from tests.operator.conftest import REGISTRIES, _available

from hatoba.cli.applying import DeploymentFailed, reaching
from hatoba.cli.installing import (
    RegistriesExist,
    Removal,
    install,
    suitable_overlay,
    uninstall,
)
from hatoba.cli.manifests import Wanted, operator_documents
from hatoba.cluster import manifests
from hatoba.cluster.api.assembly import open_api
from hatoba.cluster.api.local import LocalObjects
from hatoba.cluster.api.local import install as install_objects
from hatoba.cluster.api.server import serve
from hatoba.cluster.objects import DEFINITIONS, DEPLOYMENTS, NAMESPACES, ResourceName
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.errors import NotFound

pytestmark = pytest.mark.anyio

ROLES = ResourceName("clusterroles", "rbac.authorization.k8s.io")
OPENSHIFT = Wanted(overlay="openshift")
SOON = 15.0


class Bench:
    """A cluster without nodes, whose Deployments are said to be available."""

    def __init__(self, api, objects, address):
        self.api = api
        self.objects = objects
        configuration = KubeConfig.from_one(
            cluster=Cluster(server=f"http://{address}"), user=User(token="admin-token")
        )
        self.client = Client(configuration, field_manager="hatoba-install")
        self.works = True

    async def run(self, function, *arguments, timeout_seconds=SOON, **options):
        """Run a command in a thread; return its answer and what it printed."""
        console = Console(file=io.StringIO(), width=200)
        answer = await asyncio.to_thread(
            function, self.client, *arguments, console, timeout_seconds=timeout_seconds, **options
        )
        return answer, console.file.getvalue().splitlines()

    async def play(self):
        while True:
            if self.works:
                for obj in (await self.objects.list(DEPLOYMENTS)).items:
                    wanted = _available({**obj, "status": dict(obj.get("status") or {})})
                    if wanted != obj:
                        with contextlib.suppress(NotFound):
                            await self.objects.update(
                                DEPLOYMENTS, wanted, manager="world", subresource="status"
                            )
            await asyncio.sleep(0.05)

    async def registry(self, namespace="default", name="r", **metadata):
        obj = {
            "apiVersion": "quay.redhat.com/v1",
            "kind": "QuayRegistry",
            "metadata": {"name": name, "namespace": namespace, **metadata},
        }
        return await self.objects.create(REGISTRIES, obj, manager="test")

    async def state(self):
        """Return all objects but those that come with the cluster, with their versions."""
        found = {}
        for resource in (DEFINITIONS, DEPLOYMENTS, NAMESPACES, ROLES):
            for obj in (await self.objects.list(resource)).items:
                metadata = obj["metadata"]
                found[resource.plural, metadata.get("namespace"), metadata["name"]] = obj[
                    "spec" if "spec" in obj else "metadata"
                ]
        return found


@pytest.fixture
async def bench():
    api = open_api(None, clock=SystemClock(), admin_token="admin-token")
    objects = LocalObjects(api)
    server = await serve(api, node=None, tls=None)
    await install_objects(objects, manifests.initial_objects(), registry=api.registry)
    found = Bench(api, objects, server.address)
    playing = asyncio.create_task(found.play())
    try:
        yield found
    finally:
        found.client.close()
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        await server.close()
        api.close()


async def test_it_is_there_and_available_and_the_second_time_nothing_changes(bench):
    changed, lines = await bench.run(install, OPENSHIFT)
    assert changed
    titles = [line.split(maxsplit=1)[1] for line in lines]
    assert "CustomResourceDefinition quayregistries.quay.redhat.com" in titles
    assert "Deployment hatoba-system/quay-operator" in titles
    assert len(titles) == len(operator_documents(OPENSHIFT))
    changed, lines = await bench.run(install, OPENSHIFT)
    assert not changed
    assert {line.split()[0] for line in lines} == {"unchanged"}


async def test_a_dry_run_says_the_same_and_changes_nothing(bench):
    before = await bench.state()
    wanted = replace(OPENSHIFT, namespace="not-there-yet")
    changed, lines = await bench.run(install, wanted, dry_run=True)
    assert changed
    assert "created    Deployment not-there-yet/quay-operator" in lines
    assert await bench.state() == before


async def test_an_operator_that_does_not_come_up_is_a_failure(bench):
    bench.works = False
    with pytest.raises(DeploymentFailed, match="hatoba-system/quay-operator is not available"):
        await bench.run(install, OPENSHIFT, timeout_seconds=1)


async def test_the_overlay_follows_the_cluster(bench):
    assert await asyncio.to_thread(suitable_overlay, bench.client) == "openshift"
    await bench.objects.delete(DEFINITIONS, "routes.route.openshift.io", None)
    assert await asyncio.to_thread(suitable_overlay, bench.client) == "kubernetes"


async def test_uninstalling_leaves_what_was_there_before(bench):
    before = await bench.state()
    await bench.run(install, OPENSHIFT)
    gone, lines = await bench.run(uninstall, Removal())
    assert gone
    assert lines[0] == "deleted    Deployment hatoba-system/quay-operator"
    after = await bench.state()
    assert after.keys() == before.keys()
    assert await bench.run(uninstall, Removal()) == (False, [])


async def test_with_registries_it_refuses_and_changes_nothing(bench):
    await bench.run(install, OPENSHIFT)
    await bench.registry()
    before = await bench.state()
    with pytest.raises(RegistriesExist, match="looks after default/r: --force"):
        await bench.run(uninstall, Removal())
    assert await bench.state() == before


async def test_force_keeps_the_registries_and_their_definition(bench):
    await bench.run(install, OPENSHIFT)
    await bench.registry()
    await bench.run(uninstall, Removal(force=True))
    assert await bench.objects.get(REGISTRIES, "r", "default")
    with pytest.raises(NotFound):
        await bench.objects.get(DEPLOYMENTS, "quay-operator", "hatoba-system")


async def test_purge_deletes_registries_definition_and_namespace(bench):
    await bench.run(install, OPENSHIFT)
    await bench.registry()
    gone, lines = await bench.run(uninstall, Removal(purge=True))
    assert gone
    assert lines[0] == "deleted    QuayRegistry default/r"
    assert lines[-1] == "deleted    Namespace hatoba-system"
    state = await bench.state()
    assert ("customresourcedefinitions", None, "quayregistries.quay.redhat.com") not in state


async def test_purge_keeps_a_namespace_in_which_others_live(bench):
    await bench.run(install, OPENSHIFT)
    claim = {
        "metadata": {"name": "theirs", "namespace": "hatoba-system"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}},
    }
    await bench.objects.create(ResourceName("persistentvolumeclaims"), claim, manager="test")
    _, lines = await bench.run(uninstall, Removal(purge=True))
    assert lines[-1] == (
        "kept       Namespace hatoba-system: it holds PersistentVolumeClaim theirs"
    )


async def test_purge_waits_for_finalizers_and_then_leaves_the_operator_in_place(bench):
    await bench.run(install, OPENSHIFT)
    await bench.registry(finalizers=["quay-operator/finalizer"])
    with pytest.raises(DeploymentFailed, match="default/r did not go away within 1 s"):
        await bench.run(uninstall, Removal(purge=True), timeout_seconds=1)
    assert await bench.objects.get(DEPLOYMENTS, "quay-operator", "hatoba-system")


async def test_what_operators_share_goes_with_the_last_of_them(bench):
    for name in ("one", "two"):
        await bench.objects.create(NAMESPACES, {"metadata": {"name": name}}, manager="test")
        await bench.run(install, replace(OPENSHIFT, watch_namespace=name))
    await bench.registry(namespace="two")
    await bench.run(uninstall, Removal(namespace="one"))
    assert await bench.objects.get(ROLES, "quay-operator", None)
    assert await bench.objects.get(REGISTRIES, "r", "two")
    await bench.run(uninstall, Removal(namespace="two", purge=True))
    with pytest.raises(NotFound):
        await bench.objects.get(ROLES, "quay-operator", None)


async def test_a_cluster_that_does_not_answer_is_said_in_a_sentence():
    configuration = KubeConfig.from_one(
        cluster=Cluster(server="http://127.0.0.1:9"), user=User(token="t")
    )
    with (
        pytest.raises(DeploymentFailed, match="cannot be reached"),
        reaching(),
        Client(configuration) as client,
    ):
        suitable_overlay(client)

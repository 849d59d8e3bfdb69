"""`kubectl wait --for=condition=Available` never lies: it ends when pods are well, and not before."""

import asyncio
import shutil
import ssl

import pytest
import yaml
from tests.operator.builders import NAME, NAMESPACE
from tests.operator.conftest import NoMachine, a_kubeconfig
from tests.operator.living import crashing, living, unready, waiting
from tests.peers import self_signed

from hatoba.cluster.api.server import serve
from hatoba.cluster.objects import DEPLOYMENTS

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.anyio,
    pytest.mark.kubectl,
    pytest.mark.timeout(240),
]
BUNDLE = "init-config-bundle-secret"
FAULTS = {
    "quay-app": unready(),
    "quay-database": crashing("no such file"),
    "quay-redis": waiting("ImagePullBackOff", "Back-off"),
    "clair-app": waiting("CreateContainerConfigError", 'secret "x" not found'),
    "clair-postgres": crashing("disk full"),
    "quay-mirror": unready(),
    "quay-config-editor": waiting("ContainerCreating"),
}
LABELS = {"quay-database": "postgres", "quay-redis": "redis"}
SECONDS = 60


class Waiting:
    """`kubectl wait`, as a person's script runs it."""

    def __init__(self, kubeconfig):
        self.kubeconfig = kubeconfig

    async def start(self, status, *, seconds=SECONDS):
        return await asyncio.create_subprocess_exec(
            "kubectl",
            f"--kubeconfig={self.kubeconfig}",
            f"--namespace={NAMESPACE}",
            "wait",
            f"--for=condition=Available={status}",
            f"--timeout={seconds}s",
            f"quayregistry/{NAME}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def ended(self, process):
        said, _ = await asyncio.wait_for(process.communicate(), SECONDS + 10)
        return process.returncode, said.decode()

    async def until(self, status):
        code, said = await self.ended(await self.start(status))
        assert code == 0, said


@pytest.fixture
async def kubectl(world, tmp_path):
    """Offer the world's API over TLS as well: kubectl sends no credentials without."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    certificate, key = self_signed(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    path = a_kubeconfig(tmp_path, world.address)
    server = await serve(world.objects._api, node=NoMachine(), tls=context)
    content = yaml.safe_load(path.read_text())
    content["clusters"][0]["cluster"] = {
        "server": f"https://localhost:{server.port}",
        "certificate-authority": str(certificate),
    }
    path.write_text(yaml.safe_dump(content))
    yield Waiting(path)
    await server.close()


async def short_of_pods(world):
    """Return the Deployments that have fewer pods ready than they want."""
    listing = await world.objects.list(DEPLOYMENTS, NAMESPACE)
    return [
        obj["metadata"]["name"]
        for obj in listing.items
        if obj.get("status", {}).get("availableReplicas", 0) < obj["spec"]["replicas"]
        or obj["status"].get("observedGeneration") != obj["metadata"]["generation"]
    ]


async def test_it_ends_when_all_is_well_and_notices_each_part_that_fails(world, kubectl, tmp_path):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    first = await kubectl.start("true")
    async with living(world, tmp_path) as life:
        code, said = await kubectl.ended(first)
        assert code == 0, said
        assert await short_of_pods(world) == []
        for part, fault in FAULTS.items():
            label = LABELS.get(part, part)
            await life.kubelet.afflict(label, fault)
            await kubectl.until("false")
            assert await short_of_pods(world) == [f"{NAME}-{part}"]
            waits = await kubectl.start("true")
            await life.kubelet.heal(label)
            code, said = await kubectl.ended(waits)
            assert (part, code) == (part, 0), said
            assert await short_of_pods(world) == []


async def test_it_does_not_take_the_answer_to_a_former_spec(world, kubectl):
    """A spec that was changed has not been answered until the operator has seen it."""
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    await world.converge()
    await kubectl.until("true")
    await world.create_bundle({"REGISTRY_TITLE": "Harbour"}, name="second")
    await world.update_spec({"configBundleSecret": "second"})
    code, said = await kubectl.ended(await kubectl.start("true", seconds=1))
    assert code == 1, said
    await world.converge()
    await kubectl.until("true")

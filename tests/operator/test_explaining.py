"""`hatoba operator explain` and `diff` against a cluster, as a person types them."""

import asyncio
import sys

import pytest
import yaml
from tests.operator.builders import NAME, NAMESPACE
from tests.operator.conftest import DEPLOY, STORAGE_CLASSES, a_kubeconfig
from tests.operator.test_moving import annotate, end

from hatoba.cluster.objects import DEPLOYMENTS, PODS, SECRETS
from hatoba.operator.names import COMPONENT_ORDER

pytestmark = [pytest.mark.embedded, pytest.mark.anyio, pytest.mark.timeout(120)]
BUNDLE = "init-config-bundle-secret"


@pytest.fixture
async def hatoba(world, tmp_path):
    """Run `hatoba operator ...`; return exit code and output."""
    kubeconfig = a_kubeconfig(tmp_path, world.address)

    async def run(command, *arguments, stdin=""):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hatoba.cli.main",
            "operator",
            command,
            f"--kubeconfig={kubeconfig}",
            f"--namespace={NAMESPACE}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"MY_POD_NAMESPACE": "hatoba-system"},
        )
        output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert "Traceback" not in output.decode(), output.decode()
        return process.returncode, output.decode()

    return run


def a_change(unmanaged=(), **spec):
    entries = [{"kind": kind, "managed": kind not in unmanaged} for kind in COMPONENT_ORDER]
    return yaml.safe_dump(
        {
            "apiVersion": "quay.redhat.com/v1",
            "kind": "QuayRegistry",
            "metadata": {"name": NAME},
            "spec": {"components": entries} | spec,
        }
    )


async def a_registry(world):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    await world.converge()


def doing(output, effect):
    return [line.split(None, 1)[1] for line in output.splitlines() if line.startswith(effect)]


async def test_a_well_registry_asks_for_nothing(world, hatoba):
    await a_registry(world)
    before = world.cluster.writes
    code, output = await hatoba("explain", NAME)
    assert code == 0, output
    assert f"\n✓ QuayRegistry {NAMESPACE}/{NAME}\n" in output
    assert f"✓ Deployment {NAME}-quay-app  2/2 ready" in output
    assert output.rstrip().endswith("Do this: Nothing: the registry is well.")
    assert world.cluster.writes == before


async def test_an_ill_pod_is_shown_and_its_cure_is_the_one_thing_to_do(world, hatoba):
    await a_registry(world)
    ill = await world.get(DEPLOYMENTS, "quay-database")
    ill["status"] = {"conditions": [{"type": "Available", "status": "False", "message": "no."}]}
    await world.objects.update(DEPLOYMENTS, ill, manager="world", subresource="status")
    labels = ill["spec"]["template"]["metadata"]["labels"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "database-1", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "serviceAccountName": f"{NAME}-quay-database",
            "containers": [{"name": "postgres", "image": "postgres:13"}],
        },
    }
    made = await world.objects.create(PODS, pod, manager="world")
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off"}
    status = {"name": "postgres", "image": "postgres:13", "imageID": "", "ready": False}
    made["status"] = {
        "phase": "Pending",
        "containerStatuses": [status | {"restartCount": 0, "state": {"waiting": waiting}}],
    }
    await world.objects.update(PODS, made, manager="world", subresource="status")
    code, output = await hatoba("explain", NAME)
    assert code == 1
    assert "✗ postgres: Deployment" in output
    assert "Pod database-1  ImagePullBackOff" in output
    assert output.rstrip().splitlines()[-1].startswith("Do this: Push the image,")


async def test_none_of_none_is_not_well_where_pods_are_wanted(world, hatoba):
    await a_registry(world)
    scaled = await world.get(DEPLOYMENTS, "quay-app")
    scaled["spec"]["replicas"] = 0
    await world.objects.update(DEPLOYMENTS, scaled, manager="kubectl")
    _, output = await hatoba("explain", NAME)
    assert f"… Deployment {NAME}-quay-app  2/0 ready, not seen by the cluster yet" in output
    await world.play()
    code, output = await hatoba("explain", NAME)
    assert code == 1
    assert f"… Deployment {NAME}-quay-app  0/0 ready, scaled to zero" in output
    assert f"scale deployment {NAME}-quay-app --replicas=2" in output


async def test_none_of_none_is_well_where_the_spec_wants_none(world, hatoba):
    await world.create_bundle({})
    none = [{"kind": "mirror", "managed": True, "overrides": {"replicas": 0}}]
    await world.create_registry({"configBundleSecret": BUNDLE, "components": none})
    await world.converge()
    code, output = await hatoba("explain", NAME)
    assert code == 0, output
    assert f"✓ Deployment {NAME}-quay-mirror  0/0 ready, as asked for" in output


async def test_a_registry_that_migrates_has_no_pod_yet_and_is_not_called_well(world, hatoba):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    for _ in range(6):
        await world.once()
        await world.admit_routes()
        await world.bind_claims()
        await world.run_deployments()
    code, output = await hatoba("explain", NAME)
    assert code == 1
    assert f"… Deployment {NAME}-quay-app  0/0 ready, until the database is migrated" in output
    assert f"✓ Deployment {NAME}-quay-database  1/1 ready" in output


async def test_a_refused_rollout_is_explained(world, hatoba):
    await world.create_registry({"configBundleSecret": "nowhere"})
    await world.once()
    code, output = await hatoba("explain", NAME)
    assert code == 1
    assert "rollout blocked (ConfigInvalid)" in output
    assert "Do this: Create the Secret nowhere in namespace" in output


async def test_a_registry_that_nobody_looks_after_points_to_the_operator(world, hatoba):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    _, output = await hatoba("explain", NAME)
    assert "has not answered to generation 1 yet" in output
    assert "see that its Deployment runs" in output


async def test_an_unknown_registry_is_said_to_be_unknown(hatoba):
    code, output = await hatoba("explain", "nothing")
    assert (code, output) != (0, "")
    assert "there is no QuayRegistry nothing in namespace quay-enterprise" in output


async def test_the_same_registry_again_would_change_nothing(world, hatoba):
    await a_registry(world)
    code, output = await hatoba("diff", "-f", "-", stdin=a_change())
    assert (code, output.splitlines()[-1]) == (0, "Nothing would change.")


async def test_what_a_diff_says_is_what_the_next_passes_do(world, hatoba):
    await a_registry(world)
    listing = await world.objects.list(DEPLOYMENTS, NAMESPACE)
    before = {o["metadata"]["name"]: o["metadata"]["generation"] for o in listing.items}
    await world.create_bundle({"REGISTRY_TITLE": "Harbour"}, name="second")
    change = a_change(configBundleSecret="second")
    code, output = await hatoba("diff", "-f", "-", stdin=change)
    assert code == 1
    await world.update_spec(yaml.safe_load(change)["spec"])
    await world.once()
    listing = await world.objects.list(DEPLOYMENTS, NAMESPACE)
    after = {o["metadata"]["name"]: o["metadata"]["generation"] for o in listing.items}
    changed = {name for name in after if after[name] != before[name]}
    assert {line.removeprefix("Deployment ") for line in doing(output, "restart")} == changed
    assert changed == {f"{NAME}-quay-app", f"{NAME}-quay-mirror", f"{NAME}-quay-config-editor"}
    assert doing(output, "create") == [f"Secret {NAME}-quay-config-secret-…"]
    assert len(doing(output, "remove")) == 1


async def test_a_move_of_blobs_is_previewed_and_explained(world, hatoba):
    await a_registry(world)
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "fast"},
        "provisioner": "example.com/disk",
    }
    await world.objects.create(STORAGE_CLASSES, storage, manager="test")
    change = yaml.safe_load(a_change())
    change["metadata"]["annotations"] = {"hatoba.dev/datastore-class": "fast"}
    code, output = await hatoba("diff", "-f", "-", stdin=yaml.safe_dump(change))
    claim = f"{NAME}-quay-datastore-2"
    assert code == 1
    assert sorted(doing(output, "create")) == [
        f"Job {claim}-check",
        f"PersistentVolumeClaim {claim}",
    ]
    assert "pods are replaced three times, and pushes are refused while" in output
    assert doing(output, "restart") == []
    await annotate(world, datastore_class="fast")
    await world.once()
    await world.once()
    code, output = await hatoba("explain", NAME)
    assert (code, f"Job {claim}-check  running" in output) == (0, True)
    assert f"before anything is copied for the move of blobs ({NAME}-quay-datastore to" in output
    await end(world, "FailureTarget", "Failed", suffix="quay-datastore-2-check")
    await world.once()
    code, output = await hatoba("explain", NAME)
    assert (code, f"Job {claim}-check  failed" in output) == (1, True)
    assert "Read its log with kubectl" in output
    assert f"since Job {claim}-check failed at the move of blobs" in output


async def test_images_are_those_of_the_operator_that_runs(world, hatoba):
    await a_registry(world)
    objects = yaml.safe_load_all((DEPLOY / "base" / "operator.yaml").read_text())
    operator = next(obj for obj in objects if obj["kind"] == "Deployment")
    container = operator["spec"]["template"]["spec"]["containers"][0]
    for entry in container["env"]:
        if entry["name"] == "RELATED_IMAGE_COMPONENT_REDIS":
            entry["value"] = "redis:next"
    await world.objects.create(DEPLOYMENTS, operator, manager="kubectl")
    code, output = await hatoba("diff", "-f", "-", stdin=a_change())
    assert code == 1
    assert doing(output, "restart") == [f"Deployment {NAME}-quay-redis"]
    assert "-> redis:next" in output
    assert "note:" not in output


async def test_values_of_secrets_are_never_shown(world, hatoba):
    await a_registry(world)
    bundle = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": BUNDLE},
            "stringData": {"config.yaml": "SECRET_KEY: topsecret-of-mine"},
        }
    )
    code, output = await hatoba("diff", "-f", "-", stdin=f"{a_change()}---\n{bundle}")
    assert code == 1
    assert doing(output, "create") == [f"Secret {NAME}-quay-config-secret-…"]
    assert "topsecret" not in output


async def test_a_component_that_becomes_unmanaged_leaves_its_objects(world, hatoba):
    await a_registry(world)
    _, output = await hatoba("diff", "-f", "-", stdin=a_change(unmanaged=["mirror"]))
    assert doing(output, "leave") == [f"Deployment {NAME}-quay-mirror"]


async def test_what_would_be_refused_is_refused_with_the_same_words(world, hatoba):
    await a_registry(world)
    change = a_change(unmanaged=["postgres"])
    code, output = await hatoba("diff", "-f", "-", stdin=change)
    assert code == 2
    await world.update_spec(yaml.safe_load(change)["spec"])
    await world.once()
    found = {c["type"]: c for c in (await world.registry())["status"]["conditions"]}
    assert found["RolloutBlocked"]["message"] in output


async def test_a_new_registry_is_previewed_without_leaving_a_trace(world, hatoba):
    await world.create_bundle({"SERVER_HOSTNAME": "registry.example"})
    change = a_change(configBundleSecret=BUNDLE)
    code, output = await hatoba("diff", "-f", "-", stdin=change)
    assert code == 1
    assert f"Deployment {NAME}-quay-app" in doing(output, "create")
    assert await world.names(SECRETS) == [BUNDLE]


@pytest.mark.parametrize("text", ["{", "kind: Secret", "kind: QuayRegistry"])
async def test_a_file_without_a_registry_is_refused(hatoba, text):
    code, output = await hatoba("diff", "-f", "-", stdin=text)
    assert code == 2
    assert output.startswith("hatoba: ")

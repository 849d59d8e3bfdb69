"""Whatever a registry is called that may be called so, all that is named after it can be made."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.operator.builders import (
    NAMESPACE,
    a_bundle,
    a_plan,
    a_registry,
    an_observation,
    components,
)
from tests.operator.conftest import REGISTRIES, STORAGE_CLASSES
from tests.operator.test_moving import NEWER, operated_by

from hatoba.cluster.api.metadata import label_sentences, validate_label
from hatoba.cluster.objects import CLAIMS, DEPLOYMENTS, JOBS, SECRETS
from hatoba.operator.backup import jobs
from hatoba.operator.backup.specs import NotReady, read_spec
from hatoba.operator.backup.types import BackupSpec, RestoreSpec
from hatoba.operator.bundle import read_bundle
from hatoba.operator.components.probing import probe_job
from hatoba.operator.datastores import DataMove, DataStore
from hatoba.operator.landscape import Exposure, Issuer, Way
from hatoba.operator.model import RolloutBlocked
from hatoba.operator.names import (
    LONGEST_LABEL,
    MAXIMUM_BACKUP_NAME_LENGTH,
    MAXIMUM_NAME_LENGTH,
    NAME_FORM,
    fitting,
    job_name,
)
from hatoba.operator.plan import check_name, known_hostname
from hatoba.operator.render import render

pytestmark = pytest.mark.alone

LONGEST = "n" * MAXIMUM_NAME_LENGTH
REGISTRY_NAMES = st.from_regex(NAME_FORM, fullmatch=True).map(
    lambda name: name[:MAXIMUM_NAME_LENGTH].rstrip("-")
)
NAMESPACES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
WAYS = (
    Exposure(way=Way.ROUTE),
    Exposure(way=Way.GATEWAY, domain="apps.example"),
    Exposure(
        way=Way.INGRESS,
        domain="apps.example",
        issuer=Issuer(kind="ClusterIssuer", name="letsencrypt"),
    ),
    Exposure(way=Way.SERVICE, asked=True, service_type="LoadBalancer"),
)
STEPS: tuple[dict[str, bool], ...] = ({}, {"checked": True}, {"checked": True, "filled": True})
OTHERS = ("postgres", "redis", "objectstorage")
EXTERNAL = {
    "DB_URI": "postgresql://db/quay",
    "BUILDLOGS_REDIS": {"host": "redis"},
    "USER_EVENTS_REDIS": {"host": "redis"},
    "DISTRIBUTED_STORAGE_CONFIG": {"default": ["LocalStorage", {"storage_path": "/d"}]},
    "BUILDMAN_HOSTNAME": "builds.example",
}


def moving(number, step):
    """Return all that can move, on the way to claims of a number."""
    return {
        base: DataStore(
            claim=base,
            image="postgresql-13:latest",
            move=DataMove(claim=f"{base}-{number}", image="postgresql-15:latest", **step),
        )
        for base in ("quay-database", "clair-postgres", "quay-datastore")
    }


def hosted(name, namespace, exposure):
    """Return the address that a registry gets; None where the cluster chooses one."""
    metadata = {"name": name, "namespace": namespace, "uid": "1"}
    registry = a_registry(listed=components()) | {"metadata": metadata}
    observation = replace(an_observation(), registry=registry, bundle=a_bundle())
    return known_hostname(observation, read_bundle(observation), exposure)


def made_of(name, namespace, number):
    """Return everything that is ever made for a registry, but for backups."""
    place = {"name": name, "namespace": namespace}
    for step in STEPS:
        yield from render(a_plan(**place, stores=moving(number, step))).objects
    for exposure in WAYS:
        host = hosted(name, namespace, exposure) or "registry.example"
        outside = a_plan(*OTHERS, **place, exposure=exposure, hostname=host, config=EXTERNAL)
        rendered = render(outside)
        yield from rendered.objects
    yield probe_job(outside, rendered.mounts)


def names_in(obj):
    """Return the names within an object that may be no longer than a label."""
    spec = obj.get("spec") or {}
    if obj["kind"] in ("Service", "Job"):
        yield obj["metadata"]["name"]
    pod = (spec.get("template") or {}).get("spec") or {}
    for field in ("initContainers", "containers", "volumes"):
        yield from (part["name"] for part in pod.get(field) or [])
    hosts = [*(spec.get("hostnames") or []), *(spec.get("dnsNames") or []), spec.get("host")]
    hosts += [rule["host"] for rule in spec.get("rules") or [] if "host" in rule]
    for host in filter(None, hosts):
        yield from host.split(".")


def labels_in(obj):
    spec = obj.get("spec") or {}
    template = (spec.get("template") or {}).get("metadata") or {}
    yield from (obj["metadata"].get("labels") or {}).items()
    yield from (template.get("labels") or {}).items()


def faults(obj):
    wrong = [sentence for name in names_in(obj) for sentence in label_sentences(name)]
    return wrong + [f for key, value in labels_in(obj) for f in validate_label(key, value, key)]


@settings(max_examples=10)
@given(name=REGISTRY_NAMES, namespace=NAMESPACES, number=st.integers(2, 10**6))
@example(name=LONGEST, namespace="n" * 63, number=10**6)
@example(name=LONGEST, namespace=NAMESPACE, number=2)
@example(name="n" * 41, namespace=NAMESPACE, number=2)
@example(name="n" * 40 + "-" + "nn", namespace=NAMESPACE, number=2)
@example(name="n", namespace="n", number=2)
def test_all_that_is_made_for_a_registry_has_names_that_fit(name, namespace, number):
    check_name({"metadata": {"name": name}})
    made = list(made_of(name, namespace, number))
    assert {"Job", "Service", "Ingress", "HTTPRoute", "Certificate"} <= {o["kind"] for o in made}
    for obj in made:
        assert faults(obj) == [], (obj["kind"], obj["metadata"]["name"])
        assert len(obj["metadata"]["name"]) <= 253


def test_jobs_of_backups_have_names_that_fit():
    name = "b" * MAXIMUM_BACKUP_NAME_LENGTH
    owner = {
        "kind": "QuayRegistryBackup",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": "1"},
    }
    place = {"registryName": LONGEST, "vault": {"claimName": "c", "keySecret": "k"}}
    registry = {"metadata": {}, "spec": {"configBundleSecret": "bundle"}}
    (app,) = (
        obj
        for obj in render(a_plan(name=LONGEST)).objects
        if obj["metadata"]["name"] == f"{LONGEST}-quay-app" and obj["kind"] == "Deployment"
    )
    # The minutes of a moment have eight digits until the year 2160.
    backup = jobs.backup_job(
        owner,
        name=f"{name}-99999999",
        spec=BackupSpec.model_validate(place),
        registry=registry,
        app=app,
    )
    handover = jobs.handover_job(
        owner,
        name=f"{name}-handover",
        spec=RestoreSpec.model_validate(place),
        image="hatoba",
        operator="http://operator",
        secret="token",
    )
    assert (faults(backup), faults(handover)) == ([], [])


@given(
    names=st.sets(REGISTRY_NAMES, min_size=2, max_size=2),
    suffix=st.sampled_from(["quay-app-upgrade", "quay-database-2-check", "quay-datastore-10-copy"]),
)
@example(names={"n" * 42 + "a", "n" * 42 + "b"}, suffix="quay-database-2-check")
def test_jobs_of_two_registries_never_have_one_name(names, suffix):
    one, other = (job_name(name, suffix) for name in names)
    assert one != other
    assert one.endswith(f"-{suffix}")


def test_what_fits_is_left_as_it_is():
    assert job_name("n" * 40, "quay-database-2-check") == "n" * 40 + "-quay-database-2-check"
    assert fitting("n" * LONGEST_LABEL) == "n" * LONGEST_LABEL
    assert len(fitting("n" * (LONGEST_LABEL + 1))) == LONGEST_LABEL


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (LONGEST + "n", "longer than 43 characters"),
        ("my.registry", "no Service can be named after my.registry"),
        ("3rd-registry", "no Service can be named after 3rd-registry"),
    ],
)
def test_a_name_that_nothing_can_be_named_after_is_refused(name, fault):
    with pytest.raises(RolloutBlocked) as refused:
        check_name({"metadata": {"name": name}})
    assert (refused.value.reason, fault in refused.value.fact) == ("ConfigInvalid", True)


def test_a_backup_whose_name_a_cluster_without_rules_has_let_pass_is_refused():
    obj = {"metadata": {"name": "b" * (MAXIMUM_BACKUP_NAME_LENGTH + 1)}, "spec": {}}
    with pytest.raises(NotReady, match=r"metadata\.name: the name is longer than 40"):
        read_spec(BackupSpec, obj)


@pytest.mark.api
@pytest.mark.anyio
@pytest.mark.parametrize("spec", [None, {"configBundleSecret": "init-config-bundle-secret"}])
async def test_nothing_is_made_under_a_name_that_cannot_be(world, spec):
    world.key = (NAMESPACE, "my.registry")
    await world.create_bundle({"SERVER_HOSTNAME": "quay.example"})
    await world.create_registry(spec, name="my.registry")
    secrets = await world.names(SECRETS)
    for _ in range(3):
        await world.once()
    registry = await world.objects.get(REGISTRIES, "my.registry", NAMESPACE)
    (blocked,) = (c for c in registry["status"]["conditions"] if c["type"] == "RolloutBlocked")
    assert (blocked["status"], blocked["reason"]) == ("True", "ConfigInvalid")
    assert "create the QuayRegistry under another name" in blocked["message"]
    assert registry.get("spec") == spec
    assert "finalizers" not in registry["metadata"]
    assert await world.names(SECRETS) == secrets
    assert await world.names(DEPLOYMENTS) == await world.names(JOBS) == []


@pytest.mark.api
@pytest.mark.anyio
async def test_databases_and_blobs_of_the_longest_name_move(world):
    for name in ("slow", "fast"):
        made = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": "example.com/disk",
        }
        await world.objects.create(STORAGE_CLASSES, made, manager="test")
    world.key = (NAMESPACE, LONGEST)
    await world.create_registry(name=LONGEST)
    await world.converge()
    await world.objects.patch(
        REGISTRIES,
        LONGEST,
        NAMESPACE,
        {"metadata": {"annotations": {"hatoba.dev/datastore-class": "fast"}}},
        type="application/merge-patch+json",
        manager="kubectl",
    )
    async with operated_by(world, NEWER):
        await world.converge(passes=40)
    claims = {
        name: claim["annotations"].get("hatoba.dev/copied")
        for name in await world.names(CLAIMS)
        if (claim := (await world.objects.get(CLAIMS, name, NAMESPACE))["metadata"])
    }
    assert {name.removeprefix(LONGEST) for name, copied in claims.items() if copied} == {
        "-quay-database-2",
        "-quay-datastore-2",
    }
    registry = await world.objects.get(REGISTRIES, LONGEST, NAMESPACE)
    conditions = {c["type"]: c["status"] for c in registry["status"]["conditions"]}
    assert conditions["Available"] == "True"
    assert [name for name in await world.names(JOBS) if "-2-" in name] == []

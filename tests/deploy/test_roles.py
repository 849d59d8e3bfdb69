"""The operator has the rights that it needs, and no others.

Every test of the operator runs under the role of deploy/, so that a missing right fails it; here a
life of a registry is lived in full, and each right that nobody used needs a reason.
"""

from dataclasses import replace

import pytest
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.conftest import REGISTRIES, a_world
from tests.operator.test_reconfigure import a_body, credentials, post

from hatoba.cli.manifests import Wanted, operator_documents
from hatoba.cluster.objects import CONFIG_MAPS, DEPLOYMENTS, SECRETS, ResourceName
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.errors import NotFound
from hatoba.operator.endpoints import reconfigure_application
from hatoba.operator.process import Operator
from hatoba.operator.reconfigure import Reconfigurer
from hatoba.operator.runtime import election
from hatoba.serving.listeners import listening

pytestmark = pytest.mark.anyio

ROLES = ResourceName("roles", "rbac.authorization.k8s.io")
BUCKETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "objectbucketclaims.objectbucket.io"},
    "spec": {
        "group": "objectbucket.io",
        "scope": "Namespaced",
        "names": {
            "plural": "objectbucketclaims",
            "singular": "objectbucketclaim",
            "kind": "ObjectBucketClaim",
            "listKind": "ObjectBucketClaimList",
        },
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}

UNUSED = {
    "OpenShift asks for these when a Route names its host": {
        ("create", "route.openshift.io", "routes/custom-host"),
        ("update", "route.openshift.io", "routes/custom-host"),
    },
    "asked for where the cluster has these kinds; tests/operator/test_any_cluster.py does": {
        ("watch", group, resource)
        for group, resource in (
            ("cert-manager.io", "certificates"),
            ("cert-manager.io", "clusterissuers"),
            ("gateway.networking.k8s.io", "gateways"),
            ("gateway.networking.k8s.io", "httproutes"),
            ("gateway.networking.k8s.io", "tlsroutes"),
        )
    },
    "asked for on OpenShift; tests/operator/test_tlsprofiles.py does": {
        ("watch", "config.openshift.io", "apiservers")
    },
    "an event that is told again is counted": {("patch", "", "events")},
    "an empty claim of another access mode is made anew; tests/operator/test_external.py does": {
        ("delete", "", "persistentvolumeclaims")
    },
    "backups and restorations; tests/operator/test_backups.py does": {
        ("create", "quay.redhat.com", "quayregistries"),
        ("get", "", "pods/log"),
        *(
            (verb, "quay.redhat.com", f"quayregistry{kind}{part}")
            for kind in ("backups", "restores")
            for verb, part in (("get", ""), ("update", "/status"))
        ),
    },
    "contained in the roles that are given to Prometheus": {
        (verb, "", resource)
        for verb in ("get", "list", "watch")
        for resource in ("services", "endpoints", "pods")
    },
}


def allowed(wanted):
    """Return (verb, group, resource) of everything that the operator's roles allow."""
    documents = operator_documents(wanted)
    return granted(doc for doc in documents if doc["kind"] in ("Role", "ClusterRole"))


def granted(roles):
    return {
        (verb, group, resource)
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


async def a_bucket(world):
    """Play the provisioner of buckets."""
    name = f"{NAME}-quay-datastore"
    metadata = {"name": name, "namespace": NAMESPACE}
    await world.objects.create(
        CONFIG_MAPS,
        {"metadata": metadata, "data": {"BUCKET_HOST": "s3.example", "BUCKET_NAME": "b"}},
        manager="provisioner",
    )
    data = {"AWS_ACCESS_KEY_ID": "YQ==", "AWS_SECRET_ACCESS_KEY": "Yg=="}
    await world.objects.create(SECRETS, {"metadata": metadata, "data": data}, manager="provisioner")


async def elected(world):
    """Take the Lease, renew it and give it back."""
    lease = election.Election(
        world.cluster, namespace="hatoba-system", identity="pod-1", clock=SystemClock()
    )
    await lease.acquire()
    await lease.acquire()
    await lease.release()
    found = await world.cluster.get("Lease", election.LEASE_NAME, namespace="hatoba-system")
    assert found["spec"]["holderIdentity"] == ""


async def converged(world):
    for _ in range(15):
        await world.once()
        await world.play()
    deployment = await world.get(DEPLOYMENTS, "quay-app")
    assert deployment["spec"]["replicas"] == 2


async def reconfigured(world):
    async with listening(reconfigure_application(Reconfigurer(world.cluster))) as server:
        code, answer = await post(
            f"{server.url}/reconfigure",
            a_body({"REGISTRY_TITLE": "Other"}),
            await credentials(world),
        )
    assert code < 300, answer


async def a_whole_life(world):
    """Install, reconfigure, upgrade and delete a registry."""
    await elected(world)
    await world.create_registry()
    await converged(world)
    await reconfigured(world)
    await converged(world)
    newer = replace(SETTINGS, quay_version="3.7.0")
    world.operator = Operator(world.cluster, settings=newer, clock=SystemClock())
    async with world.operator.watching():
        await converged(world)
        await world.objects.delete(REGISTRIES, NAME, NAMESPACE)
        await world.once()
    with pytest.raises(NotFound):
        await world.registry()


async def a_claimed_bucket(world):
    """Ask for a bucket and read where it is."""
    await world.create_registry()
    for _ in range(4):
        await world.once()
    await a_bucket(world)
    await world.once()


@pytest.mark.timeout(60)
async def test_every_right_is_used_or_has_a_reason():
    async with a_world() as world:
        await a_whole_life(world)
    async with a_world(definitions=[BUCKETS]) as other:
        await a_claimed_bucket(other)
    used = {(ask.verb, ask.group, ask.resource) for ask in world.asked | other.asked}
    rights = allowed(Wanted(overlay="openshift"))
    reasons = set().union(*UNUSED.values())
    assert used <= rights
    assert rights - used == reasons - used


async def test_in_one_namespace_it_needs_no_right_elsewhere():
    wanted = Wanted(overlay="openshift", namespace="hatoba-system", watch_namespace=NAMESPACE)
    settings = replace(SETTINGS, watch_namespace=NAMESPACE)
    async with a_world(wanted=wanted, settings=settings) as world:
        await elected(world)
        await world.create_registry()
        await converged(world)
    outside = {
        (ask.verb, ask.resource)
        for ask in world.asked
        if ask.namespace not in (NAMESPACE, "hatoba-system")
    }
    assert {verb for verb, _ in outside} <= {"list", "watch"}
    assert {resource for _, resource in outside} == {
        "gateways",
        "ingressclasses",
        "clusterissuers",
        "storageclasses",
        "apiservers",
    }


async def test_it_may_give_away_the_rights_that_it_gives_to_prometheus():
    async with a_world() as world:
        await world.create_registry()
        await converged(world)
        given = granted((await world.objects.list(ROLES, NAMESPACE)).items)
    assert given
    assert given <= allowed(Wanted(overlay="openshift"))


@pytest.mark.parametrize("watch", ["", "team"])
def test_elsewhere_than_on_openshift_nothing_of_openshift_is_written(watch):
    rights = allowed(Wanted(overlay="kubernetes", watch_namespace=watch))
    for verb, group, resource in rights:
        assert verb in ("get", "list", "watch") or "openshift" not in group
        assert resource != "namespaces" or verb == "get"

"""`objectstorage`: a bucket claim where the cluster offers buckets, a shared volume elsewhere.

The volume is mounted at /datastorage in the pods that read or write blobs, and HATOBA_DATA points
there, so that the configuration holds no path of a machine.
"""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names, objects
from hatoba.operator.components.contract import ComponentType, Mounts
from hatoba.operator.diagnosis import CLAIM_REASONS, of_claim
from hatoba.operator.model import DATA_STORE, Owned, RegistryPlan, Verdict
from hatoba.operator.volumes import growth_of

MOUNT_PATH: Final = "/datastorage"


def uses_volume(plan: RegistryPlan) -> bool:
    """Tell whether blobs lie in a volume of the cluster."""
    return plan.manages("objectstorage") and not plan.capabilities.object_buckets


def on_one_node(plan: RegistryPlan, deployment: JsonObject) -> JsonObject:
    """Return the Deployment, its pods bound to one node if the volume can be on one only."""
    label = node_label(plan)
    if label:
        template = deployment["spec"]["template"]
        term = {"labelSelector": {"matchLabels": label}, "topologyKey": "kubernetes.io/hostname"}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        template["metadata"]["labels"] |= label
        template["spec"] = {**template["spec"], "affinity": {"podAffinity": required}}
    return deployment


def node_label(plan: RegistryPlan) -> dict[str, str]:
    """Return the label by which pods find each other that have to run on one node."""
    if not uses_volume(plan) or plan.access_mode != "ReadWriteOnce":
        return {}
    return {names.DATA_STORE_LABEL: plan.name}


def _objects(plan: RegistryPlan, _mounts: Mounts) -> Sequence[JsonObject]:
    if uses_volume(plan):
        return [
            objects.claim(
                plan,
                DATA_STORE,
                component="objectstorage",
                label=DATA_STORE,
                access_mode=plan.access_mode,
            )
        ]
    return [
        objects.make(
            plan,
            "ObjectBucketClaim",
            DATA_STORE,
            component="objectstorage",
            label=DATA_STORE,
            spec={
                "generateBucketName": DATA_STORE,
                "storageClassName": "openshift-storage.noobaa.io",
                "additionalConfig": {"bucketclass": "noobaa-default-bucket-class"},
            },
        )
    ]


def _configuration(plan: RegistryPlan) -> JsonObject:
    if uses_volume(plan):
        location, driver = "default", ["LocalStorage", {"storage_path": "registry"}]
    else:
        location, driver = "local_us", ["RHOCSStorage", _bucket(plan)]
    return {
        "DISTRIBUTED_STORAGE_CONFIG": {location: driver},
        "DISTRIBUTED_STORAGE_PREFERENCE": [location],
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": [location],
        "FEATURE_PROXY_STORAGE": not uses_volume(plan),
        "FEATURE_STORAGE_REPLICATION": False,
    }


def _bucket(plan: RegistryPlan) -> JsonObject:
    bucket = plan.bucket
    if bucket is None:
        return {}
    host = bucket.host
    if ".svc" in host and ".svc.cluster.local" not in host:
        host = host.replace(".svc", ".svc.cluster.local")
    return {
        "hostname": host,
        "is_secure": True,
        "port": 443,
        "bucket_name": bucket.name,
        "access_key": bucket.access_key,
        "secret_key": bucket.secret_key,
        "storage_path": "/datastorage/registry",
    }


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    if not plan.manages("objectstorage"):
        return Verdict.unmanaged("Object storage not managed by the operator")
    kind = "PersistentVolumeClaim" if uses_volume(plan) else "ObjectBucketClaim"
    words = "persistent volume claim" if uses_volume(plan) else "object bucket claim"
    name = plan.prefix + DATA_STORE
    found = owned.get(kind, name)
    if found is None:
        return Verdict.bad(
            f"Unable to locate {words}", step=f"{kind} {name} is made with the next pass"
        )
    if found.get("status", {}).get("phase") == "Bound":
        modes = (found.get("spec") or {}).get("accessModes") or []
        if node_label(plan) and modes == ["ReadWriteOnce"]:
            return Verdict.good(
                f"{words.capitalize()} bound as ReadWriteOnce: every pod that holds blobs runs on "
                "one node"
            )
        growth = growth_of(owned, found)
        return Verdict.good(f"{words.capitalize()} bound{f': {growth}' if growth else ''}")
    cause = of_claim(owned, name) if kind == "PersistentVolumeClaim" else None
    if cause is not None:
        told = bool(owned.told_about(kind, name, CLAIM_REASONS))
        return Verdict.bad(
            f"{words.capitalize()} not bound: {cause.fact}", step=cause.step, diagnosed=told
        )
    return Verdict.bad(
        f"{words.capitalize()} not bound",
        step=f"see what its provisioner says of {kind} {name}",
    )


OBJECT_STORAGE: Final = ComponentType(
    kind="objectstorage",
    condition="ComponentObjectStorageReady",
    objects=_objects,
    configuration=_configuration,
    health=_health,
)

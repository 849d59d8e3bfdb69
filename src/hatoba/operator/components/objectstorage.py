"""`objectstorage`: a bucket claim where the cluster offers buckets, a shared volume elsewhere.

The volume is mounted at /datastorage in the pods that read or write blobs, and HATOBA_DATA points
there, so that the configuration holds no path of a machine.
"""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import blobstores, names, objects
from hatoba.operator.blobstores import FILL
from hatoba.operator.components.configured import (
    MOUNT_PATH,
    configuration_mounts,
    configuration_volumes,
    registry_variables,
)
from hatoba.operator.components.contract import ComponentType, Mounts
from hatoba.operator.diagnosis import CLAIM_REASONS, of_claim
from hatoba.operator.model import DATA_STORE, Owned, RegistryPlan, Verdict
from hatoba.operator.stores import CHECK, COPY
from hatoba.operator.volumes import growth_of

_NEW_PATH: Final = "/datastorage-new"
_STEPS: Final = {CHECK: "check", FILL: "fill", COPY: "settle"}
"""What a Job's name ends with -> what it is told to do."""
_RETRIES: Final = {CHECK: 2, FILL: 6, COPY: 2}


def uses_volume(plan: RegistryPlan) -> bool:
    """Tell whether blobs lie in a volume of the cluster."""
    return plan.manages("objectstorage") and not plan.capabilities.object_buckets


def with_blobs(plan: RegistryPlan, workload: JsonObject) -> JsonObject:
    """Return a Deployment or Job whose pods have the volume with blobs, as that can be had.

    They are bound to one node if it can be on one only, and marked if they may only read.
    """
    template = workload["spec"]["template"]
    if plan.store(DATA_STORE).is_quiet and workload["kind"] == "Deployment":
        template["metadata"].setdefault("annotations", {})[names.QUIET_ANNOTATION] = "true"
    label = node_label(plan)
    if label:
        term = {"labelSelector": {"matchLabels": label}, "topologyKey": "kubernetes.io/hostname"}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        template["metadata"]["labels"] |= label
        template["spec"] = {**template["spec"], "affinity": {"podAffinity": required}}
    return workload


def node_label(plan: RegistryPlan) -> dict[str, str]:
    """Return the label by which pods find each other that have to run on one node."""
    modes = (plan.access_mode, plan.store(DATA_STORE).access_mode)
    if not uses_volume(plan) or "ReadWriteOnce" not in modes:
        return {}
    return {names.DATA_STORE_LABEL: plan.name}


def storage_volumes(plan: RegistryPlan) -> list[JsonObject]:
    """Return the volume with blobs, if blobs lie in a volume."""
    if not uses_volume(plan):
        return []
    claim = {"claimName": plan.prefix + plan.store(DATA_STORE).claim}
    return [{"name": "datastorage", "persistentVolumeClaim": claim}]


def storage_mounts(plan: RegistryPlan) -> list[JsonObject]:
    """Return where that volume appears."""
    return [{"name": "datastorage", "mountPath": MOUNT_PATH}] if uses_volume(plan) else []


def _claims(plan: RegistryPlan) -> list[JsonObject]:
    """Return the claims: where blobs are, where they move to, what they have left."""
    store = plan.store(DATA_STORE)
    wanted = [(store.claim, store.copied)]
    wanted += [
        (suffix, suffix != DATA_STORE)
        for suffix in store.kept
        if plan.prefix + suffix not in plan.released or store.settling
    ]
    if store.move is not None:
        wanted.append((store.move.claim, False))
    found = []
    for suffix, copied in wanted:
        claim = objects.claim(
            plan,
            suffix,
            component="objectstorage",
            label=DATA_STORE,
            access_mode=plan.access_mode,
        )
        if copied:
            claim["metadata"]["annotations"][names.COPIED_ANNOTATION] = "true"
        found.append(claim)
    return found


def _move_jobs(plan: RegistryPlan, mounts: Mounts) -> list[JsonObject]:
    """Return the Job that is due for a move of blobs."""
    move = plan.store(DATA_STORE).move
    if move is None:
        return []
    suffix = COPY if move.filled else (FILL if move.checked else CHECK)
    volumes = [
        {
            "name": "datastorage-new",
            "persistentVolumeClaim": {"claimName": plan.prefix + move.claim},
        },
        *storage_volumes(plan),
    ]
    container: JsonObject = {
        "name": suffix.removeprefix("-"),
        "image": move.image,
        "args": [
            "registry", "copy-blobs", "--from", MOUNT_PATH, "--to", _NEW_PATH,
            "--step", _STEPS[suffix],
        ],
        "env": registry_variables(mounts),
        "resources": objects.resources(("250m", "256Mi"), ("2", "2Gi")),
        "volumeMounts": [
            {"name": "datastorage-new", "mountPath": _NEW_PATH},
            {"name": "datastorage", "mountPath": MOUNT_PATH, "readOnly": True},
        ],
    }  # fmt: skip
    if suffix == COPY:
        # It alone asks the database: the others work with nothing but the volumes.
        container["volumeMounts"] += configuration_mounts()
        volumes += configuration_volumes(plan, mounts)
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": f"{plan.prefix}quay-app",
        "containers": [container],
        "volumes": volumes,
    }
    job = objects.job(
        plan,
        move.claim + suffix,
        component="objectstorage",
        label=DATA_STORE + suffix,
        pod_label=DATA_STORE + suffix,
        pod=pod,
        backoff_limit=_RETRIES[suffix],
    )
    job["metadata"]["annotations"][names.IMAGE_ANNOTATION] = move.image
    return [with_blobs(plan, job)]


def _objects(plan: RegistryPlan, mounts: Mounts) -> Sequence[JsonObject]:
    if uses_volume(plan):
        return [*_claims(plan), *_move_jobs(plan, mounts)]
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
        **({"REGISTRY_STATE": "readonly"} if plan.store(DATA_STORE).is_quiet else {}),
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
    name = plan.prefix + (plan.store(DATA_STORE).claim if uses_volume(plan) else DATA_STORE)
    found = owned.get(kind, name)
    if found is None:
        return Verdict.bad(
            f"Unable to locate {words}", step=f"{kind} {name} is made with the next pass"
        )
    if found.get("status", {}).get("phase") == "Bound":
        return blobstores.verdict_of(plan, owned) or _bound(plan, owned, found, words=words)
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


def _bound(plan: RegistryPlan, owned: Owned, found: JsonObject, *, words: str) -> Verdict:
    modes = (found.get("spec") or {}).get("accessModes") or []
    said = [f"{words.capitalize()} bound"]
    if node_label(plan) and modes == ["ReadWriteOnce"]:
        said = [f"{said[0]} as ReadWriteOnce", "every pod that holds blobs runs on one node"]
    else:
        said.append(growth_of(owned, found))
    said.append(blobstores.remark_of(plan, owned))
    return Verdict.good(": ".join(filter(None, said)))


OBJECT_STORAGE: Final = ComponentType(
    kind="objectstorage",
    condition="ComponentObjectStorageReady",
    objects=_objects,
    configuration=_configuration,
    health=_health,
)

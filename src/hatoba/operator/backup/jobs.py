"""The pods that keep registries and bring them back. Pure.

A backup runs as a pod of quay-app would, with another command: same image, configuration and
volumes, read from the Deployment itself.
"""

import json
from collections.abc import Mapping
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import keys, names, objects
from hatoba.operator.backup.types import BackupSpec, RestoreSpec, Vault

VAULT_PATH: Final = "/vault"
KEY_PATH: Final = "/vault-key"
BUNDLE: Final = "bundle"
"""Under which name the user's configuration bundle is attached to a backup."""
MANAGED_KEYS: Final = "keys"
REGISTRY_NOTE: Final = "registry"
_ATTACHED: Final = "/attached"
_HANDOVER_PATH: Final = "/handover"
_RETRIES: Final = 2
_LABEL: Final = "quay-backup"
_RESTORE_LABEL: Final = "quay-restore"


def vault_arguments(vault: Vault, *, registry: str) -> list[str]:
    """Return the options that name a vault and its key."""
    path = vault.path or registry
    found = ["--key-file", f"{KEY_PATH}/key"]
    if vault.s3 is None:
        return ["--vault", f"{VAULT_PATH}/{path}", *found]
    found = ["--vault", f"s3://{vault.s3.bucket}/{path}", *found]
    if vault.s3.endpoint:
        found += ["--s3-endpoint", vault.s3.endpoint]
    return found + (["--s3-region", vault.s3.region] if vault.s3.region else [])


def vault_variables(vault: Vault) -> list[JsonObject]:
    """Return the credentials of a bucket, as variables."""
    if vault.s3 is None:
        return []
    secret = vault.s3.credentialsSecret
    return [
        objects.secret_variable(name, secret=secret, key=name)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ]


def vault_volumes(vault: Vault) -> list[JsonObject]:
    """Return the volumes of a vault and its key."""
    found: list[JsonObject] = [
        {
            "name": "vault-key",
            "secret": {"secretName": vault.keySecret, "items": [{"key": "key", "path": "key"}]},
        }
    ]
    if vault.claimName is not None:
        claim = {"claimName": vault.claimName}
        found.append({"name": "vault", "persistentVolumeClaim": claim})
    return found


def vault_mounts(vault: Vault) -> list[JsonObject]:
    """Return where these appear."""
    found: list[JsonObject] = [{"name": "vault-key", "mountPath": KEY_PATH, "readOnly": True}]
    if vault.claimName is not None:
        found.append({"name": "vault", "mountPath": VAULT_PATH})
    return found


def backup_job(
    owner: JsonObject, *, name: str, spec: BackupSpec, registry: JsonObject, app: JsonObject
) -> JsonObject:
    """Return the Job that makes one backup.

    Args:
        owner: the QuayRegistryBackup.
        name: the Job's.
        spec: what is asked for.
        registry: the QuayRegistry.
        app: the Deployment whose pods serve it.
    """
    template = app["spec"]["template"]["spec"]
    container = template["containers"][0]
    attached = {
        BUNDLE: registry["spec"]["configBundleSecret"],
        MANAGED_KEYS: keys.secret_name(spec.registryName),
    }
    arguments = [
        "backup", "create", "--json", *vault_arguments(spec.vault, registry=spec.registryName),
        "--blobs", (spec.blobs or "Copy").lower(),
        *(word for key in attached for word in ("--attach", f"{_ATTACHED}/{key}")),
        "--note", f"{REGISTRY_NOTE}={json.dumps(noted(registry), sort_keys=True)}",
        *(["--keep", str(spec.keep)] if spec.keep else []),
    ]  # fmt: skip
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": template.get("serviceAccountName", ""),
        **{key: template[key] for key in ("affinity", "securityContext") if template.get(key)},
        "containers": [
            {
                "name": "backup",
                "image": container["image"],
                "args": arguments,
                "env": [*(container.get("env") or []), *vault_variables(spec.vault)],
                "resources": objects.resources(("250m", "512Mi"), ("2", "2Gi")),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    *container["volumeMounts"],
                    *vault_mounts(spec.vault),
                    *(
                        {"name": key, "mountPath": f"{_ATTACHED}/{key}", "readOnly": True}
                        for key in attached
                    ),
                ],
            }
        ],
        "volumes": [
            *template["volumes"],
            *vault_volumes(spec.vault),
            *({"name": key, "secret": {"secretName": secret}} for key, secret in attached.items()),
        ],
    }
    return _job(owner, name=name, registry=spec.registryName, label=_LABEL, pod=pod)


def noted(registry: JsonObject) -> JsonObject:
    """Return what is needed to make a QuayRegistry again."""
    annotations = registry["metadata"].get("annotations") or {}
    ours = {
        key: value
        for key, value in annotations.items()
        if key.startswith("hatoba.dev/") and key != names.RESTORE_ANNOTATION
    }
    return {"annotations": ours, "spec": registry.get("spec") or {}}


def handover_job(
    owner: JsonObject, *, name: str, spec: RestoreSpec, image: str, operator: str, secret: str
) -> JsonObject:
    """Return the Job that brings the Secrets of a backup to the operator.

    Args:
        owner: the QuayRegistryRestore.
        name: the Job's.
        spec: what is asked for.
        image: ours.
        operator: where the operator takes Secrets.
        secret: the Secret with the word by which the operator knows its own Job.
    """
    pod = {
        "restartPolicy": "Never",
        "containers": [
            {
                "name": "restore",
                "image": image,
                "args": [
                    "backup", "hand-over", spec.backup or "latest",
                    *vault_arguments(spec.vault, registry=spec.registryName),
                    "--to", f"{operator}/restored",
                    "--namespace", owner["metadata"]["namespace"],
                    "--restore", owner["metadata"]["name"],
                    "--token-file", f"{_HANDOVER_PATH}/token",
                ],
                "env": vault_variables(spec.vault),
                "resources": objects.resources(("100m", "256Mi"), ("1", "1Gi")),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    *vault_mounts(spec.vault),
                    {"name": "handover", "mountPath": _HANDOVER_PATH, "readOnly": True},
                ],
            }
        ],
        "volumes": [
            *vault_volumes(spec.vault),
            {"name": "handover", "secret": {"secretName": secret}},
        ],
    }  # fmt: skip
    return _job(owner, name=name, registry=spec.registryName, label=_RESTORE_LABEL, pod=pod)


def restoring(upgrade: JsonObject, vault: Vault, *, registry: str, backup: str) -> JsonObject:
    """Return the pod that prepares a registry's database, made to restore a backup first.

    Args:
        upgrade: the pod, which mounts the configuration, and blobs where they lie in a volume.
        vault: where the backup lies.
        registry: the registry's name.
        backup: the backup's.
    """
    container = upgrade["containers"][0]
    first = {
        **container,
        "name": "restore",
        "args": ["backup", "restore", backup, *vault_arguments(vault, registry=registry)],
        "env": [*container["env"], *vault_variables(vault)],
        "volumeMounts": [*container["volumeMounts"], *vault_mounts(vault)],
    }
    return {
        **upgrade,
        "initContainers": [first],
        "volumes": [*upgrade["volumes"], *vault_volumes(vault)],
    }


def _job(
    owner: JsonObject, *, name: str, registry: str, label: str, pod: Mapping[str, object]
) -> JsonObject:
    metadata = owner["metadata"]
    labels = {
        names.REGISTRY_LABEL: registry,
        names.COMPONENT_KEY: label,
        names.BACKUP_LABEL: metadata["name"],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": owner["kind"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                }
            ],
        },
        "spec": {
            "backoffLimit": _RETRIES,
            "template": {"metadata": {"labels": labels}, "spec": dict(pod)},
        },
    }

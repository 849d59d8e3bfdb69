"""Plans and cluster states for tests of the operator."""

import base64
from datetime import UTC, datetime

import yaml

from hatoba.kernel.json import JsonObject
from hatoba.operator.landscape import Capabilities, Exposure, Way
from hatoba.operator.model import (
    Component,
    ManagedKeys,
    OperatorSettings,
    Owned,
    RegistryPlan,
)
from hatoba.operator.names import COMPONENT_ORDER
from hatoba.operator.observation import Observation

NAME = "example-registry"
NAMESPACE = "quay-enterprise"
UID = "e3fc82ba-e716-4646-bb0f-63c26d05e00e"
NOW = datetime(2021, 9, 14, 10, 52, 5, 371425, UTC)
SETTINGS = OperatorSettings(namespace="hatoba-system")
EVERYTHING = Capabilities(routes=True, monitoring=True)
KEYS = ManagedKeys(
    secret_key="secret",
    database_secret_key="database-secret",
    db_uri=f"postgresql://{NAME}-quay-database:pw@{NAME}-quay-database:5432/{NAME}-quay-database",
    db_root_password="root",
    scanner_psk="cHNr",
    clair_db_password="clair",
    clair_db_root_password="clair-root",
    editor_password="editor",
)


def components(*unmanaged: str) -> tuple[Component, ...]:
    return tuple(Component(kind=kind, managed=kind not in unmanaged) for kind in COMPONENT_ORDER)


def a_plan(*unmanaged: str, **changes) -> RegistryPlan:
    values: JsonObject = {
        "name": NAME,
        "namespace": NAMESPACE,
        "uid": UID,
        "settings": SETTINGS,
        "components": components(*unmanaged),
        "capabilities": EVERYTHING,
        "config": {},
        "files": {},
        "keys": KEYS,
        "hostname": "localhost:8443",
        "exposure": Exposure(way=Way.ROUTE),
    } | changes
    return RegistryPlan(**values)


def a_registry(*, listed=None, bundle="bundle", status=None) -> JsonObject:
    spec: JsonObject = {"configBundleSecret": bundle}
    if listed is not None:
        spec["components"] = [entry.wire for entry in listed]
    return {
        "apiVersion": "quay.redhat.com/v1",
        "kind": "QuayRegistry",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "uid": UID, "generation": 3},
        "spec": spec,
        **({"status": status} if status else {}),
    }


def a_bundle(config=None, **files: bytes) -> JsonObject:
    text = config if isinstance(config, str) else yaml.safe_dump(config or {})
    data = {"config.yaml": text.encode(), **{k.replace("_", "."): v for k, v in files.items()}}
    return {
        "kind": "Secret",
        "metadata": {"name": "bundle", "namespace": NAMESPACE},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def owned(*objects: JsonObject) -> Owned:
    return Owned(objects, owner_uid=UID)


def an_observation(config=None, *, listed=(), capabilities=EVERYTHING, objects=(), **files):
    return Observation(
        registry=a_registry(listed=listed),
        bundle=a_bundle(config, **files),
        capabilities=capabilities,
        owned=owned(*objects),
    )


def a_deployment(suffix: str, *, component: str, available: bool = True, replicas: int = 2):
    return {
        "kind": "Deployment",
        "metadata": {
            "name": f"{NAME}-{suffix}",
            "namespace": NAMESPACE,
            "generation": 1,
            "annotations": {"quay-component": component},
            "ownerReferences": [{"uid": UID}],
        },
        "spec": {
            "replicas": replicas,
            "template": {"metadata": {"labels": {"quay-component": suffix}}, "spec": {}},
        },
        "status": {
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "availableReplicas": replicas if available else 0,
            "conditions": [
                {
                    "type": "Available",
                    "status": "True" if available else "False",
                    "reason": "MinimumReplicasAvailable"
                    if available
                    else "MinimumReplicasUnavailable",
                    "message": "Deployment has minimum availability."
                    if available
                    else "Deployment does not have minimum availability.",
                    "lastTransitionTime": "2021-09-14T10:51:32Z",
                    "lastUpdateTime": "2021-09-14T10:51:32Z",
                }
            ],
        },
    }


def a_job(suffix: str, *, condition: str = "", succeeded: int = 0, version: str = "3.6.0"):
    return {
        "kind": "Job",
        "metadata": {
            "name": f"{NAME}-{suffix}",
            "namespace": NAMESPACE,
            "annotations": {"quay-component": "base", "hatoba.dev/quay-version": version},
            "ownerReferences": [{"uid": UID}],
        },
        "spec": {"template": {"metadata": {"labels": {"quay-component": suffix}}}},
        "status": {
            "succeeded": succeeded,
            "conditions": [
                {
                    "type": condition,
                    "status": "True",
                    "reason": "BackoffLimitExceeded",
                    "message": "Job has reached the specified backoff limit",
                    "lastTransitionTime": "2021-09-14T10:51:32Z",
                }
            ]
            if condition
            else [],
        },
    }


def a_route(suffix: str = "quay", *, host: str = "localhost", port: str = "8443"):
    return {
        "kind": "Route",
        "metadata": {
            "name": f"{NAME}-{suffix}",
            "namespace": NAMESPACE,
            "annotations": {"quay-component": "route", "hatoba.dev/external-port": port},
            "ownerReferences": [{"uid": UID}],
        },
        "status": {
            "ingress": [{"host": host, "conditions": [{"type": "Admitted", "status": "True"}]}]
        },
    }


def a_claim(suffix: str, *, component: str, phase: str = "Bound"):
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": f"{NAME}-{suffix}",
            "namespace": NAMESPACE,
            "annotations": {"quay-component": component},
            "ownerReferences": [{"uid": UID}],
        },
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "slow"},
        "status": {"phase": phase},
    }


def a_pod(suffix: str, *, container=None, created="2021-09-14T10:51:00Z", **status):
    state: JsonObject = {"name": suffix, "image": "hatoba:0.1.0"} | (container or {})
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{NAME}-{suffix}-7d9c",
            "namespace": NAMESPACE,
            "creationTimestamp": created,
            "labels": {"quay-component": suffix, "quay-operator/quayregistry": NAME},
        },
        "spec": {"containers": [{"name": suffix, "image": "hatoba:0.1.0"}]},
        "status": {"containerStatuses": [state]} | status,
    }


def an_event(kind: str, name: str, reason: str, message: str, *, at="2021-09-14T10:51:00Z"):
    return {
        "kind": "Event",
        "involvedObject": {"kind": kind, "name": name},
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
    }


def everything_healthy() -> list[JsonObject]:
    """Return the objects of a registry that works."""
    deployments = [
        ("quay-app", "base"),
        ("quay-config-editor", "base"),
        ("quay-database", "postgres"),
        ("quay-redis", "redis"),
        ("quay-mirror", "mirror"),
        ("clair-app", "clair"),
        ("clair-postgres", "clair"),
    ]
    others = [
        ("HorizontalPodAutoscaler", "quay-app"),
        ("HorizontalPodAutoscaler", "clair-app"),
        ("HorizontalPodAutoscaler", "quay-mirror"),
        ("ServiceMonitor", "quay-metrics-monitor"),
        ("PrometheusRule", "quay-prometheus-rules"),
    ]
    return [
        *(a_deployment(suffix, component=component) for suffix, component in deployments),
        *(
            {
                "kind": kind,
                "metadata": {
                    "name": f"{NAME}-{suffix}",
                    "namespace": NAMESPACE,
                    "ownerReferences": [{"uid": UID}],
                },
            }
            for kind, suffix in others
        ),
        a_claim("quay-datastore", component="objectstorage"),
        a_claim("quay-database", component="postgres"),
        a_claim("clair-postgres", component="clair"),
        a_route(),
        a_route("quay-config-editor", port="8444"),
        a_job("quay-app-upgrade", condition="Complete", succeeded=1),
    ]

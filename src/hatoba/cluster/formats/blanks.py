"""What an object of a built-in kind holds before anybody has said anything.

A server of typed objects starts from these, so what stands here is not "set" by whoever creates
the object: its creator owns `.spec.strategy.type` but not `.spec.strategy`. Kinds that are not
listed, and custom resources, start from nothing.
"""

from typing import Final

from hatoba.kernel.json import JsonObject

_META: Final[JsonObject] = {"creationTimestamp": None}
_TEMPLATE: Final[JsonObject] = {"metadata": _META, "spec": {"containers": None}}
_TARGET: Final[JsonObject] = {"kind": "", "name": ""}
_BLANKS: Final[dict[tuple[str, str], JsonObject]] = {
    ("v1", "Pod"): {"spec": {"containers": None}, "status": {}},
    ("v1", "Service"): {"spec": {}, "status": {"loadBalancer": {}}},
    ("v1", "Namespace"): {"spec": {}, "status": {}},
    ("v1", "Node"): {
        "spec": {},
        "status": {"daemonEndpoints": {"kubeletEndpoint": {}}, "nodeInfo": {}},
    },
    ("v1", "PersistentVolume"): {"spec": {}, "status": {}},
    ("v1", "PersistentVolumeClaim"): {"spec": {"resources": {}}, "status": {}},
    ("v1", "Event"): {
        "involvedObject": {},
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": None,
        "reportingComponent": "",
        "reportingInstance": "",
    },
    ("apps/v1", "Deployment"): {
        "spec": {"selector": None, "strategy": {}, "template": _TEMPLATE},
        "status": {},
    },
    ("apps/v1", "ReplicaSet"): {
        "spec": {"selector": None, "template": _TEMPLATE},
        "status": {"replicas": 0},
    },
    ("batch/v1", "Job"): {"spec": {"template": _TEMPLATE}, "status": {}},
    ("autoscaling/v1", "HorizontalPodAutoscaler"): {
        "spec": {"scaleTargetRef": _TARGET, "maxReplicas": 0},
        "status": {"currentReplicas": 0, "desiredReplicas": 0},
    },
    ("autoscaling/v2", "HorizontalPodAutoscaler"): {
        "spec": {"scaleTargetRef": _TARGET, "maxReplicas": 0},
        "status": {"desiredReplicas": 0, "currentMetrics": None},
    },
    ("coordination.k8s.io/v1", "Lease"): {"spec": {}},
    ("discovery.k8s.io/v1", "EndpointSlice"): {
        "addressType": "",
        "endpoints": None,
        "ports": None,
    },
    ("networking.k8s.io/v1", "Ingress"): {"spec": {}, "status": {"loadBalancer": {}}},
    ("networking.k8s.io/v1", "IngressClass"): {"spec": {}},
    ("rbac.authorization.k8s.io/v1", "Role"): {"rules": None},
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): {"rules": None},
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): {
        "roleRef": {"apiGroup": "", "kind": "", "name": ""}
    },
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): {
        "roleRef": {"apiGroup": "", "kind": "", "name": ""}
    },
    ("scheduling.k8s.io/v1", "PriorityClass"): {"value": 0},
    ("storage.k8s.io/v1", "StorageClass"): {"provisioner": ""},
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): {
        "spec": {
            "group": "",
            "names": {"plural": "", "kind": ""},
            "scope": "",
            "versions": None,
        },
        "status": {
            "conditions": None,
            "acceptedNames": {"plural": "", "kind": ""},
            "storedVersions": None,
        },
    },
}


def blank(obj: JsonObject) -> JsonObject:
    """Return the blank of the object's kind."""
    body = _BLANKS.get((obj.get("apiVersion", ""), obj.get("kind", "")), {})
    return {"metadata": _META, **body} if body else {}

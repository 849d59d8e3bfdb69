"""Which rules belong to which built-in resource."""

from collections.abc import Callable
from typing import Final

from hatoba.cluster.api.kinds.autoscalers import AutoscalerRules
from hatoba.cluster.api.kinds.configs import (
    BindingRules,
    ConfigMapRules,
    EventRules,
    IngressRules,
    PriorityClassRules,
    SecretRules,
    StorageClassRules,
)
from hatoba.cluster.api.kinds.core import ClaimRules, NamespaceRules, VolumeRules
from hatoba.cluster.api.kinds.definitions import DefinitionRules
from hatoba.cluster.api.kinds.pods import PodRules
from hatoba.cluster.api.kinds.services import ServiceRules
from hatoba.cluster.api.kinds.workloads import DeploymentRules, JobRules, ReplicaSetRules
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.resources import BUILTINS, VIRTUAL, Resource
from hatoba.cluster.api.strategy import Strategy

RULES: Final[dict[str, Callable[[Resource], Strategy]]] = {
    "Namespace": NamespaceRules,
    "PersistentVolumeClaim": ClaimRules,
    "PersistentVolume": VolumeRules,
    "Pod": PodRules,
    "Deployment": DeploymentRules,
    "ReplicaSet": ReplicaSetRules,
    "Job": JobRules,
    "HorizontalPodAutoscaler": AutoscalerRules,
    "Secret": SecretRules,
    "ConfigMap": ConfigMapRules,
    "Event": EventRules,
    "Ingress": IngressRules,
    "StorageClass": StorageClassRules,
    "PriorityClass": PriorityClassRules,
    "RoleBinding": BindingRules,
    "ClusterRoleBinding": BindingRules,
    "CustomResourceDefinition": DefinitionRules,
}


def builtin_registry(*, service_network: str) -> Registry:
    """Return a registry of all built-in resources."""
    registry = Registry()
    for resource in BUILTINS:
        if resource.kind == "Service":
            registry.add(ServiceRules(resource, network=service_network))
        else:
            registry.add(RULES.get(resource.kind, Strategy)(resource))
    for resource in VIRTUAL:
        registry.add(Strategy(resource))
    return registry

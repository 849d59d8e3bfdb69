"""Which rules belong to which built-in resource."""

from typing import Final

from hatoba.cluster.api.kinds.core import ClaimRules, NamespaceRules, VolumeRules
from hatoba.cluster.api.kinds.definitions import DefinitionRules
from hatoba.cluster.api.kinds.pods import PodRules
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.resources import BUILTINS
from hatoba.cluster.api.strategy import Strategy
from hatoba.cluster.objects import CLAIMS, DEFINITIONS, NAMESPACES, PODS, VOLUMES, ResourceName

RULES: Final[dict[ResourceName, type[Strategy]]] = {
    NAMESPACES: NamespaceRules,
    CLAIMS: ClaimRules,
    VOLUMES: VolumeRules,
    PODS: PodRules,
    DEFINITIONS: DefinitionRules,
}


def builtin_registry() -> Registry:
    """Return a registry of all built-in resources."""
    registry = Registry()
    for resource in BUILTINS:
        registry.add(RULES.get(resource.name, Strategy)(resource))
    return registry

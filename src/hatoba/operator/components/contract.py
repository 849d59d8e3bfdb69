"""What each component answers: which objects, which configuration keys, is it healthy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hatoba.kernel.json import JsonObject
from hatoba.operator.model import Owned, RegistryPlan, Verdict


@dataclass(slots=True, frozen=True, kw_only=True)
class Mounts:
    """Names of the generated Secrets that the registry's own pods mount."""

    config: str
    certificates: str
    editor_credentials: str


@dataclass(slots=True, frozen=True, kw_only=True)
class ComponentType:
    """One component of a registry."""

    kind: str
    condition: str
    """The type of the status condition about it."""
    objects: Callable[[RegistryPlan, Mounts], Sequence[JsonObject]]
    """What exists while it is managed."""
    configuration: Callable[[RegistryPlan], JsonObject]
    """Keys of config.yaml while it is managed; they win over the user's."""
    health: Callable[[RegistryPlan, Owned], Verdict]
    """Whether it works; asked for unmanaged components too."""


def no_objects(_plan: RegistryPlan, _mounts: Mounts) -> Sequence[JsonObject]:
    """Return nothing: for components that are a matter of configuration."""
    return []


def no_configuration(_plan: RegistryPlan) -> JsonObject:
    """Return nothing: for components that the registry itself does not know."""
    return {}

"""All resources served at this moment: those every cluster has and those that CRDs define."""

from collections.abc import Iterator
from dataclasses import dataclass

from hatoba.cluster.api.resources import BUILTINS
from hatoba.cluster.controllers.informer import Informer
from hatoba.cluster.controllers.values import condition_of
from hatoba.cluster.objects import EVENTS, ResourceName
from hatoba.kernel.json import JsonObject


@dataclass(slots=True, frozen=True, kw_only=True)
class Served:
    """One resource, and how objects and owner references name it."""

    name: ResourceName
    kind: str
    namespaced: bool
    version: str = "v1"


_BUILTINS = tuple(
    Served(
        name=resource.name,
        kind=resource.kind,
        namespaced=resource.namespaced,
        version=resource.storage_version,
    )
    for resource in BUILTINS
    if resource.stored_as is None
)


def defined_by(definition: JsonObject) -> Served | None:
    """Return the resource a CustomResourceDefinition defines, None while it is not served."""
    established = condition_of(definition, "Established")
    if established is None or established["status"] != "True":
        return None
    spec = definition["spec"]
    stored = next(version for version in spec["versions"] if version["storage"])
    return Served(
        name=ResourceName(spec["names"]["plural"], spec["group"]),
        kind=spec["names"]["kind"],
        namespaced=spec["scope"] == "Namespaced",
        version=stored["name"],
    )


class Kinds:
    """Finds resources by kind."""

    def __init__(self, definitions: Informer) -> None:
        self._definitions = definitions

    def __iter__(self) -> Iterator[Served]:
        yield from _BUILTINS
        for definition in self._definitions.items():
            served = defined_by(definition)
            if served is not None:
                yield served

    def owning(self) -> Iterator[Served]:
        """Yield the resources whose objects may own or be owned."""
        return (served for served in self if served.name != EVENTS)

    def named(self, reference: JsonObject) -> Served | None:
        """Return the resource of an owner reference, None when this cluster has no such kind."""
        group, slash, _ = reference["apiVersion"].partition("/")
        wanted = group if slash else ""
        kind = reference["kind"]
        return next(
            (served for served in self if served.kind == kind and served.name.group == wanted), None
        )

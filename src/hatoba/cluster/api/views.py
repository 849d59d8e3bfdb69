"""Objects as they are answered: in the caller's version, alone, in lists, as metadata or Tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from hatoba.cluster.api.kinds.custom import CustomRules
from hatoba.cluster.api.negotiation import Representation
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.versions import to_version
from hatoba.cluster.formats.tables import (
    Include,
    Printer,
    builtin_printer,
    custom_printer,
    partial_list,
    partial_object,
    table,
)
from hatoba.kernel.json import JsonObject


@dataclass(slots=True, frozen=True, kw_only=True)
class View:
    """How one caller wants to see the objects of one resource."""

    resource: Resource
    version: str
    representation: Representation
    printer: Printer
    include: Include
    now: datetime

    def one(self, obj: JsonObject, *, with_columns: bool = True) -> JsonObject:
        """Return one object."""
        shown = to_version(obj, resource=self.resource, version=self.version)
        wanted = self.representation
        if wanted.form == "Table":
            version = obj["metadata"].get("resourceVersion", "")
            return table(
                [shown],
                printer=self.printer,
                now=self.now,
                metadata={"resourceVersion": version} if version else {},
                include=self.include,
                with_columns=with_columns,
                version=wanted.version,
            )
        return partial_object(shown, version=wanted.version) if wanted.form else shown

    def many(self, objects: Sequence[JsonObject], metadata: JsonObject) -> JsonObject:
        """Return a list."""
        resource, wanted = self.resource, self.representation
        shown = [to_version(obj, resource=resource, version=self.version) for obj in objects]
        if wanted.form == "Table":
            return table(
                shown,
                printer=self.printer,
                now=self.now,
                metadata=metadata,
                include=self.include,
                version=wanted.version,
            )
        if wanted.form:
            return partial_list(shown, metadata=metadata, version=wanted.version)
        api_version = resource.api_version(self.version)
        if resource.is_custom:
            return {
                "apiVersion": api_version,
                "items": shown,
                "kind": resource.list_kind,
                "metadata": {"continue": "", **metadata},
            }
        items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")} for o in shown]
        return {
            "kind": resource.list_kind,
            "apiVersion": api_version,
            "metadata": metadata,
            "items": items,
        }


def printer_of(registry: Registry, resource: Resource, version: str) -> Printer:
    """Return what makes rows of a resource's objects."""
    rules = registry.strategy(resource)
    if isinstance(rules, CustomRules):
        return custom_printer(rules.version(version).get("additionalPrinterColumns"))
    return builtin_printer(resource.group, resource.kind)


def included(text: str) -> Include:
    """Return how much of each object a Table carries along."""
    return cast("Include", text if text in ("None", "Object") else "Metadata")

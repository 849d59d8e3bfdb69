"""Rules of custom resources, made from their CRD."""

import re
from typing import Any, Final

from typing_extensions import override

from hatoba.cluster.api.decoding import check_metadata_types, drop_unknown
from hatoba.cluster.api.documents import restore
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.scale import ScaleView
from hatoba.cluster.api.status import Cause
from hatoba.cluster.api.strategy import Strategy
from hatoba.cluster.formats import structural
from hatoba.cluster.formats.schema import Schema, custom
from hatoba.cluster.objects import ResourceName
from hatoba.kernel.json import JsonObject

_VERSION: Final = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STABILITY: Final = {None: 2, "beta": 1, "alpha": 0}
_META: Final = ("apiVersion", "kind", "metadata")


class CustomRules(Strategy):
    """The structural schema decides what is kept, defaulted and valid."""

    takes_unversioned_updates = False

    def __init__(self, definition: JsonObject) -> None:
        super().__init__(resource_of(definition))
        self.definition = definition
        stored = next(v for v in definition["spec"]["versions"] if v.get("storage"))
        self._stored = stored
        self._document: JsonObject = stored["schema"]["openAPIV3Schema"]
        self.schema: Schema = custom(self._document)

    def version(self, name: str) -> JsonObject:
        """Return what the CRD says of a version."""
        versions: list[JsonObject] = self.definition["spec"]["versions"]
        return next(version for version in versions if version["name"] == name)

    @override
    def schema_of_objects(self) -> Schema:
        return self.schema

    @override
    def decode(self, obj: JsonObject) -> list[str]:
        check_metadata_types(obj, kind=self.resource.kind, version=self.resource.storage_version)
        unknown = drop_unknown(obj, self.schema)
        # A real server looks at the metadata first and prunes the rest in order of names.
        unknown.sort(key=lambda path: (not path.startswith("metadata."), path))
        return [f'unknown field "{path}"' for path in unknown]

    @override
    def prepare_status_update(self, new: JsonObject, old: JsonObject) -> None:
        status, metadata = new.get("status"), new["metadata"]
        _replace(new, {**old, "metadata": metadata})
        if status is None:
            new.pop("status", None)
        else:
            new["status"] = status

    @override
    def settle_status_update(self, new: JsonObject, old: JsonObject) -> None:
        metadata = new["metadata"]
        for key in (set(metadata) | set(old["metadata"])) - {"managedFields"}:
            restore(metadata, old["metadata"], key)

    @override
    def default(self, obj: JsonObject) -> None:
        _replace(obj, structural.apply_defaults(obj, self.schema))

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        causes = structural.validate(obj, self.schema)
        if "scale" in self.resource.subresources:
            scale = self._stored["subresources"]["scale"]
            causes += structural.validate_scale(
                obj,
                replicas_path=_path(scale["specReplicasPath"]),
                status_path=_path(scale["statusReplicasPath"]),
            )
        return causes + structural.validate_lists(obj, self.schema)

    @override
    def validate_status_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        return self.validate(new)

    @override
    def conclude(self, causes: list[Cause], new: JsonObject, old: JsonObject | None) -> list[Cause]:
        if not structural.has_rules(self._document):
            return causes
        if structural.blocks_rules(causes):
            return [*causes, structural.NOT_CHECKED]
        # 180 ms that only CRDs with rules are worth.
        from hatoba.cluster.formats.rules import rule_faults  # noqa: PLC0415

        return [*causes, *rule_faults(new, old, self.schema)]

    @override
    def scale_view(self) -> ScaleView:
        scale: JsonObject = self._stored["subresources"]["scale"]
        selector = scale.get("labelSelectorPath")
        return ScaleView(
            spec_path=_path(scale["specReplicasPath"]),
            status_path=_path(scale["statusReplicasPath"]),
            selector_path=_path(selector) if selector else None,
        )


def _replace(obj: JsonObject, by: JsonObject) -> None:
    if obj is not by:
        kept = dict(by)
        obj.clear()
        obj.update(kept)


def _path(text: str) -> tuple[str, ...]:
    return tuple(text.strip(".").split("."))


def _priority(version: str) -> tuple[Any, ...]:
    match = _VERSION.fullmatch(version)
    if match is None:
        return (1, version)
    major, stability, minor = match.groups()
    return (0, -_STABILITY[stability], -int(major), -int(minor or 0))


def resource_of(definition: JsonObject) -> Resource:
    """Return the resource that a CRD defines."""
    spec = definition["spec"]
    names = spec["names"]
    served = [version for version in spec["versions"] if version.get("served")]
    stored = next(version for version in spec["versions"] if version.get("storage"))
    group = spec["group"]
    deprecations = tuple(
        (
            version["name"],
            version.get("deprecationWarning")
            or f"{group}/{version['name']} {names['kind']} is deprecated",
        )
        for version in served
        if version.get("deprecated")
    )
    return Resource(
        name=ResourceName(names["plural"], group),
        kind=names["kind"],
        versions=tuple(sorted((v["name"] for v in served), key=_priority)),
        stored_version=stored["name"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular", ""),
        list_kind=names.get("listKind", ""),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=_VERBS,
        subresources=frozenset(stored.get("subresources") or {}),
        has_generation=True,
        is_custom=True,
        deprecations=deprecations,
        selectable_fields=tuple(f["jsonPath"] for f in stored.get("selectableFields") or ()),
    )


_VERBS: Final = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")

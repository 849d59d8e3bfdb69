"""Schemas of built-in kinds and of custom resources, seen through one view.

Built-in ones come from the packaged slice of the Kubernetes OpenAPI document
(`data/openapi.json.gz`, made by tools/slice_openapi.py), custom ones from a CRD's
`openAPIV3Schema`. Patches, apply, pruning and `kubectl explain` all read this, so that no list key
is written down twice. Views are cheap: they resolve references when asked for.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Final

from hatoba.kernel.errors import NotFound
from hatoba.kernel.json import JsonObject, JsonValue

REFERENCE_PREFIX: Final = "#/components/schemas/"
OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_ANY_OBJECT: Final = "io.k8s.api.core.v1.ConfigMap"
"""Its type and object metadata are described as those of every object."""
_KINDS: Final = "x-kubernetes-group-version-kind"
_EMPTY: Final[Mapping[str, Any]] = {}


class UnknownSchema(NotFound):
    """No schema is known for a kind."""

    def __init__(self, group: str, version: str, kind: str) -> None:
        super().__init__(f"no schema is known for {kind} in {group or 'core'}/{version}")


class Schema:
    """One node of a schema: what may stand at one place of an object.

    Every write asks the same nodes for the same things: what they say is computed once.
    """

    def __init__(
        self,
        raw: JsonObject,
        definitions: Mapping[str, JsonObject] = _EMPTY,
        *,
        is_builtin: bool = False,
    ) -> None:
        self._definitions = definitions
        self._is_builtin = is_builtin or isinstance(raw.get("$ref"), str)
        self._raw = self._resolved(raw)
        self._children: dict[str, Schema] = {}
        self._members: dict[str, Schema] = {}
        """The declared members, as far as they were asked for."""

    @property
    def raw(self) -> JsonObject:
        """The node with its reference resolved; siblings of the reference win."""
        return self._raw

    @cached_property
    def type(self) -> str:
        """`object`, `array`, `string`, `integer`, `number`, `boolean`, or "" for any."""
        found: str = self._raw.get("type") or ""
        return found

    @property
    def format(self) -> str:
        """The format that narrows the type, "" for none."""
        found: str = self._raw.get("format") or ""
        return found

    @cached_property
    def properties(self) -> JsonObject:
        """The declared members of an object, unresolved."""
        found: JsonObject = self._raw.get("properties") or {}
        return found

    @cached_property
    def is_untyped(self) -> bool:
        """Whether nothing is said about what stands here."""
        return not (self.properties or self.type == "array" or self._additional or self.is_scalar)

    @cached_property
    def is_scalar(self) -> bool:
        """Whether no object or list can stand here."""
        return self.type in {"string", "integer", "number", "boolean"} or self.is_int_or_string

    @cached_property
    def preserves_unknown(self) -> bool:
        """Whether members that are not declared are kept."""
        return bool(self._raw.get("x-kubernetes-preserve-unknown-fields"))

    @cached_property
    def is_int_or_string(self) -> bool:
        """Whether both a number and a string are fine."""
        return bool(
            self._raw.get("x-kubernetes-int-or-string")
            or self.format == "int-or-string"
            or ("oneOf" in self._raw and not self.type and not self.properties)
        )

    @property
    def is_atomic_map(self) -> bool:
        """Whether an object here belongs as a whole to one manager."""
        return self._raw.get("x-kubernetes-map-type") == "atomic"

    @cached_property
    def list_type(self) -> str:
        """`atomic`, `set` or `map`; what is not said is atomic."""
        found: str = self._raw.get("x-kubernetes-list-type") or "atomic"
        return found

    @property
    def map_keys(self) -> tuple[str, ...]:
        """The members that identify an item of a list of type `map`."""
        return tuple(self._raw.get("x-kubernetes-list-map-keys") or ())

    @property
    def merge_key(self) -> str:
        """The member by which strategic merge finds items, "" for none."""
        found: str = self._raw.get("x-kubernetes-patch-merge-key") or ""
        return found

    @property
    def patch_strategies(self) -> frozenset[str]:
        """Of `merge`, `replace` and `retainKeys`, those that strategic merge follows here."""
        return frozenset(
            filter(None, (self._raw.get("x-kubernetes-patch-strategy") or "").split(","))
        )

    @property
    def items(self) -> "Schema":
        """What the items of a list are."""
        return self._child("[]", self._raw.get("items") or {})

    @property
    def additional(self) -> "Schema | None":
        """What members are that have no declaration of their own; None when there must be none."""
        found = self._additional
        return None if found is None else self._child("{}", found)

    def member(self, name: str) -> "Schema | None":
        """Return the schema of a member; None when such a member is not known here."""
        found = self._members.get(name)
        if found is not None:
            return found
        if name in self.properties:
            found = self._members[name] = self._child(f".{name}", self.properties[name])
            return found
        if self.is_untyped or self.preserves_unknown:
            return self.additional or UNTYPED
        return self.additional

    def key_default(self, name: str) -> JsonValue:
        """Return what a key of a list item is when the item does not say, None for nothing.

        Strings of built-in kinds default to empty ones, as the server's own documents say.
        """
        below = self.member(name)
        if below is None or "default" in below.raw:
            return None if below is None else below.raw["default"]
        return "" if self._is_builtin and below.type == "string" else None

    def at(self, *path: str) -> "Schema":
        """Return the schema below declared members.

        Raises:
            KeyError: a member is not declared.
        """
        found = self
        for name in path:
            below = found.member(name)
            if below is None:
                raise KeyError(name)
            found = below
        return found

    @cached_property
    def _additional(self) -> JsonObject | None:
        found = self._raw.get("additionalProperties")
        if found is True:
            return {}
        return found if isinstance(found, dict) else None

    def _child(self, key: str, raw: JsonObject) -> "Schema":
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = Schema(
                raw, self._definitions, is_builtin=self._is_builtin
            )
        return found

    def _resolved(self, raw: JsonObject) -> JsonObject:
        reference = raw.get("$ref")
        if isinstance(reference, str):
            return self._resolved(self._definitions[reference.removeprefix(REFERENCE_PREFIX)])
        parts = raw.get("allOf")
        if isinstance(parts, list) and len(parts) == 1 and "$ref" in parts[0]:
            rest = {key: value for key, value in raw.items() if key != "allOf"}
            return {**self._resolved(parts[0]), **rest}
        return raw


UNTYPED: Final = Schema({})


@cache
def definitions() -> dict[str, JsonObject]:
    """Return all built-in definitions by name, as `components.schemas` of OpenAPI 3.0."""
    packed = files("hatoba.cluster.formats").joinpath("data/openapi.json.gz").read_bytes()
    found: dict[str, JsonObject] = json.loads(gzip.decompress(packed))
    return found


@cache
def _names() -> dict[tuple[str, str, str], str]:
    return {
        (entry["group"], entry["version"], entry["kind"]): name
        for name, definition in definitions().items()
        for entry in definition.get(_KINDS, ())
    }


@cache
def builtin(group: str, version: str, kind: str) -> Schema:
    """Return the schema of a built-in kind.

    Raises:
        UnknownSchema: the slice does not hold it.
    """
    name = _names().get((group, version, kind))
    if name is None:
        raise UnknownSchema(group, version, kind)
    return Schema(definitions()[name], definitions(), is_builtin=True)


def custom(document: JsonObject) -> Schema:
    """Return the schema of a custom resource; type and object metadata are those of any object."""
    described = definitions()[_ANY_OBJECT]["properties"]
    properties = {
        **document.get("properties", {}),
        **{name: described[name] for name in ("apiVersion", "kind", "metadata")},
    }
    return Schema({**document, "type": "object", "properties": properties}, definitions())


def unknown_fields(obj: JsonValue, schema: Schema) -> list[str]:
    """Return the paths of members that the schema does not know, outermost only."""
    return list(_unknown(obj, schema, ""))


def _unknown(value: JsonValue, schema: Schema, path: str) -> Iterator[str]:
    if schema.is_untyped or (schema.preserves_unknown and not schema.properties):
        return
    if isinstance(value, dict):
        for name, part in value.items():
            below = None if schema.is_scalar else schema.member(name)
            here = f"{path}.{name}" if path else name
            if below is None:
                yield here
            else:
                yield from _unknown(part, below, here)
    elif isinstance(value, list) and schema.type == "array":
        for index, part in enumerate(value):
            yield from _unknown(part, schema.items, f"{path}[{index}]")

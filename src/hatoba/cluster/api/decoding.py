"""Typed decoding: what a schema does not know is dropped, what has the wrong type is refused.

Quantities are read into numbers, and come out as those are written: `1024Mi` as `1Gi`.

A real server decodes JSON into Go structures and speaks of them in its messages; names of Go types
come from the OpenAPI definitions, which are named after them.
"""

from collections.abc import Mapping
from typing import Any, Final

from hatoba.cluster.api.quantities import parse_quantity
from hatoba.cluster.api.status import BadRequest
from hatoba.cluster.formats.schema import (
    OBJECT_META,
    REFERENCE_PREFIX,
    Schema,
    definitions,
    unknown_fields,
)
from hatoba.kernel.json import JsonObject
from hatoba.kernel.quantities import canonical

_QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_GO_KINDS: Final = {str: "string", bool: "bool", list: "array", dict: "object"}
_EXPECTED: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


class WrongType(Exception):
    """A value that a Go structure cannot hold; the message is that of Go's decoder."""


def drop_unknown(obj: JsonObject, schema: Schema) -> list[str]:
    """Drop members that the schema does not know, in place, and return their paths."""
    unknown = unknown_fields(obj, schema)
    if unknown:
        _drop(obj, schema)
    return unknown


def _drop(value: Any, schema: Schema) -> None:
    if isinstance(value, dict) and not schema.is_scalar:
        if schema.is_untyped or (schema.preserves_unknown and not schema.properties):
            return
        for name in list(value):
            below = schema.member(name)
            if below is None:
                del value[name]
            else:
                _drop(value[name], below)
    elif isinstance(value, list) and schema.type == "array":
        for item in value:
            _drop(item, schema.items)


def check_types(
    obj: JsonObject, raw: JsonObject, *, kind: str, version: str, struct: str = ""
) -> None:
    """Refuse values of a type that the built-in kind's structures exclude.

    Quantities become canonical, in place: clients see another text than the one they sent.

    Raises:
        BadRequest: in the words of Go's decoder.
    """
    try:
        _check(obj, raw, struct=struct or kind, path="")
    except WrongType as error:
        raise BadRequest(
            f'{kind} in version "{version}" cannot be handled as a {kind}: {error}'
        ) from error


def check_metadata_types(obj: JsonObject, *, kind: str, version: str) -> None:
    """Refuse metadata of a wrong type, which custom resources have in common with all objects.

    Raises:
        BadRequest: in the words of Go's decoder.
    """
    metadata = obj.get("metadata") or {}
    check_types(
        metadata, definitions()[OBJECT_META], kind=kind, version=version, struct="ObjectMeta"
    )


def _resolve(raw: JsonObject) -> tuple[JsonObject, str]:
    """Return a node without references, and the definition it came from."""
    reference = raw.get("$ref")
    parts = raw.get("allOf")
    if reference is None and isinstance(parts, list) and len(parts) == 1:
        reference = parts[0].get("$ref")
    if isinstance(reference, str):
        name = reference.removeprefix(REFERENCE_PREFIX)
        return definitions()[name], name
    return raw, ""


def _check(value: Any, raw: JsonObject, *, struct: str, path: str) -> None:
    node, name = _resolve(raw)
    if value is None:
        return
    if name == _QUANTITY:
        _check_quantity(value)
        return
    struct = name.rpartition(".")[2] or struct
    expected = _EXPECTED.get(node.get("type", ""))
    if expected is None or node.get("format") == "int-or-string":
        return
    is_misplaced_bool = isinstance(value, bool) and bool not in expected
    if not isinstance(value, expected) or is_misplaced_bool:
        raise WrongType(
            f"json: cannot unmarshal {_go_kind(value)} into Go struct field {struct}{path} of type"
            f" {_go_type(node, name)}"
        )
    if isinstance(value, dict):
        _check_members(value, node, struct=struct, path=path)
    elif isinstance(value, list):
        for item in value:
            _check(item, node.get("items") or {}, struct=struct, path=path)


def _check_members(value: JsonObject, node: JsonObject, *, struct: str, path: str) -> None:
    properties = node.get("properties") or {}
    additional = node.get("additionalProperties")
    for key, member in value.items():
        if key in properties:
            raw, here = properties[key], f"{path}.{key}"
        elif isinstance(additional, dict):
            raw, here = additional, path
        else:
            continue
        _check_field(member, raw, struct=struct, path=here)
        if member is not None and _resolve(raw)[1] == _QUANTITY:
            value[key] = _rewritten(member)


def _check_field(value: Any, raw: JsonObject, *, struct: str, path: str) -> None:
    """Check a member, whose own type is named by the structure that holds it."""
    node, name = _resolve(raw)
    is_structure = isinstance(value, dict) and node.get("properties")
    inner = name.rpartition(".")[2] if is_structure else struct
    _check(value, node if not name or name != _QUANTITY else raw, struct=inner or struct, path=path)


def _check_quantity(value: Any) -> None:
    if isinstance(value, bool | list | dict):
        raise WrongType("quantities must match the regular expression")
    try:
        parse_quantity(str(value))
    except BadRequest as error:
        raise WrongType(error.message) from error


def _rewritten(quantity: Any) -> str:
    """Return a quantity as it is stored; what validation is about to refuse stays as it is."""
    text = str(quantity)
    return text if text.startswith("-") else canonical(text)


def _go_kind(value: Any) -> str:
    return _GO_KINDS.get(type(value)) or ("number" if isinstance(value, int) else f"number {value}")


def _go_type(node: JsonObject, name: str) -> str:
    match node.get("type"):
        case "integer":
            return str(node.get("format") or "int")
        case "array":
            item, item_name = _resolve(node.get("items") or {})
            return f"[]{_go_type(item, item_name)}"
        case "object":
            return _go_structure(node, name)
        case kind:
            return {"boolean": "bool", "number": "float64"}.get(kind or "", "string")


def _go_structure(node: JsonObject, name: str) -> str:
    if name:
        *_, package, struct = name.split(".")
        return f"{package}.{struct}"
    additional = node.get("additionalProperties")
    if isinstance(additional, dict):
        return f"map[string]{_go_type(*_resolve(additional))}"
    return "map[string]interface {}"


def drop_nulls(value: Any) -> None:
    """Drop members that are null, in place; Go's structures hold zero values instead.

    Times and the status keep theirs: a real server writes some of them as null.
    """
    if isinstance(value, dict):
        for key in list(value):
            if value[key] is None and not key.endswith(("Timestamp", "Time")):
                del value[key]
            elif key != "status":
                drop_nulls(value[key])
    elif isinstance(value, list):
        for item in value:
            drop_nulls(item)

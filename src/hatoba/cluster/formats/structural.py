"""Custom resources against the structural schema of their CRD: defaults, nulls and validity.

Spec: Kubernetes "Custom Resources", structural schemas, defaulting and nullable; the sentences and
their order follow a 1.32 server. Type, name and metadata of the object are the server's business;
rules in CEL are in `rules`.
"""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any, Final

from hatoba.cluster.api.status import Cause
from hatoba.cluster.formats.schema import Schema
from hatoba.cluster.formats.typed import Untypable, item_step
from hatoba.cluster.formats.values import go_value, shown, value_faults
from hatoba.kernel.json import JsonObject, JsonValue

_HEAD: Final = frozenset({"apiVersion", "kind", "metadata"})
_BLOCKING: Final = frozenset(
    {
        "FieldValueRequired",
        "FieldValueNotSupported",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)
NOT_CHECKED: Final = Cause(
    reason="FieldValueInvalid",
    message=(
        'Invalid value: "null": some validation rules were not checked because the object was'
        " invalid; correct the existing errors to complete validation"
    ),
    field="<nil>",
)


def apply_defaults(obj: JsonObject, schema: Schema) -> JsonObject:
    """Return the object with defaults filled in and nulls that mean nothing dropped."""
    return {**_defaulted_members(obj, schema, skip=_HEAD)}


def _defaulted(value: JsonValue, schema: Schema) -> JsonValue:
    if isinstance(value, dict):
        return _defaulted_members(value, schema, skip=frozenset())
    if isinstance(value, list):
        return [_defaulted(item, schema.items) for item in value]
    return value


def _defaulted_members(value: JsonObject, schema: Schema, *, skip: frozenset[str]) -> JsonObject:
    result: JsonObject = {}
    for name, part in value.items():
        below = None if name in skip else schema.member(name)
        if below is None:
            result[name] = part
        elif part is not None or below.raw.get("nullable") or name not in schema.properties:
            result[name] = _defaulted(part, below)
    for name, declared in schema.properties.items():
        if name not in skip and name not in result and declared.get("default") is not None:
            below = schema.member(name)
            default = deepcopy(declared["default"])
            result[name] = default if below is None else _defaulted(default, below)
    return result


def validate(obj: JsonObject, schema: Schema) -> list[Cause]:
    """Return what is wrong with the values of a custom resource, lists' keys included.

    Whoever adds causes of its own asks `blocks_rules` before rules are evaluated.
    """
    causes: list[Cause] = []
    for name in sorted(set(obj) - _HEAD):
        below = schema.member(name)
        if below is not None:
            causes += _faults(obj[name], below, name)
    causes += _missing(obj, schema, "")
    return causes


def validate_lists(obj: JsonObject, schema: Schema) -> list[Cause]:
    """Return the items of sets and keyed lists that stand there twice."""
    return list(_duplicates({k: v for k, v in obj.items() if k not in _HEAD}, schema, ""))


def blocks_rules(causes: Iterable[Cause]) -> bool:
    """Whether rules cannot be evaluated on an object with these faults."""
    return any(cause.reason in _BLOCKING for cause in causes)


def has_rules(schema: JsonObject) -> bool:
    """Whether a CRD's schema holds any `x-kubernetes-validations`."""
    if "x-kubernetes-validations" in schema:
        return True
    below = [*(schema.get("properties") or {}).values()]
    below += [part for key in ("items", "additionalProperties") if (part := schema.get(key))]
    return any(isinstance(part, dict) and has_rules(part) for part in below)


def _faults(value: JsonValue, schema: Schema, path: str) -> list[Cause]:
    if value is None and schema.raw.get("nullable"):
        return []
    causes = value_faults(value, schema, path)
    if blocks_rules(causes):
        return causes
    if isinstance(value, dict):
        for name in sorted(value):
            below = schema.member(name)
            if below is not None:
                causes += _faults(value[name], below, f"{path}.{name}")
        causes += _missing(value, schema, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            causes += _faults(item, schema.items, f"{path}[{index}]")
    causes += _combination_faults(value, schema, path)
    return causes


def _missing(value: JsonObject, schema: Schema, path: str) -> list[Cause]:
    return [
        Cause(
            reason="FieldValueRequired",
            message="Required value",
            field=f"{path}.{name}" if path else name,
        )
        for name in schema.raw.get("required") or ()
        if name not in value and not (not path and name in _HEAD)
    ]


def _combination_faults(value: JsonValue, schema: Schema, path: str) -> list[Cause]:
    if schema.is_int_or_string:
        return []
    fits = {
        key: [not _faults(value, Schema(part), path) for part in schema.raw.get(key) or ()]
        for key in ("anyOf", "oneOf")
    }
    said = []
    if fits["anyOf"] and not any(fits["anyOf"]):
        said.append(f'"{path}" must validate at least one schema (anyOf)')
    if fits["oneOf"] and sum(fits["oneOf"]) != 1:
        count = sum(fits["oneOf"])
        found = f"Found {count} valid alternatives" if count else "Found none valid"
        said.append(f'"{path}" must validate one and only one schema (oneOf). {found}')
    forbidden = schema.raw.get("not")
    if forbidden is not None and not _faults(value, Schema(forbidden), path):
        said.append(f'"{path}" must not validate the schema (not)')
    causes = [_whole(text) for text in said]
    for part in schema.raw.get("allOf") or ():
        causes += _faults(value, Schema(part), path)
    return causes


def _whole(text: str) -> Cause:
    return Cause(reason="FieldValueInvalid", message=f'Invalid value: "": {text}', field="<nil>")


def _duplicates(value: JsonValue, schema: Schema, path: str) -> Iterator[Cause]:
    if isinstance(value, dict):
        for name in sorted(value):
            below = schema.member(name)
            if below is not None:
                yield from _duplicates(value[name], below, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        if schema.list_type in {"set", "map"}:
            yield from _duplicate_items(value, schema, path)
        for index, item in enumerate(value):
            yield from _duplicates(item, schema.items, f"{path}[{index}]")


def _duplicate_items(items: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    seen = set()
    for index, item in enumerate(items):
        try:
            step = item_step(item, schema)
        except Untypable:
            continue
        if step in seen:
            keyed = {key: item[key] for key in schema.map_keys if key in item} or item
            value = go_value(keyed if schema.list_type == "map" else item)
            yield Cause(
                reason="FieldValueDuplicate",
                message=f"Duplicate value: {value}",
                field=f"{path}[{index}]",
            )
        seen.add(step)


# --- scale


def validate_scale(
    obj: JsonObject, *, replicas_path: tuple[str, ...], status_path: tuple[str, ...]
) -> list[Cause]:
    """Return what makes the values that `/scale` reads unreadable or unusable."""
    return [
        *_replica_faults(obj, replicas_path),
        *_replica_faults(obj, status_path),
    ]


def _replica_faults(obj: JsonObject, path: tuple[str, ...]) -> Iterator[Cause]:
    field, at = "." + ".".join(path), obj
    for index, name in enumerate(path):
        if not isinstance(at, dict):
            yield _invalid(field, "0", _unreadable(field, at, "map[string]interface{}"))
            return
        if name not in at or at[name] is None:
            return
        at = at[name]
        if index + 1 < len(path):
            continue
        if not isinstance(at, int) or isinstance(at, bool):
            why = (
                f"{field} accessor error: {shown(at)} is of the type {_go_type(at)}, expected int64"
            )
            yield _invalid(field, "0", why)
        elif at < 0:
            yield _invalid(field, str(at), "should be a non-negative integer")
        elif at > 2**31 - 1:
            yield _invalid(field, str(at), f"should be less than or equal to {2**31 - 1}")


def _unreadable(field: str, value: JsonValue, wanted: str) -> str:
    return (
        f"{field} accessor error: {shown(value)} is of the type {_go_type(value)},"
        f" expected {wanted}"
    )


def _go_type(value: JsonValue) -> str:
    names = {str: "string", bool: "bool", float: "float64", int: "int64", list: "[]interface {}"}
    return names.get(type(value), "map[string]interface {}")


def _invalid(field: str, value: str, why: str) -> Cause:
    return Cause(reason="FieldValueInvalid", message=f"Invalid value: {value}: {why}", field=field)

"""Strategic merge patch: merging that knows which lists have keys.

Spec: Kubernetes "Update API objects in place using kubectl patch" and the design note "Strategic
Merge Patch"; the order in which items stand afterwards and the refusals follow recorded answers.
Merge keys and strategies are read from the schema of the object.
"""

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Final

from hatoba.cluster.api.status import BadRequest, Cause, InternalError, Invalid
from hatoba.cluster.formats.gotext import go_map
from hatoba.cluster.formats.patches import go_kind
from hatoba.cluster.formats.schema import UNTYPED, Schema
from hatoba.kernel.json import JsonObject, JsonValue

_SCALARS: Final[dict[str, tuple[type | tuple[type, ...], str]]] = {
    "integer": (int, "int64"),
    "number": ((int, float), "float64"),
    "string": (str, "string"),
    "boolean": (bool, "bool"),
}
_DIRECTIVE: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_DELETE_PREFIX: Final = "$deleteFromPrimitiveList/"
_ORDER_PREFIX: Final = "$setElementOrder/"


def strategic_patch(document: JsonObject, patch: JsonValue, *, schema: Schema) -> JsonObject:
    """Return the document with a strategic merge patch applied.

    Raises:
        BadRequest: the patch is not an object.
        Invalid: a member of the patch has the wrong type.
        InternalError: a directive is wrong or a merge key is missing (a real server says 500).
    """
    if not isinstance(patch, dict):
        raise BadRequest(
            f"error decoding patch: json: cannot unmarshal {go_kind(patch)}"
            " into Go value of type map[string]interface {}"
        )
    # Merging takes directives and ordered lists out of its copy; refusals quote what is left.
    rest = deepcopy(patch)
    merged = _merge_map(deepcopy(document), rest, schema)
    _refuse_wrong_types(patch, rest, schema)
    return merged


def refuse_patch(patch: JsonValue, why: str) -> Invalid:
    """Return the refusal that quotes a strategic patch."""
    text = f"Invalid value: {json.dumps(go_map(patch), ensure_ascii=False)}: {why}"
    cause = Cause(reason="FieldValueInvalid", message=text, field="patch")
    return Invalid(f' "" is invalid: patch: {text}', causes=[cause])


def _refuse_wrong_types(value: JsonValue, patch: JsonObject, schema: Schema | None) -> None:
    if schema is None or value is None:
        return
    if isinstance(value, dict):
        for name, part in value.items():
            if not name.startswith("$"):
                _refuse_wrong_types(part, patch, schema.member(name))
    elif isinstance(value, list):
        for part in value:
            _refuse_wrong_types(part, patch, schema.items)
    elif not schema.is_int_or_string and schema.type in _SCALARS:
        accepted, word = _SCALARS[schema.type]
        if not isinstance(value, accepted) or isinstance(value, bool) != (word == "bool"):
            raise refuse_patch(patch, f"unrecognized type: {schema.format or word}")


def _merge_map(original: JsonObject, patch: JsonObject, schema: Schema) -> JsonObject:
    if _DIRECTIVE in patch:
        return _directed_map(patch)
    _retain_keys(original, patch)
    _merge_ordered_lists(original, patch, schema)
    for key, value in patch.items():
        if key.startswith(_DELETE_PREFIX):
            name = key.removeprefix(_DELETE_PREFIX)
            if isinstance(original.get(name), list):
                original[name] = [item for item in original[name] if item not in value]
        elif value is None:
            original.pop(key, None)
        elif key not in original or type(original[key]) is not type(value):
            original[key] = _without_directives(value)
        else:
            below = schema.member(key) or UNTYPED
            original[key] = _merge_value(original[key], value, below)
    return original


def _merge_value(original: Any, patch: Any, schema: Schema) -> JsonValue:
    replaced = "replace" in schema.patch_strategies
    if isinstance(patch, dict) and not replaced:
        return _merge_map(original, patch, schema)
    if isinstance(patch, list) and "merge" in schema.patch_strategies:
        return _merge_list(original, patch, schema)
    return _without_directives(patch)


def _directed_map(patch: JsonObject) -> JsonObject:
    directive = patch[_DIRECTIVE]
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    raise InternalError(f"unknown patch type: {directive} in map: {go_map(patch)}")


def _retain_keys(original: JsonObject, patch: JsonObject) -> None:
    retained = patch.pop(_RETAIN, None)
    if retained is None:
        return
    for key in [key for key in original if key not in retained]:
        del original[key]


def _merge_ordered_lists(original: JsonObject, patch: JsonObject, schema: Schema) -> None:
    """Merge the lists whose order the patch fixes, and take both out of the patch."""
    for directive in [key for key in patch if key.startswith(_ORDER_PREFIX)]:
        order = patch.pop(directive)
        name = directive.removeprefix(_ORDER_PREFIX)
        before = original.get(name)
        changes = patch.pop(name, None)
        if before is None and changes is None:
            continue
        below = schema.member(name) or UNTYPED
        if changes is not None and below.merge_key:
            _refuse_other_order(changes, order, below.merge_key)
        if before is None:
            merged = _without_directives(changes)
        elif changes is None:
            merged = before
        else:
            merged = _merge_list(before, changes, below)
        original[name] = _ordered(merged, order, before or [], below.merge_key)


def _refuse_other_order(changes: list[Any], order: list[Any], key: str) -> None:
    named = [item for item in changes if _DIRECTIVE not in item]
    wanted = [item.get(key) for item in order]
    positions = [wanted.index(item.get(key)) for item in named if item.get(key) in wanted]
    if positions != sorted(positions) or len(positions) != len(named):
        raise InternalError(
            f"The order in patch list:\n{go_map(named)}\n doesn't match {_ORDER_PREFIX[:-1]} list:"
            f"\n{go_map(order)}\n"
        )


def _merge_list(original: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    if not original and not patch:
        return original
    if not isinstance((original or patch)[0], dict):
        merged = list(dict.fromkeys([*original, *patch]))
        return _ordered(merged, patch, original, "")
    key = schema.merge_key
    if not key:
        raise InternalError("cannot merge lists without merge key for the list")
    replaced, original, patch = _special_items(original, patch, key)
    if replaced:
        return patch
    merged = list(original)
    for item in patch:
        value = _key_of(item, key)
        at = next((i for i, old in enumerate(merged) if old.get(key) == value), None)
        if at is None:
            merged.append(_without_directives(item))
        else:
            merged[at] = _merge_map(merged[at], dict(item), schema.items)
    return _ordered(merged, patch, original, key)


def _special_items(
    original: list[Any], patch: list[Any], key: str
) -> tuple[bool, list[Any], list[Any]]:
    """Carry out `$patch` items; return whether the list is replaced, and what is left to merge."""
    kept, replaced = [], False
    for item in patch:
        directive = item.get(_DIRECTIVE)
        if directive is None:
            kept.append(item)
        elif directive == "delete":
            value = _key_of(item, key)
            original = [old for old in original if old.get(key) != value]
        elif directive == "replace":
            replaced = True
        elif directive == "merge":
            raise InternalError("merging lists cannot yet be specified in the patch")
        else:
            raise InternalError(f"unknown patch type: {directive} in map: {go_map(item)}")
    return replaced, original, kept


def _key_of(item: JsonObject, key: str) -> JsonValue:
    if key not in item:
        raise InternalError(f"map: {go_map(item)} does not contain declared merge key: {key}")
    return item[key]


def _ordered(
    merged: list[Any], patch_order: Sequence[Any], server_order: Sequence[Any], key: str
) -> list[Any]:
    """Return the items in the patch's order, others woven in where the server had them."""

    def position(order: Sequence[Any], item: Any) -> int:
        wanted = item.get(key) if key else item
        found = (old.get(key) if key else old for old in order)
        return next((i for i, value in enumerate(found) if value == wanted), -1)

    patched = [item for item in merged if position(patch_order, item) >= 0]
    patched.sort(key=lambda item: position(patch_order, item))
    others = [item for item in merged if position(patch_order, item) < 0]
    result: list[Any] = []
    while others and patched:
        left, right = position(server_order, others[0]), position(server_order, patched[0])
        goes_first = left >= 0 and right >= 0 and left < right
        result.append((others if goes_first else patched).pop(0))
    return [*result, *others, *patched]


def _without_directives(value: Any) -> JsonValue:
    if isinstance(value, dict):
        if value.get(_DIRECTIVE) == "delete":
            return {}
        return {
            key: _without_directives(part)
            for key, part in value.items()
            if part is not None and not key.startswith("$")
        }
    if isinstance(value, list):
        return [
            _without_directives(item)
            for item in value
            if not (isinstance(item, dict) and _DIRECTIVE in item)
        ]
    return value

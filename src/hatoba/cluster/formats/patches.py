"""JSON patch and JSON merge patch, with the refusals of a Kubernetes API server.

Spec: RFC 6902, RFC 7386. Where a server of Kubernetes 1.32 was recorded to differ from the RFC
(`replace` on an absent member, `test` of an absent member against null) it is followed.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

from hatoba.cluster.api.status import BadRequest, Invalid
from hatoba.kernel.json import JsonObject, JsonValue

_GO_KINDS: Final = {dict: "object", list: "array", str: "string", bool: "bool"}
REFUSED: Final = "the server rejected our request due to an error in our request"


def go_kind(value: JsonValue) -> str:
    """Return the word of Go's JSON decoder for what a value is."""
    return _GO_KINDS.get(type(value), "number")


def merge_patch(document: JsonValue, patch: JsonValue) -> JsonValue:
    """Return the document with a merge patch applied.

    Raises:
        BadRequest: the patch is not an object.
    """
    if patch is not None and not isinstance(patch, dict):
        raise BadRequest(
            f"error decoding patch: json: cannot unmarshal {go_kind(patch)}"
            " into Go value of type map[string]interface {}"
        )
    return _merged(document, patch or {})


def _merged(document: JsonValue, patch: JsonValue) -> JsonValue:
    if not isinstance(patch, dict):
        return deepcopy(patch)
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def json_patch(document: JsonObject, patch: JsonValue) -> JsonValue:
    """Return the document with a JSON patch applied.

    Raises:
        BadRequest: the patch is not a list of operations.
        Invalid: an operation cannot be done, or a test fails.
    """
    if not isinstance(patch, list):
        raise BadRequest(
            f"error decoding patch: json: cannot unmarshal {go_kind(patch)}"
            " into Go value of type []handlers.jsonPatchOp"
        )
    result: JsonValue = deepcopy(document)
    for operation in patch:
        try:
            result = _perform(result, operation)
        except (KeyError, ValueError, TypeError) as error:
            raise Invalid(REFUSED, bare_details=True) from error
    return result


def _perform(document: JsonValue, operation: JsonObject) -> JsonValue:
    perform = _OPERATIONS[operation["op"]]
    return perform(document, operation)


def _place(document: JsonValue, pointer: str) -> tuple[Any, Any]:
    """Return the container and the key (or index) that a pointer names; `-` is kept."""
    first, *parts = pointer.split("/")
    if first or not parts:
        raise ValueError(f"{pointer!r} names no place in a container")
    parts = [part.replace("~1", "/").replace("~0", "~") for part in parts]
    container = document
    for part in parts[:-1]:
        container = container[_index(container, part)]
    if not isinstance(container, dict | list):
        raise TypeError(f"{pointer} does not lie in an object or a list")
    return container, parts[-1]


def _index(container: Any, part: str) -> Any:
    if isinstance(container, dict):
        return part
    index = int(part)
    if not -len(container) <= index < len(container):
        raise ValueError(f"index {part} is out of range")
    return index


def _read(document: JsonValue, pointer: str) -> JsonValue:
    if not pointer:
        return document
    container, part = _place(document, pointer)
    return container[_index(container, part)]


def _add(document: JsonValue, operation: JsonObject) -> JsonValue:
    return _put(document, operation["path"], deepcopy(operation["value"]))


def _put(document: JsonValue, pointer: str, value: JsonValue) -> JsonValue:
    if not pointer:
        return value
    container, part = _place(document, pointer)
    if isinstance(container, dict):
        container[part] = value
    elif part == "-":
        container.append(value)
    else:
        index = int(part)
        if not -len(container) <= index <= len(container):
            raise ValueError(f"index {part} is out of range")
        container.insert(index, value)
    return document


def _remove(document: JsonValue, operation: JsonObject) -> JsonValue:
    container, part = _place(document, operation["path"])
    del container[_index(container, part)]
    return document


def _replace(document: JsonValue, operation: JsonObject) -> JsonValue:
    value = deepcopy(operation["value"])
    if not operation["path"]:
        return value
    container, part = _place(document, operation["path"])
    container[_index(container, part)] = value
    return document


def _move(document: JsonValue, operation: JsonObject) -> JsonValue:
    value = _read(document, operation["from"])
    _remove(document, {"path": operation["from"]})
    return _put(document, operation["path"], value)


def _copy(document: JsonValue, operation: JsonObject) -> JsonValue:
    return _put(document, operation["path"], deepcopy(_read(document, operation["from"])))


def _test(document: JsonValue, operation: JsonObject) -> JsonValue:
    try:
        found = _read(document, operation["path"])
    except KeyError:
        found = None
    if not same_json(found, operation.get("value")):
        raise ValueError(f"test failed at {operation['path']}")
    return document


def same_json(left: JsonValue, right: JsonValue) -> bool:
    """Whether two values are the same JSON: `true` is not 1."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


_OPERATIONS: Final[dict[str, Callable[[JsonValue, JsonObject], JsonValue]]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}

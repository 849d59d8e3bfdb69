"""Sets of field paths, and their wire form FieldsV1.

Spec: Kubernetes "Server-Side Apply", field management. A path is a tuple of steps in the notation
of FieldsV1: `f:name` for a member, `k:{"name":"a"}` for the item of a keyed list, `v:"x"` for a
member of a set. A set holds each path that is owned itself; owning a container (`"."` on the wire)
and owning what lies in it are separate.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from hatoba.kernel.json import JsonObject, JsonValue

Path: TypeAlias = tuple[str, ...]
PathSet: TypeAlias = frozenset[Path]
EMPTY: Final[PathSet] = frozenset()
_SELF: Final = "."
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False)
"""Made once: `json.dumps` makes one for each call that asks for another form than its own."""


def compact(value: JsonValue) -> str:
    """Return JSON without spaces, keys sorted."""
    return _COMPACT.encode(value)


def member_step(name: str) -> str:
    """Return the step to a member of an object."""
    return f"f:{name}"


def key_step(keys: Mapping[str, JsonValue]) -> str:
    """Return the step to an item of a keyed list."""
    return f"k:{compact(dict(keys))}"


def value_step(value: JsonValue) -> str:
    """Return the step to a member of a set."""
    return f"v:{compact(value)}"


def encode(paths: Iterable[Path]) -> JsonObject:
    """Return the FieldsV1 document of a set of paths."""
    root: JsonObject = {}
    for path in sorted(paths):
        node = root
        for step in path:
            node = node.setdefault(step, {})
        node[_SELF] = {}
    return _without_lone_dots(root)


def _without_lone_dots(node: JsonObject) -> JsonObject:
    if set(node) == {_SELF}:
        return {}
    return {step: _without_lone_dots(below) if below else below for step, below in node.items()}


def decode(fields: JsonObject) -> PathSet:
    """Return the set of paths of a FieldsV1 document."""
    found: set[Path] = set()
    _decode(fields, (), found)
    return frozenset(found)


def _decode(node: JsonObject, path: Path, found: set[Path]) -> None:
    for step, below in node.items():
        if step == _SELF:
            found.add(path)
        elif below:
            _decode(below, (*path, step), found)
        else:
            found.add((*path, step))


def show(path: Path) -> str:
    """Return a path as messages name it: `.spec.ports[port=80].name`."""
    return "".join(map(_show_step, path))


def _show_step(step: str) -> str:
    kind, _, text = step.partition(":")
    if kind == "f":
        return f".{text}"
    if kind == "k":
        keys = ",".join(f"{name}={compact(value)}" for name, value in json.loads(text).items())
        return f"[{keys}]"
    if kind == "v":
        return f"[={text}]"
    return f"[{text}]"

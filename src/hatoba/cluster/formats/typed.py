"""Objects seen through their schema: which fields they set, how two differ, how they merge.

Spec: the structured merge that server-side apply rests on: members of objects, items of keyed
lists and members of sets are fields of their own; what is atomic is one field. Values without a
schema merge member by member, their lists are atomic.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from hatoba.cluster.formats.fieldsets import Path, PathSet, key_step, member_step, show, value_step
from hatoba.cluster.formats.schema import UNTYPED, Schema
from hatoba.kernel.errors import InvalidInput
from hatoba.kernel.json import JsonObject, JsonValue


class Untypable(InvalidInput):
    """A value does not fit its schema so far that its fields cannot be told apart."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{show(path)}: {why}" if path else why)


class _Missing:
    """Nothing stands here; null is something."""


MISSING: Final = _Missing()


@dataclass(slots=True, frozen=True, kw_only=True)
class Difference:
    """The fields in which an object differs from an earlier one."""

    added: PathSet
    modified: PathSet
    removed: PathSet


@dataclass(slots=True)
class _Changes:
    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)


def _is_atomic(value: Any, schema: Schema) -> bool:
    if isinstance(value, list):
        return schema.list_type == "atomic"
    return isinstance(value, dict) and schema.is_atomic_map


def _below(schema: Schema, name: str) -> Schema:
    return schema.member(name) or UNTYPED


def item_step(item: JsonValue, schema: Schema, path: Path = (), index: int = 0) -> str:
    """Return the step from a list (of this schema) to one of its items.

    Raises:
        Untypable: the item lacks a key that has no default.
    """
    if schema.list_type == "set":
        return value_step(item)
    if not isinstance(item, dict):
        raise Untypable(
            path, f"element {index}: associative list with keys may not have non-map elements"
        )
    keys = {}
    for key in schema.map_keys:
        value = item.get(key)
        if value is None:
            value = schema.items.key_default(key)
        if value is None:
            raise Untypable(
                path,
                f"element {index}: associative list with keys has an element that omits key field"
                f' "{key}" (and doesn\'t have default value)',
            )
        keys[key] = value
    return key_step(keys)


def _indexed(items: Iterable[JsonValue], schema: Schema) -> dict[str, JsonValue]:
    """Return the items of a list by their steps; of equal steps the first counts."""
    found: dict[str, JsonValue] = {}
    for index, item in enumerate(items):
        found.setdefault(item_step(item, schema, (), index), item)
    return found


# --- which fields an object sets


def field_set(obj: JsonObject, schema: Schema) -> PathSet:
    """Return the fields that an applied object claims.

    Raises:
        Untypable: a list has two items with the same key, or an item without one.
    """
    found: set[Path] = set()
    _collect(obj, schema, (), found)
    found.discard(())
    return frozenset(found)


def _collect(value: Any, schema: Schema, path: Path, found: set[Path]) -> None:
    if isinstance(value, dict):
        if not value or _is_atomic(value, schema):
            found.add(path)
            return
        for name, part in value.items():
            here = (*path, member_step(name))
            if name not in schema.properties:
                found.add(here)
            _collect(part, _below(schema, name), here, found)
    elif isinstance(value, list) and not _is_atomic(value, schema):
        _collect_items(value, schema, path, found)
    elif value is not None or schema.type not in {"object", "array"}:
        found.add(path)


def _collect_items(items: list[Any], schema: Schema, path: Path, found: set[Path]) -> None:
    seen = set()
    for index, item in enumerate(items):
        step = item_step(item, schema, path, index)
        if step in seen:
            raise Untypable(path, f"duplicate entries for key {show((step,))}")
        seen.add(step)
        here = (*path, step)
        found.add(here)
        _collect(item, schema.items, here, found)


# --- how two objects differ


def compare(before: JsonObject, after: JsonObject, schema: Schema) -> Difference:
    """Return what changed; a new container counts as added along with what is in it."""
    changes = _Changes()
    _compare(before, after, schema, (), changes)
    for paths in (changes.added, changes.modified, changes.removed):
        paths.discard(())
    return Difference(
        added=frozenset(changes.added),
        modified=frozenset(changes.modified),
        removed=frozenset(changes.removed),
    )


def _compare(before: Any, after: Any, schema: Schema, path: Path, changes: _Changes) -> None:
    shape = before if after is MISSING or after is None else after
    if not isinstance(shape, dict | list) or _is_atomic(shape, schema):
        _compare_leaf(before, after, path, changes)
        return
    parts_before, parts_after = _parts(before, shape, schema), _parts(after, shape, schema)
    if parts_before is None or parts_after is None or not (parts_before or parts_after):
        _compare_leaf(before, after, path, changes)
        return
    for step in {**parts_before, **parts_after}:
        below = _below(schema, step[2:]) if isinstance(shape, dict) else schema.items
        _compare(
            parts_before.get(step, MISSING),
            parts_after.get(step, MISSING),
            below,
            (*path, step),
            changes,
        )
    if before is MISSING:
        changes.added.add(path)
    elif after is MISSING:
        changes.removed.add(path)


def _parts(value: Any, shape: Any, schema: Schema) -> dict[str, Any] | None:
    """Return the parts of a container by their steps; None when it is of another shape."""
    if value is MISSING or value is None:
        return {}
    if isinstance(value, dict) and isinstance(shape, dict):
        return {member_step(name): part for name, part in value.items()}
    if isinstance(value, list) and isinstance(shape, list):
        return _indexed(value, schema)
    return None


def _compare_leaf(before: Any, after: Any, path: Path, changes: _Changes) -> None:
    if before is MISSING:
        changes.added.add(path)
    elif after is MISSING:
        changes.removed.add(path)
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        changes.modified.add(path)


# --- how two objects merge


def merge(live: JsonValue, config: JsonValue, schema: Schema) -> JsonValue:
    """Return the live value with everything that the config says laid over it."""
    if isinstance(live, dict) and live and config is None:
        return live
    if isinstance(live, dict) and isinstance(config, dict) and not _is_atomic(config, schema):
        merged = dict(live)
        for name, part in config.items():
            merged[name] = (
                merge(live[name], part, _below(schema, name)) if name in live else deepcopy(part)
            )
        return merged
    if isinstance(live, list) and isinstance(config, list) and not _is_atomic(config, schema):
        return _merge_items(live, config, schema)
    return deepcopy(config)


def _merge_items(live: list[Any], config: list[Any], schema: Schema) -> list[Any]:
    """Merge by keys; config's order rules among its items, the others stay where they were."""
    left = _indexed(live, schema)
    right = _indexed(config, schema)
    pending, wanted = list(left), list(right)
    shared = [step for step in wanted if step in left]
    done: set[str] = set()
    order: list[str] = []

    def take(step: str) -> None:
        done.add(step)
        order.append(step)
        wanted.pop(0)
        if shared and shared[0] == step:
            shared.pop(0)

    while pending or wanted:
        if pending and wanted and pending[0] == wanted[0]:
            take(pending.pop(0))
            continue
        if pending and wanted and pending[0] in right and shared and shared[0] != pending[0]:
            pending.pop(0)
            continue
        if pending and pending[0] not in right:
            order.append(pending.pop(0))
            continue
        if pending and pending[0] in done:
            pending.pop(0)
        if wanted:
            take(wanted[0])
    return [_merge_item(step, left, right, schema) for step in order]


def _merge_item(
    step: str, left: dict[str, JsonValue], right: dict[str, JsonValue], schema: Schema
) -> JsonValue:
    if step not in right:
        return left[step]
    if step not in left:
        return deepcopy(right[step])
    return merge(left[step], right[step], schema.items)


# --- what is left when fields are taken away


def without(obj: JsonObject, paths: PathSet, schema: Schema) -> JsonObject:
    """Return the object without the fields; a container that was emptied by it goes too."""
    containers = {path[:length] for path in paths for length in range(len(path))}
    found = _without(obj, paths, containers, schema, ())
    return found if isinstance(found, dict) else {}


def _without(
    value: Any, paths: PathSet, containers: set[Path], schema: Schema, path: Path
) -> JsonValue:
    if path not in containers or _is_atomic(value, schema):
        return value
    if isinstance(value, dict):
        kept: JsonObject = {}
        for name, part in value.items():
            here = (*path, member_step(name))
            if here not in paths:
                left = _without(part, paths, containers, _below(schema, name), here)
                if left is not MISSING:
                    kept[name] = left
        return kept if kept or not value else MISSING
    if isinstance(value, list):
        items = []
        for index, item in enumerate(value):
            here = (*path, item_step(item, schema, path, index))
            if here not in paths:
                items.append(_without(item, paths, containers, schema.items, here))
        return [item for item in items if item is not MISSING] or MISSING
    return value


def with_declared_parents(paths: PathSet, schema: Schema) -> PathSet:
    """Return the paths and every declared member on the way to them."""
    known: dict[Path, Schema] = {(): schema}
    found = set(paths)
    for path in paths:
        for length in range(1, len(path)):
            parent, here, step = path[: length - 1], path[:length], path[length - 1]
            above = known[parent]
            is_member = step.startswith("f:")
            if here not in known:
                known[here] = _below(above, step[2:]) if is_member else above.items
            if is_member and step[2:] in above.properties:
                found.add(here)
    return frozenset(found)

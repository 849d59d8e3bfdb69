"""Server-side apply: a manager states what it wants, and owns what it stated.

Spec: Kubernetes "Server-Side Apply"; conflicts are worded as a 1.32 server words them. The result
still needs defaults and validation; `finish_apply` then tells whether anything changed at all.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Final

from hatoba.cluster.api.status import BadRequest, Cause, InternalError, ObjectConflict
from hatoba.cluster.formats.blanks import blank
from hatoba.cluster.formats.fieldsets import EMPTY, Path, PathSet, member_step, show
from hatoba.cluster.formats.lastapplied import given_up, keep_last_applied
from hatoba.cluster.formats.ownership import (
    BEFORE_FIRST_APPLY,
    Entry,
    Managed,
    Owner,
    Writer,
    applier,
    bare,
    read_managed,
    settled,
    time_of,
    updater,
    write_managed,
    yielded,
)
from hatoba.cluster.formats.schema import Schema
from hatoba.cluster.formats.typed import (
    Untypable,
    compare,
    field_set,
    item_step,
    merge,
    with_declared_parents,
    without,
)
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.json import JsonObject, JsonValue

_EXPECTED: Final[dict[str, tuple[type | tuple[type, ...], str]]] = {
    "integer": ((int, float), "numeric (int or float)"),
    "number": ((int, float), "numeric (int or float)"),
    "string": (str, "string"),
    "boolean": (bool, "boolean"),
    "object": (dict, "map"),
    "array": (list, "list"),
}
_GO_TYPES: Final = {
    str: "string",
    bool: "boolean",
    int: "int",
    float: "float",
    list: "list",
    dict: "map",
}


def apply(
    live: JsonObject | None,
    applied: JsonObject,
    *,
    schema: Schema,
    writer: Writer,
    force: bool = False,
    ignored: frozenset[str] = frozenset(),
) -> JsonObject:
    """Return the live object (None: there is none) with the applied one merged into it.

    `ignored` are top-level members that the endpoint does not write (`status` on the main one).

    Raises:
        BadRequest: the applied object carries managedFields.
        InternalError: it does not fit the schema (a real server says 500).
        ObjectConflict: it changes what others own, and `force` is not set.
    """
    metadata = dict(applied.get("metadata") or {})
    if metadata.get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    if metadata.get("creationTimestamp", "") is None:
        del metadata["creationTimestamp"]
    stated = {k: v for k, v in applied.items() if k not in ignored} | {"metadata": metadata}
    wanted = _stated_fields(stated, applied, schema)
    base = bare(live) if live is not None else {}
    managed = _entries_before(live, schema, writer)
    owner = applier(writer)
    last = managed[owner].fields if owner in managed else EMPTY
    managed[owner] = Entry(
        fields=wanted,
        api_version=writer.api_version,
        time=managed[owner].time if owner in managed else None,
    )
    merged: JsonObject = _object(merge(base, stated, schema))
    merged = _pruned(merged, managed, last, schema)
    change = compare(base, merged, schema)
    if not force:
        taken = (change.added | change.modified) - given_up(base, schema, manager=writer.manager)
        _refuse_conflicts(managed, taken, owner)
    managed = settled(yielded(managed, change, to=owner))
    if owner in managed and merged != base:
        managed[owner] = replace(managed[owner], time=time_of(writer))
    return write_managed(keep_last_applied(merged, stated, manager=writer.manager), managed)


def finish_apply(live: JsonObject | None, result: JsonObject) -> JsonObject:
    """Return the live object itself when the result differs in timestamps of entries at most."""
    if live is None or bare(live) != bare(result):
        return result
    return live if _timeless(live) == _timeless(result) else result


def _timeless(obj: JsonObject) -> dict[Owner, Entry]:
    return {owner: replace(entry, time=None) for owner, entry in read_managed(obj).items()}


def _object(value: JsonValue) -> JsonObject:
    found: JsonObject = deepcopy(value)
    return found


def _stated_fields(stated: JsonObject, applied: JsonObject, schema: Schema) -> PathSet:
    misfits = list(_misfits(stated, schema, ()))
    if not misfits:
        return field_set(stated, schema)
    metadata = applied.get("metadata") or {}
    title = (
        f"{metadata.get('namespace', '')}/{metadata.get('name', '')};"
        f" {applied.get('apiVersion', '')}, Kind={applied.get('kind', '')}"
    )
    listed = "\n  ".join(["errors:", *misfits]) if len(misfits) > 1 else misfits[0]
    raise InternalError(f"failed to create typed patch object ({title}): {listed}")


def _misfits(value: JsonValue, schema: Schema, path: Path) -> Iterator[str]:
    """Yield why a value does not fit its schema, each with its path."""
    if isinstance(value, dict) and not schema.is_scalar:
        for name in sorted(value):
            here = (*path, member_step(name))
            below = schema.member(name)
            if below is None:
                yield f"{show(here)}: field not declared in schema"
            else:
                yield from _misfits(value[name], below, here)
    elif isinstance(value, list) and schema.type == "array":
        yield from _misfit_items(value, schema, path)
    elif why := _mismatch(value, schema):
        yield f"{show(path)}: {why}"


def _misfit_items(items: list[JsonValue], schema: Schema, path: Path) -> Iterator[str]:
    seen = set()
    for index, item in enumerate(items):
        if schema.list_type == "atomic":
            yield from _misfits(item, schema.items, (*path, f"i:{index}"))
            continue
        try:
            step = item_step(item, schema, path, index)
        except Untypable as error:
            yield error.message
            continue
        if step in seen:
            yield f"{show(path)}: duplicate entries for key {show((step,))}"
        seen.add(step)
        yield from _misfits(item, schema.items, (*path, step))


def _mismatch(value: JsonValue, schema: Schema) -> str:
    if value is None or schema.is_int_or_string or schema.type not in _EXPECTED:
        return ""
    accepted, name = _EXPECTED[schema.type]
    is_bool = isinstance(value, bool)
    if isinstance(value, accepted) and is_bool == (schema.type == "boolean"):
        return ""
    return f"expected {name}, got {_GO_TYPES.get(type(value), 'unknown')}"


def _entries_before(live: JsonObject | None, schema: Schema, writer: Writer) -> Managed:
    """Return the live entries; what nobody is known to own belongs to whoever came before."""
    managed = read_managed(live)
    if live is None or managed:
        return managed
    earlier = updater(replace(writer, manager=BEFORE_FIRST_APPLY, subresource=""))
    change = compare(blank(live), bare(live), schema)
    fields = change.added | change.modified
    entry = Entry(fields=fields, api_version=writer.api_version, time=rfc3339(writer.now))
    return settled({earlier: entry})


def _pruned(merged: JsonObject, managed: Managed, last: PathSet, schema: Schema) -> JsonObject:
    """Take away what this manager stated last time, not now, and what nobody else owns."""
    if not last:
        return merged
    before = with_declared_parents(last, schema)
    present = with_declared_parents(field_set_of_live(merged, schema), schema)
    rest = without(merged, before, schema)
    kept = with_declared_parents(field_set_of_live(rest, schema), schema)
    for entry in managed.values():
        kept |= with_declared_parents(entry.fields, schema)
    return without(merged, (present - kept) & before, schema)


def field_set_of_live(obj: JsonObject, schema: Schema) -> PathSet:
    """Return the fields that an object has, stated or not."""
    return compare({}, obj, schema).added if obj else EMPTY


def _refuse_conflicts(managed: Managed, taken: PathSet, owner: Owner) -> None:
    conflicts = sorted(
        (other.title, show(path))
        for other, entry in managed.items()
        if other != owner
        for path in entry.fields & taken
    )
    if not conflicts:
        return
    causes = [
        Cause(reason="FieldManagerConflict", message=f"conflict with {title}", field=path)
        for title, path in conflicts
    ]
    raise ObjectConflict(_conflict_message(conflicts), causes=causes)


def _conflict_message(conflicts: list[tuple[str, str]]) -> str:
    if len(conflicts) == 1:
        ((title, path),) = conflicts
        return f"Apply failed with 1 conflict: conflict with {title}: {path}"
    lines = []
    for title in dict.fromkeys(title for title, _ in conflicts):
        lines.append(f"conflicts with {title}:")
        lines += [f"- {path}" for other, path in conflicts if other == title]
    listed = "\n".join(lines)
    return f"Apply failed with {len(conflicts)} conflicts: {listed}"

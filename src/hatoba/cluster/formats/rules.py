"""Rules of custom resources in CEL: `x-kubernetes-validations`.

Spec: Kubernetes "Custom Resources", validation rules. Rules see `self`, transition rules also
`oldSelf` where the earlier value can be found. Kubernetes' own function libraries (URLs,
quantities, IP addresses) are not offered: a rule that calls one fails, saying so. Rules are
compiled without types, so that one over undeclared members is found only when it is evaluated.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import cel

from hatoba.cluster.api.status import Cause
from hatoba.cluster.formats.schema import Schema
from hatoba.cluster.formats.typed import MISSING, Untypable, item_step
from hatoba.cluster.formats.values import json_type
from hatoba.kernel.json import JsonObject, JsonValue

_RULES: Final = "x-kubernetes-validations"
_HEAD: Final = frozenset({"apiVersion", "kind", "metadata"})
_OLD: Final = "oldSelf"


@lru_cache(maxsize=512)
def _program(rule: str) -> Any:
    return cel.compile(rule)


def rule_faults(obj: JsonObject, old: JsonObject | None, schema: Schema) -> list[Cause]:
    """Return the rules that an object breaks; its values are known to have the right types."""
    return list(_faults(obj, MISSING if old is None else old, schema, ""))


def _faults(value: Any, old: Any, schema: Schema, path: str) -> Iterator[Cause]:
    for rule in schema.raw.get(_RULES) or ():
        yield from _apply(rule, value, old, path)
    if isinstance(value, dict):
        for name in sorted(value):
            below = schema.member(name)
            if below is not None and (path or name not in _HEAD):
                before = old.get(name, MISSING) if isinstance(old, dict) else MISSING
                yield from _faults(value[name], before, below, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        earlier = _earlier(old, schema)
        for index, item in enumerate(value):
            before = earlier.get(_step(item, schema), MISSING)
            yield from _faults(item, before, schema.items, f"{path}[{index}]")


def _earlier(old: Any, schema: Schema) -> dict[str, Any]:
    """Return the earlier items by key; only keyed lists have items that can be found again."""
    if not isinstance(old, list) or schema.list_type != "map":
        return {}
    return {_step(item, schema): item for item in old}


def _step(item: JsonValue, schema: Schema) -> str:
    if schema.list_type != "map":
        return ""
    try:
        return item_step(item, schema)
    except Untypable:
        return ""


def _apply(rule: JsonObject, value: Any, old: Any, path: str) -> Iterator[Cause]:
    text: str = rule["rule"]
    known = {"self": value}
    if _OLD in text:
        if old is MISSING:
            return
        known[_OLD] = old
    message = rule.get("message") or f"failed rule: {text}"
    try:
        met = _program(text).execute(known)
    except KeyError as error:
        yield _broken(path, value, f"no such key: {error.args[0]} evaluating rule: {message}", rule)
    except (RuntimeError, TypeError, ValueError) as error:
        yield _broken(path, value, f"{error} evaluating rule: {message}", rule)
    else:
        if met is not True:
            yield _broken(path, value, message, rule)


def _broken(path: str, value: JsonValue, why: str, rule: JsonObject) -> Cause:
    field = f"{path}{rule.get('fieldPath') or ''}" or "<nil>"
    return Cause(
        reason=rule.get("reason") or "FieldValueInvalid",
        message=f'Invalid value: "{json_type(value)}": {why}',
        field=field,
    )

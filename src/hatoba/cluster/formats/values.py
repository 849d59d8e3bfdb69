"""Single values against a schema: type, bounds, patterns, formats, in the words of the API.

Spec: OpenAPI 3.0 schema object as far as structural schemas may use it.
"""

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from hatoba.cluster.api.status import Cause
from hatoba.cluster.formats.durations import parse_time
from hatoba.cluster.formats.schema import Schema
from hatoba.kernel.json import JsonValue

_TYPES: Final = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}
_ACCEPTED: Final = {"number": {"number", "integer"}}


def json_type(value: JsonValue) -> str:
    """Return the JSON type of a value, whole numbers being `integer`."""
    return "null" if value is None else _TYPES.get(type(value), "number")


def shown(value: JsonValue) -> str:
    """Return a value as sentences quote it, strings without quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def go_value(value: JsonValue) -> str:
    """Return a value as Go's `%#v` prints it, which is how duplicates are quoted."""
    if isinstance(value, dict):
        parts = (f"{json.dumps(key)}:{go_value(part)}" for key, part in sorted(value.items()))
        return f"map[string]interface {{}}{{{', '.join(parts)}}}"
    if isinstance(value, str):
        return json.dumps(value)
    return shown(value)


def value_faults(value: JsonValue, schema: Schema, path: str) -> list[Cause]:
    """Return what is wrong with a value by itself, not with what lies in it."""
    wrong_type = _type_faults(value, schema, path)
    if wrong_type:
        return wrong_type
    return [*_enum_faults(value, schema, path), *_bound_faults(value, schema, path)]


def _type_faults(value: JsonValue, schema: Schema, path: str) -> list[Cause]:
    found = json_type(value)
    if schema.is_int_or_string:
        return [] if found in {"integer", "string"} else _neither(found, schema, path)
    wanted = schema.type
    if not wanted or found in _ACCEPTED.get(wanted, {wanted}):
        return _format_faults(value, schema, path)
    if wanted == "integer" and isinstance(value, float) and value.is_integer():
        return []
    return [_of_type(path, wanted, found)]


def _of_type(path: str, wanted: str, found: str) -> Cause:
    return Cause(
        reason="FieldValueTypeInvalid",
        message=f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"',
        field=path,
    )


def _neither(found: str, schema: Schema, path: str) -> list[Cause]:
    causes = [_of_type(path, "integer,string", found)]
    if schema.raw.get("anyOf"):
        causes.append(
            Cause(
                reason="FieldValueInvalid",
                message=f'Invalid value: "": "{path}" must validate at least one schema (anyOf)',
                field="<nil>",
            )
        )
        causes.append(_of_type(path, "integer", found))
    return causes


def _enum_faults(value: JsonValue, schema: Schema, path: str) -> Iterator[Cause]:
    allowed = schema.raw.get("enum")
    if allowed is None or value in allowed:
        return
    listed = ", ".join(json.dumps(one) for one in allowed)
    yield Cause(
        reason="FieldValueNotSupported",
        message=f"Unsupported value: {json.dumps(value)}: supported values: {listed}",
        field=path,
    )


def _bound_faults(value: JsonValue, schema: Schema, path: str) -> Iterator[Cause]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield from _number_faults(value, schema, path)
    elif isinstance(value, str):
        yield from _text_faults(value, schema, path)
    else:
        yield from _size_faults(value, schema, path)


def _invalid(path: str, value: str, why: str) -> Cause:
    return Cause(
        reason="FieldValueInvalid",
        message=f"Invalid value: {value}: {path} in body should {why}",
        field=path,
    )


def _number_faults(value: float, schema: Schema, path: str) -> Iterator[Cause]:
    raw = schema.raw
    least, most, step = raw.get("minimum"), raw.get("maximum"), raw.get("multipleOf")
    shown_value = json.dumps(value)
    if most is not None:
        if raw.get("exclusiveMaximum") and value >= most:
            yield _invalid(path, shown_value, f"be less than {most}")
        elif value > most:
            yield _invalid(path, shown_value, f"be less than or equal to {most}")
    if least is not None:
        if raw.get("exclusiveMinimum") and value <= least:
            yield _invalid(path, shown_value, f"be greater than {least}")
        elif value < least:
            yield _invalid(path, shown_value, f"be greater than or equal to {least}")
    if step and value % step:
        yield _invalid(path, shown_value, f"be a multiple of {step}")


def _text_faults(value: str, schema: Schema, path: str) -> Iterator[Cause]:
    raw, quoted = schema.raw, json.dumps(value, ensure_ascii=False)
    longest, shortest = raw.get("maxLength"), raw.get("minLength")
    if longest is not None and len(value) > longest:
        yield Cause(
            reason="FieldValueTooLong",
            message=f"Too long: may not be more than {longest} bytes",
            field=path,
        )
    if shortest is not None and len(value) < shortest:
        yield _invalid(path, quoted, f"be at least {shortest} chars long")
    pattern = raw.get("pattern")
    if pattern and not re.search(pattern, value):
        yield _invalid(path, quoted, f"match '{pattern}'")


def _size_faults(value: list[Any] | dict[str, Any], schema: Schema, path: str) -> Iterator[Cause]:
    word = "items" if isinstance(value, list) else "properties"
    most = schema.raw.get("maxItems" if word == "items" else "maxProperties")
    least = schema.raw.get("minItems" if word == "items" else "minProperties")
    if most is not None and len(value) > most:
        yield Cause(
            reason="FieldValueTooMany",
            message=f"Too many: {len(value)}: must have at most {most} items",
            field=path,
        )
    if least is not None and len(value) < least:
        yield _invalid(path, str(len(value)), f"have at least {least} {word}")


def _format_faults(value: JsonValue, schema: Schema, path: str) -> list[Cause]:
    check = _FORMATS.get(schema.format)
    if check is None or not isinstance(value, str):
        return []
    try:
        check(value)
    except (ValueError, binascii.Error):
        message = f'Invalid value: "{value}": {path} in body must be of type {schema.format}'
        return [Cause(reason="FieldValueInvalid", message=f'{message}: "{value}"', field=path)]
    return []


def _uuid(text: str) -> None:
    if not re.fullmatch(r"(?i)[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", text):
        raise ValueError(text)


_FORMATS: Final[dict[str, Callable[[str], object]]] = {
    "date-time": parse_time,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "cidr": lambda text: ipaddress.ip_network(text, strict=False),
    "byte": lambda text: base64.b64decode(text, validate=True),
    "uuid": _uuid,
}

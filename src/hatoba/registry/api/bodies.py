"""Reading JSON bodies into msgspec structs, with the complaints of Quay's JSON schema validator.

Only the first line of such a complaint is contract: `'name' is a required property`,
`5 is not of type 'string'`, `'x' is not one of ['a', 'b']`, `'...' is too long`.
"""

import json
import re
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from starlette.requests import Request

from hatoba.kernel.text import is_storable
from hatoba.registry.api.problems import (
    BadRequest,
    BodyTooLarge,
    PlainBadRequest,
    UnsupportedBody,
)

Body = TypeVar("Body")
MAXIMUM_BODY_BYTES: Final = 1 << 20
"""The largest body that the API reads; the longest one that it knows holds a description."""

_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_BOUND = re.compile(r"Expected `(?:int|float)` (>=|<=) (-?\d+)")
_AT = re.compile(r" - at `\$([^`]*)`$")
_EXPECTED = re.compile(r"Expected `([^`]*)`, got `")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]")
_TYPES: Final = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "object": "object",
    "array": "array",
    "null": "null",
}


async def read_body(request: Request) -> bytes:
    """Read a request's body.

    Raises:
        BodyTooLarge: it is longer than MAXIMUM_BODY_BYTES.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAXIMUM_BODY_BYTES:
            raise BodyTooLarge(f"A body may hold {MAXIMUM_BODY_BYTES} bytes at most.")
    return bytes(content)


def parse_body(raw: bytes, *, content_type: str, into: type[Body]) -> Body:
    """Read a body.

    Raises:
        UnsupportedBody: it is not declared as JSON.
        PlainBadRequest: it is not JSON, or `null`.
        BadRequest: it is JSON of another shape.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedBody
    try:
        decoded = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise PlainBadRequest(
            "The browser (or proxy) sent a request that this server could not understand."
        ) from error
    if decoded is None:
        raise BadRequest("Missing JSON body")
    if not _is_storable_throughout(decoded):
        raise BadRequest("Texts must be Unicode without NUL")
    try:
        return msgspec.convert(decoded, into, strict=True)
    except msgspec.ValidationError as error:
        raise BadRequest(_complaint(str(error), decoded, into)) from error


def _is_storable_throughout(decoded: Any) -> bool:
    waiting = [decoded]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if not is_storable(value):
                return False
        elif isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value
    return True


def _complaint(message: str, decoded: Any, into: Any) -> str:
    at = _AT.search(message)
    path = at.group(1) if at else ""
    missing = _MISSING.search(message)
    if missing:
        return f"'{missing.group(1)}' is a required property"
    fault = _fault(message, into, path)
    return message if fault is None else f"{_value_at(decoded, path)!r} {fault}"


def _fault(message: str, into: Any, path: str) -> str | None:
    """Say what is wrong with a value; None when msgspec's own words have to do."""
    fault = None
    if message.startswith("Invalid enum value"):
        fault = f"is not one of {_choices(into, path)!r}"
    elif "length <=" in message:
        fault = "is too long"
    elif "length >=" in message:
        fault = "is too short"
    elif bound := _BOUND.search(message):
        side = "less than the minimum" if bound.group(1) == ">=" else "greater than the maximum"
        fault = f"is {side} of {bound.group(2)}"
    elif expected := _EXPECTED.search(message):
        names = [_TYPES.get(name, name) for name in expected.group(1).split(" | ")]
        fault = "is not of type " + ", ".join(f"'{name}'" for name in names)
    return fault


def _value_at(decoded: Any, path: str) -> Any:
    for key, index in _STEP.findall(path):
        decoded = decoded[key] if key else decoded[int(index)]
    return decoded


def _choices(into: Any, path: str) -> list[Any]:
    """Return the literal values that the field at a path may have."""
    current: Any = into
    for key, _ in _STEP.findall(path):
        current = get_type_hints(_struct_in(current)).get(key) if key else get_args(current)[0]
    found: list[Any] = []
    for choice in [current, *get_args(current)]:
        if get_origin(choice) is Literal:
            found += get_args(choice)
    return found


def _struct_in(kind: Any) -> Any:
    """Return the struct that a field may hold: itself, or its alternative in a union."""
    structs = [one for one in get_args(kind) if hasattr(one, "__struct_fields__")]
    return structs[0] if structs else kind

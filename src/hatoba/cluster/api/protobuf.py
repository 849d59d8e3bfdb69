r"""Kubernetes protobuf request bodies, as kubectl 1.32 and later sends for built-in kinds.

Spec: Kubernetes API concepts, "Kubernetes Protobuf encoding": the magic `k8s\0` and a
`runtime.Unknown` around the object; field numbers are those of the published `generated.proto`
files (`messages`). A field that the tables do not know is refused, never dropped. Answers are
always JSON.
"""

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from hatoba.cluster.api.messages import KINDS, MESSAGES, Field
from hatoba.cluster.api.status import BadRequest, UnsupportedMediaType
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.json import JsonObject

MAGIC: Final = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIGN_BIT: Final = 1 << 63


class _Truncated(Exception):
    pass


def decode_protobuf(data: bytes) -> JsonObject:
    """Decode a body.

    Raises:
        BadRequest: it is not what it claims to be.
        UnsupportedMediaType: the kind, or a field of it, is not known in this encoding.
    """
    if not data.startswith(MAGIC):
        raise BadRequest("provided data does not appear to be a protobuf message")
    try:
        envelope = _message(data[len(MAGIC) :], "Unknown")
        meta = envelope.get("typeMeta", {})
        group, _, version = meta.get("apiVersion", "").rpartition("/")
        kind = meta.get("kind", "")
        name = KINDS.get((group, version, kind))
        if name is None:
            raise _unsupported(f"{kind} of {group}/{version}")
        raw = base64.b64decode(envelope.get("raw", ""))
        return {"apiVersion": meta["apiVersion"], "kind": kind, **_message(raw, name)}
    except (_Truncated, UnicodeDecodeError) as error:
        raise BadRequest("unexpected EOF in a protobuf message") from error


def _unsupported(what: str) -> UnsupportedMediaType:
    return UnsupportedMediaType(
        f"protobuf bodies with {what} are not understood here: use --dry-run=client -o yaml and"
        " create -f"
    )


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _Truncated
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _records(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise _Truncated
        if at + length > len(data):
            raise _Truncated
        yield number, data[at : at + length]
        at += length


def _message(data: bytes, name: str) -> JsonObject:
    fields = MESSAGES[name]
    found: JsonObject = {}
    for number, value in _records(data):
        field = fields.get(number)
        if field is None:
            raise _unsupported(f"field {number} of {name}")
        _put(found, field, value)
    return found


def _put(found: JsonObject, field: Field, value: int | bytes) -> None:
    if field.is_map:
        parts = dict(_records(_octets(value)))
        key = _octets(parts.get(1, b"")).decode()
        found.setdefault(field.name, {})[key] = _value(field.kind, parts.get(2, b""))
        return
    decoded = _value(field.kind, value)
    if field.is_repeated:
        found.setdefault(field.name, []).append(decoded)
    elif field.is_inline:
        found.update(decoded)
    elif decoded not in ("", None, {}) and not (field.drops_zero and not decoded):
        found[field.name] = decoded


def _octets(value: int | bytes | None) -> bytes:
    if not isinstance(value, bytes):
        raise _Truncated
    return value


def _signed(value: int | bytes | None) -> int:
    if not isinstance(value, int):
        raise _Truncated
    return value - (1 << 64) if value >= _SIGN_BIT else value


def _value(kind: str, value: int | bytes) -> Any:
    if kind in ("int", "bool"):
        number = _signed(value)
        return bool(number) if kind == "bool" else number
    value = _octets(value)
    reader = _READERS.get(kind)
    return reader(value) if reader else _message(value, kind)


def _time(data: bytes) -> str | None:
    parts = dict(_records(data))
    if 1 not in parts:
        return None
    try:
        return rfc3339(datetime.fromtimestamp(_signed(parts[1]), UTC))
    except (ValueError, OverflowError, OSError) as error:
        raise _Truncated from error


def _quantity(data: bytes) -> str:
    return _octets(dict(_records(data)).get(1, b"")).decode()


def _int_or_string(data: bytes) -> int | str:
    parts = dict(_records(data))
    if parts.get(1):
        return _octets(parts.get(3, b"")).decode()
    return _signed(parts.get(2, 0))


_READERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "string": bytes.decode,
    "bytes": lambda value: base64.b64encode(value).decode(),
    "Time": _time,
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
}

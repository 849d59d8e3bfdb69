"""Request bodies: JSON, YAML or protobuf into a document, and options out of queries."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from hatoba.cluster.api.negotiation import JSON, PROTOBUF, YAML
from hatoba.cluster.api.protobuf import decode_protobuf
from hatoba.cluster.api.status import BadRequest, UnsupportedMediaType
from hatoba.kernel.errors import InvalidInput
from hatoba.kernel.json import JsonObject, JsonValue

MAXIMUM_BODY_BYTES: Final = 3 * 1024 * 1024
_SUMMARY_BYTES: Final = 30
_ACCEPTED: Final = f"{JSON}, {YAML}, {PROTOBUF}"


@dataclass(slots=True)
class Body:
    """A decoded body; `duplicates` names the members that occurred twice."""

    document: JsonValue
    duplicates: list[str] = field(default_factory=list)
    media_type: str = JSON
    data: bytes = b""


class MalformedJson(InvalidInput):
    """A body that is no JSON; the message is that of Go's parser."""


def media_type_of(content_type: str) -> str:
    """Return the media type without parameters; JSON when none is given."""
    return content_type.partition(";")[0].strip().lower() or JSON


def decode_body(data: bytes, content_type: str) -> Body:
    """Decode the body of a write.

    Raises:
        BadRequest: it cannot be parsed.
        UnsupportedMediaType: its format is not understood.
    """
    match media_type_of(content_type):
        case "application/json" | "*/*":
            return parse_json(data)
        case "application/yaml":
            return Body(parse_yaml(data), media_type=YAML)
        case "application/vnd.kubernetes.protobuf":
            return Body(decode_protobuf(data), media_type=PROTOBUF)
        case _:
            raise UnsupportedMediaType(
                "the body of the request was in an unknown format - accepted media types include:"
                f" {_ACCEPTED}"
            )


class _Members(dict[str, Any]):
    """An object in which some members were given twice."""

    twice: list[str]


def _collect(pairs: list[tuple[str, Any]]) -> JsonObject:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    marked = _Members(members)
    marked.twice = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    return marked


def _duplicates(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value, _Members):
            yield from (f"{path}.{key}".lstrip(".") for key in value.twice)
        for key, member in value.items():
            yield from _duplicates(member, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _duplicates(item, f"{path}[{index}]")


def parse_json(data: bytes) -> Body:
    """Parse JSON and note members that occur twice.

    Raises:
        MalformedJson: it is no JSON.
    """
    try:
        document = json.loads(data, object_pairs_hook=_collect)
    except (ValueError, RecursionError) as error:
        raise MalformedJson(_go_words(data, error)) from error
    return Body(document, list(_duplicates(document, "")))


def parse_yaml(data: bytes) -> JsonValue:
    """Parse one YAML document.

    Raises:
        BadRequest: it is no YAML.
    """
    try:
        return yaml.load(data, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise BadRequest(f"error converting YAML to JSON: yaml: {error}") from error


def _go_words(data: bytes, error: Exception) -> str:
    if not data.strip():
        return "unexpected end of JSON input"
    if isinstance(error, json.JSONDecodeError):
        if error.pos >= len(error.doc):
            return "unexpected end of JSON input"
        wanted = "object key string" if "property name" in error.msg else "value"
        return f"invalid character {error.doc[error.pos]!r} looking for beginning of {wanted}"
    return str(error)


def summarize(data: bytes) -> str:
    """Return the beginning of a body for a message, as a real server shows it."""
    if not data:
        return "<empty>"
    if data.startswith(b"{"):
        text = data[:_SUMMARY_BYTES].decode(errors="replace")
    else:
        text = data[:_SUMMARY_BYTES].hex()
    return f"{text} ..." if len(data) > _SUMMARY_BYTES else text

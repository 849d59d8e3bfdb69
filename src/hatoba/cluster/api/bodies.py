"""Request bodies: JSON, YAML or protobuf into a document, and options out of queries."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from hatoba.cluster.api.negotiation import JSON, PROTOBUF, YAML
from hatoba.cluster.api.protobuf import decode_protobuf
from hatoba.cluster.api.status import BadRequest, UnsupportedMediaType
from hatoba.kernel.json import JsonObject, JsonValue

MAXIMUM_BODY_BYTES: Final = 3 * 1024 * 1024
_ACCEPTED: Final = f"{JSON}, {YAML}, {PROTOBUF}"


@dataclass(slots=True)
class Body:
    """A decoded body; `duplicates` names the members that occurred twice."""

    document: JsonValue
    duplicates: list[str] = field(default_factory=list)
    media_type: str = JSON


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


def parse_json(data: bytes) -> Body:
    """Parse JSON and note members that occur twice.

    Raises:
        BadRequest: it is no JSON.
    """
    body = Body(None)

    def collect(pairs: list[tuple[str, Any]]) -> JsonObject:
        members: JsonObject = {}
        for key, value in pairs:
            if key in members:
                body.duplicates.append(key)
            members[key] = value
        return members

    try:
        body.document = json.loads(data, object_pairs_hook=collect)
    except (ValueError, RecursionError) as error:
        raise BadRequest(
            f"couldn't get version/kind; json parse error: {_go_words(data, error)}"
        ) from error
    return body


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
        return f"invalid character {error.doc[error.pos]!r} looking for beginning of value"
    return str(error)

"""Typed decoding: what a schema does not know is dropped, what has the wrong type is refused.

A real server decodes JSON into Go structures and speaks of them in its messages; names of Go types
come from the OpenAPI definitions, which are named after them.
"""

from typing import Any

from hatoba.cluster.formats.schema import Schema, unknown_fields
from hatoba.kernel.json import JsonObject


def drop_unknown(obj: JsonObject, schema: Schema) -> list[str]:
    """Drop members that the schema does not know, in place, and return their paths."""
    unknown = unknown_fields(obj, schema)
    if unknown:
        _drop(obj, schema)
    return unknown


def _drop(value: Any, schema: Schema) -> None:
    if isinstance(value, dict) and not schema.is_scalar:
        if schema.is_untyped or (schema.preserves_unknown and not schema.properties):
            return
        for name in list(value):
            below = schema.member(name)
            if below is None:
                del value[name]
            else:
                _drop(value[name], below)
    elif isinstance(value, list) and schema.type == "array":
        for item in value:
            _drop(item, schema.items)

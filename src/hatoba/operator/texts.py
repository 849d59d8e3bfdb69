"""Texts of configurations that pods read, and digests by which contents are known again.

Every pass renders all of them to see that nothing has changed. YAML is by far the dearest of it,
so that the texts of lately are remembered.
"""

import json
from functools import lru_cache
from typing import Final

import yaml
from typing_extensions import override

from hatoba.kernel.json import JsonObject, JsonValue

REMEMBERED: Final = 2048
"""So many texts: four for each of 500 registries. The oldest goes first."""
_SORTED: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class _Content:
    """A mapping that is known by how it is written: types of keys and values count."""

    __slots__ = ("_written", "value")

    def __init__(self, value: JsonObject) -> None:
        self.value = value
        self._written = repr(value)

    @override
    def __hash__(self) -> int:
        return hash(self._written)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and other._written == self._written


def dump_yaml(content: JsonObject) -> bytes:
    """Return key-sorted YAML: equal content gives equal bytes."""
    return _dumped(_Content(content))


@lru_cache(maxsize=REMEMBERED)
def _dumped(content: _Content) -> bytes:
    text: str = yaml.safe_dump(content.value, sort_keys=True, default_flow_style=False)
    return text.encode()


def sorted_json(value: JsonValue) -> str:
    """Return JSON without spaces, keys sorted: equal values give equal texts."""
    return _SORTED.encode(value)

"""Selectors on lists and watches: labels by the general rule, fields by kind.

Spec: Kubernetes "Field Selectors": every kind has `metadata.name` and `metadata.namespace`, a few
have more.
"""

from dataclasses import dataclass

from hatoba.cluster.api.documents import reach
from hatoba.cluster.api.requests import Selection
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import BadRequest
from hatoba.kernel.json import JsonObject


@dataclass(slots=True, frozen=True)
class Selector:
    """A parsed selection."""

    labels: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, resource: Resource, selection: Selection) -> "Selector":
        """Parse a selection for a resource.

        Raises:
            BadRequest: a selector cannot be parsed or names a field the kind does not offer.
        """
        return cls(_equalities(selection.labels), _equalities(selection.fields))

    def matches(self, obj: JsonObject) -> bool:
        """Whether the object is selected."""
        labels = obj["metadata"].get("labels") or {}
        return all(labels.get(k) == v for k, v in self.labels) and all(
            (reach(obj, *k.split(".")) or "") == v for k, v in self.fields
        )


def _equalities(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key.endswith("!"):
            raise BadRequest(f"unable to parse requirement: {part}")
        pairs.append((key.strip(), value.removeprefix("=").strip()))
    return tuple(pairs)

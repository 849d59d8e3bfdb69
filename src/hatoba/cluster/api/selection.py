"""Selectors on lists and watches: labels by the general rule, fields by kind."""

from dataclasses import dataclass

from hatoba.cluster.api.requests import Selection
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.formats.fields import FieldSelector, parse_fields
from hatoba.cluster.formats.selectors import LabelSelector, parse_labels
from hatoba.kernel.json import JsonObject


@dataclass(slots=True, frozen=True)
class Selector:
    """A parsed selection."""

    labels: LabelSelector | None
    fields: FieldSelector | None

    @classmethod
    def of(cls, resource: Resource, selection: Selection) -> "Selector":
        """Parse a selection for a resource.

        Raises:
            BadRequest: a selector cannot be parsed or names a field the kind does not offer.
        """
        fields = selection.fields and parse_fields(
            selection.fields,
            group=resource.group,
            kind=resource.kind,
            is_custom=resource.is_custom,
            selectable=resource.selectable_fields,
        )
        return cls(parse_labels(selection.labels) if selection.labels else None, fields or None)

    def matches(self, obj: JsonObject) -> bool:
        """Whether the object is selected."""
        if self.labels is not None and not self.labels.matches(obj["metadata"].get("labels")):
            return False
        return self.fields is None or self.fields.matches(obj)

"""Objects as they are answered: in the caller's version, alone, in lists, as metadata or Tables."""

from collections.abc import Sequence
from datetime import datetime

from hatoba.cluster.api.negotiation import Representation
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.versions import to_version
from hatoba.kernel.json import JsonObject


class Views:
    """Shapes answers."""

    def one(
        self,
        obj: JsonObject,
        *,
        resource: Resource,
        version: str,
        representation: Representation,
        include: str,
        now: datetime,
    ) -> JsonObject:
        """Return one object in the chosen form."""
        shown = to_version(obj, resource=resource, version=version)
        if representation.form:
            return _partial(shown, representation)
        return shown

    def many(
        self,
        objects: Sequence[JsonObject],
        metadata: JsonObject,
        *,
        resource: Resource,
        version: str,
        representation: Representation,
        include: str,
        now: datetime,
    ) -> JsonObject:
        """Return a list in the chosen form."""
        shown = [to_version(obj, resource=resource, version=version) for obj in objects]
        if representation.form:
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": f"meta.k8s.io/{representation.version}",
                "metadata": metadata,
                "items": [_partial(obj, representation) for obj in shown],
            }
        api_version = resource.api_version(version)
        if resource.is_custom:
            metadata = {"continue": "", **metadata}
            return {
                "apiVersion": api_version,
                "items": shown,
                "kind": resource.list_kind,
                "metadata": metadata,
            }
        items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")} for o in shown]
        return {
            "kind": resource.list_kind,
            "apiVersion": api_version,
            "metadata": metadata,
            "items": items,
        }


def _partial(obj: JsonObject, representation: Representation) -> JsonObject:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{representation.version}",
        "metadata": obj["metadata"],
    }

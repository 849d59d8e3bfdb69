"""Which representation of an answer the client takes, and which body it sent.

Spec: Kubernetes API concepts, "Alternate representations of resources", "Receiving resources as
Tables". Answers are JSON or YAML, never protobuf: every client that prefers it takes JSON too.
"""

from dataclasses import dataclass
from typing import Final, Literal

from hatoba.cluster.api.status import NotAcceptable

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_OFFERED: Final = f"{JSON}, {YAML}, {PROTOBUF}"

Form = Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]
_FORMS: Final = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


@dataclass(slots=True, frozen=True)
class Representation:
    """The chosen answer: the object as it is or one of its transformed forms, and the encoding."""

    form: Form = ""
    version: str = "v1"
    media_type: str = JSON


@dataclass(slots=True, frozen=True)
class MediaRange:
    """One element of an Accept header."""

    media_type: str
    parameters: dict[str, str]


def parse_accept(header: str) -> list[MediaRange]:
    """Return the elements of an Accept header in the client's order of preference."""
    ranges = []
    for position, element in enumerate(header.split(",")):
        media_type, *parameters = (part.strip() for part in element.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        named = {name.strip(): value.strip() for name, _, value in pairs}
        try:
            quality = float(named.get("q", "1"))
        except ValueError:
            quality = 1.0
        ranges.append((-quality, position, MediaRange(media_type.lower(), named)))
    return [found for _, _, found in sorted(ranges, key=lambda entry: entry[:2])]


def negotiate(header: str) -> Representation:
    """Choose the representation of an object or list.

    Raises:
        NotAcceptable: nothing that is offered is taken.
    """
    if not header.strip():
        return Representation()
    for wanted in parse_accept(header):
        media_type = {"*/*": JSON, "application/*": JSON, "text/*": YAML}.get(
            wanted.media_type, wanted.media_type
        )
        if media_type not in (JSON, YAML):
            continue
        form = wanted.parameters.get("as", "")
        if not form:
            return Representation(media_type=media_type)
        version = wanted.parameters.get("v", "v1")
        if (
            form in _FORMS
            and wanted.parameters.get("g") == "meta.k8s.io"
            and version in ("v1", "v1beta1")
        ):
            return Representation(form, version, media_type)  # type: ignore[arg-type]  # checked
    if all(wanted.media_type == PROTOBUF for wanted in parse_accept(header)):
        # Whoever insists on protobuf gets what it can tell apart: JSON with its own type.
        return Representation()
    raise NotAcceptable(f"only the following media types are accepted: {_OFFERED}")


def wants_aggregated_discovery(header: str) -> str | None:
    """Return the version of aggregated discovery that the client prefers to the older form."""
    for wanted in parse_accept(header):
        if wanted.parameters.get("as") == "APIGroupDiscoveryList":
            version = wanted.parameters.get("v", "")
            if version in ("v2", "v2beta1"):
                return version
        elif wanted.media_type == JSON:
            return None
    return None

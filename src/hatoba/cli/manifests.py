"""The files of `deploy/` that come with this installation, and what they amount to.

In a checkout they lie beside the sources, in an installed package within it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import hatoba
from hatoba.cli.kustomization import render, set_image, set_namespace
from hatoba.kernel.errors import InvalidInput, Unavailable
from hatoba.kernel.json import JsonObject

OPERATOR: Final = "quay-operator"
OPERATOR_NAMESPACE: Final = "hatoba-system"
WATCH_VARIABLE: Final = "WATCH_NAMESPACE"
IMAGE_NAME: Final = "hatoba"
_OWN_NAMESPACE: Final = "-own-namespace"
_IMAGE_VARIABLES: Final = ("RELATED_IMAGE_COMPONENT_QUAY", "RELATED_IMAGE_COMPONENT_CLAIR")


class OverlayUnknown(InvalidInput):
    """There is no such overlay."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Wanted:
    """How the operator shall be installed."""

    overlay: str
    """`kubernetes` or `openshift`; the variant for one namespace follows from the namespaces."""
    namespace: str = ""
    """Where the operator runs; "" is `hatoba-system`, or the namespace that it watches."""
    watch_namespace: str = ""
    """The only namespace whose registries it looks after; "" means all."""
    image: str = ""
    """What to run instead of the image that the files name."""

    @property
    def operator_namespace(self) -> str:
        """Where the operator runs."""
        return self.namespace or self.watch_namespace or OPERATOR_NAMESPACE


def deployment_directory() -> Path:
    """Return the directory that holds what is applied to a cluster.

    Raises:
        Unavailable: this installation has none.
    """
    package = Path(hatoba.__file__).resolve().parent
    for directory in (package / "deploy", package.parents[1] / "deploy"):
        if (directory / "overlays").is_dir():
            return directory
    raise Unavailable(f"{package} was installed without the directory deploy/")


def samples() -> Path:
    """Return the directory of samples."""
    return deployment_directory() / "samples"


def overlays() -> Sequence[str]:
    """Return the overlays by name, without their variants for one namespace."""
    return sorted(
        path.name
        for path in (deployment_directory() / "overlays").iterdir()
        if not path.name.endswith(_OWN_NAMESPACE)
    )


def operator_documents(wanted: Wanted) -> list[JsonObject]:
    """Return what has to be applied.

    Raises:
        OverlayUnknown: the overlay does not exist.
    """
    if wanted.overlay not in overlays():
        raise OverlayUnknown(f"there is no overlay {wanted.overlay}, but {', '.join(overlays())}")
    variant = wanted.overlay + (_OWN_NAMESPACE if wanted.watch_namespace else "")
    documents = render(deployment_directory() / "overlays" / variant)
    _place(documents, wanted)
    if wanted.image:
        set_image(documents, IMAGE_NAME, wanted.image)
        for entry in _variables(documents):
            if entry["name"] in _IMAGE_VARIABLES:
                entry["value"] = wanted.image
    if wanted.watch_namespace not in ("", wanted.operator_namespace):
        _watch(documents, wanted.watch_namespace)
    return documents


def _place(documents: Sequence[JsonObject], wanted: Wanted) -> None:
    """Move what stands in the operator's namespace; some objects belong to others."""
    namespace = next(
        document["metadata"]["name"] for document in documents if document["kind"] == "Namespace"
    )
    movable = [
        document
        for document in documents
        if document["metadata"].get("namespace") in (None, namespace)
    ]
    set_namespace(movable, wanted.operator_namespace)
    for document in documents:
        for subject in document.get("subjects") or ():
            if subject.get("namespace") == namespace:
                subject["namespace"] = wanted.operator_namespace


def _watch(documents: Iterable[JsonObject], namespace: str) -> None:
    """Point rights and attention to another namespace than the operator's own."""
    documents = list(documents)
    for document in documents:
        if document["kind"] == "RoleBinding" and document["metadata"]["name"] == OPERATOR:
            document["metadata"]["namespace"] = namespace
    for entry in _variables(documents):
        if entry["name"] == WATCH_VARIABLE:
            entry.pop("valueFrom")
            entry["value"] = namespace


def _variables(documents: Iterable[JsonObject]) -> list[JsonObject]:
    """Return the environment of the operator's container."""
    deployment = next(
        document
        for document in documents
        if document["kind"] == "Deployment" and document["metadata"]["name"] == OPERATOR
    )
    variables: list[JsonObject] = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return variables

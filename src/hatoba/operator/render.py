"""Render a plan into Kubernetes objects. Pure: equal plans give equal objects.

The objects come in the order in which they are applied: Deployments and Jobs last, so that what
they mount exists.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names, objects
from hatoba.operator.components import EVERY_COMPONENT
from hatoba.operator.components.clair import SCANNER_FILE
from hatoba.operator.components.contract import Mounts
from hatoba.operator.configuration import dump_yaml, merged_configuration
from hatoba.operator.model import RegistryPlan
from hatoba.operator.tailoring import tailored

EDITOR_USER: Final = "quayconfig"


@dataclass(slots=True, frozen=True, kw_only=True)
class Rendered:
    """The objects of one registry, and the names that its status tells."""

    objects: tuple[JsonObject, ...]
    mounts: Mounts
    configuration: JsonObject


def render(plan: RegistryPlan) -> Rendered:
    """Return every object of a registry."""
    configuration = merged_configuration(plan)
    secrets = _secrets(plan, configuration)
    config, certificates, credentials = (secret["metadata"]["name"] for secret in secrets)
    mounts = Mounts(config=config, certificates=certificates, editor_credentials=credentials)
    found = [*secrets]
    for component in EVERY_COMPONENT:
        if component.kind == "base" or plan.manages(component.kind):
            found += [tailored(plan, obj) for obj in component.objects(plan, mounts)]
    found.sort(key=_rank)
    return Rendered(objects=tuple(found), mounts=mounts, configuration=configuration)


def render_groundwork(plan: RegistryPlan) -> tuple[JsonObject, ...]:
    """Return what does not depend on the host name, and what the host name comes from.

    Applied first when no host name was given: Routes, to be admitted, and what takes long to
    start. No object in it mounts the configuration.
    """
    waiting = ("Job", "Deployment", "HorizontalPodAutoscaler", "Secret")
    empty = Mounts(config="", certificates="", editor_credentials="")
    return tuple(
        obj
        for component in EVERY_COMPONENT
        if component.kind in ("base", "route", "objectstorage", "tls")
        and _included(plan, component.kind)
        for obj in map(partial(tailored, plan), component.objects(plan, empty))
        if obj["kind"] not in waiting
    )


def _rank(obj: JsonObject) -> int:
    """Order applies: what is mounted, databases, what waits for them, what scales these."""
    if obj["kind"] == "HorizontalPodAutoscaler":
        return 3
    if obj["kind"] not in ("Job", "Deployment"):
        return 0
    annotations = obj["metadata"]["annotations"]
    name = obj["metadata"]["name"]
    if annotations[names.COMPONENT_KEY] in ("postgres", "redis") or name.endswith("postgres"):
        return 1
    return 2


def _included(plan: RegistryPlan, kind: str) -> bool:
    return kind == "base" or plan.manages(kind)


def _secrets(plan: RegistryPlan, configuration: JsonObject) -> list[JsonObject]:
    """Return the Secrets with configuration, certificates and the editor's credentials."""
    certificates = {"ssl.cert", "ssl.key"}
    elsewhere = {*certificates, SCANNER_FILE}
    files = {key: value for key, value in plan.files.items() if key not in elsewhere}
    return [
        objects.generated_secret(
            plan, "quay-config-secret", {**files, "config.yaml": dump_yaml(configuration)}
        ),
        objects.generated_secret(
            plan,
            "quay-config-tls",
            {
                **{key: value for key, value in plan.files.items() if key in certificates},
                **plan.served_pair,
            },
        ),
        objects.generated_secret(
            plan,
            "quay-config-editor-credentials",
            {"username": EDITOR_USER.encode(), "password": plan.keys.editor_password.encode()},
        ),
    ]

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
from hatoba.operator.components.objectstorage import OBJECT_STORAGE
from hatoba.operator.components.route import REGISTRY_ROUTE, ROUTE
from hatoba.operator.components.tls import TLS
from hatoba.operator.configuration import merged_configuration
from hatoba.operator.model import RegistryPlan
from hatoba.operator.tailoring import tailored
from hatoba.operator.texts import dump_yaml

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
    """Return what the cluster has to answer to before a configuration can be written.

    The host name comes from a Route or a Service, a bucket from its claim, a certificate from
    cert-manager. Nothing else: what else there is carries the host name, and would be written
    twice.
    """
    empty = Mounts(config="", certificates="", editor_credentials="")
    return tuple(
        obj
        for component in (OBJECT_STORAGE, ROUTE, TLS)
        if plan.manages(component.kind)
        for obj in map(partial(tailored, plan), component.objects(plan, empty))
        if _is_answered(plan, obj)
    )


def _is_answered(plan: RegistryPlan, obj: JsonObject) -> bool:
    if obj["kind"] in ("Route", "Service"):
        return bool(obj["metadata"]["name"] == plan.prefix + REGISTRY_ROUTE)
    return obj["kind"] in ("ObjectBucketClaim", "Certificate")


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

"""Decide what a registry shall be, from what was asked and what the cluster offers. Pure.

Everything that is wrong with a request is found here, before anything is changed, and raised as
`RolloutBlocked` with the reason and message that its status will show.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hatoba.config.components import COMPONENT_KEYS, contains_configuration
from hatoba.config.loader import ConfigurationInvalid, parse_yaml
from hatoba.config.validation import validate_mapping
from hatoba.kernel.json import JsonObject
from hatoba.operator import certificates, keys, names
from hatoba.operator.components.route import REGISTRY_ROUTE, admitted_endpoint
from hatoba.operator.configuration import merged_configuration
from hatoba.operator.model import (
    Bucket,
    Capabilities,
    Component,
    OperatorSettings,
    Owned,
    Reason,
    RegistryPlan,
    RolloutBlocked,
)

CONFIG_KEY: Final = "config.yaml"
_MAIN_KEYS: Final = {
    "postgres": "DB_URI",
    "redis": "BUILDLOGS_REDIS and USER_EVENTS_REDIS",
    "objectstorage": "DISTRIBUTED_STORAGE_CONFIG",
    "route": "SERVER_HOSTNAME",
}
"""The keys to set when an unmanaged component lacks its configuration."""
_UNAVAILABLE: Final = {
    "route": (Reason.ROUTE_DEPENDENCY, "Route"),
    "tls": (Reason.ROUTE_DEPENDENCY, "Route"),
    "monitoring": (Reason.MONITORING_DEPENDENCY, "Prometheus"),
}


@dataclass(slots=True, frozen=True, kw_only=True)
class Observation:
    """What was found in the cluster for one registry."""

    registry: JsonObject
    bundle: JsonObject | None = field(default=None, repr=False)
    bundle_error: str = ""
    stored_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    capabilities: Capabilities = field(default_factory=Capabilities)
    owned: Owned
    bucket: Bucket | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The registry's name."""
        return str(self.registry["metadata"]["name"])

    @property
    def bundle_name(self) -> str:
        """The Secret that the spec names."""
        return str((self.registry.get("spec") or {}).get("configBundleSecret") or "")

    @property
    def listed(self) -> tuple[Component, ...]:
        """The components that the spec lists, as they stand there."""
        entries = self.registry.get("spec", {}).get("components") or []
        return tuple(
            Component(kind=str(entry.get("kind", "")), managed=bool(entry.get("managed")))
            for entry in entries
        )

    @property
    def status(self) -> JsonObject:
        """The status as it was written last."""
        return dict(self.registry.get("status") or {})


@dataclass(slots=True, frozen=True, kw_only=True)
class Bundle:
    """The user's configuration, decoded."""

    name: str
    config: JsonObject
    files: Mapping[str, bytes] = field(repr=False)


def read_bundle(observation: Observation) -> Bundle:
    """Decode the configuration bundle.

    Raises:
        RolloutBlocked: it does not exist, or its config.yaml is not YAML.
    """
    if observation.bundle is None:
        name, namespace = observation.bundle_name, observation.registry["metadata"]["namespace"]
        raise RolloutBlocked(
            Reason.CONFIG_INVALID,
            f"unable to retrieve referenced `configBundleSecret`: {name}, "
            f"error: {observation.bundle_error.rstrip('.')}",
            step=f"create the Secret {name} in namespace {namespace}, or name another one in "
            "spec.configBundleSecret",
        )
    try:
        files = {
            key: base64.b64decode(value, validate=True)
            for key, value in (observation.bundle.get("data") or {}).items()
        }
        config = parse_yaml(files.pop(CONFIG_KEY, b""))
    except (ConfigurationInvalid, binascii.Error) as error:
        raise RolloutBlocked(
            Reason.CONFIG_INVALID,
            f"could not check for build manager support: {str(error).rstrip('.')}",
            step=f"correct the key config.yaml of Secret {observation.bundle_name}",
        ) from error
    _check_types(config, name=observation.bundle_name)
    return Bundle(name=observation.bundle_name, config=config, files=files)


def _check_types(config: JsonObject, *, name: str) -> None:
    """Refuse wrong types in the keys that the operator itself reads."""
    for key, wanted, word in (
        ("SERVER_HOSTNAME", str, "string"),
        ("BUILDMAN_HOSTNAME", str, "string"),
        ("PREFERRED_URL_SCHEME", str, "string"),
        ("EXTERNAL_TLS_TERMINATION", bool, "bool"),
    ):
        if key in config and not isinstance(config[key], wanted):
            raise RolloutBlocked(
                Reason.CONFIG_INVALID,
                f"{key} must be of type {word}",
                step=f"correct it in config.yaml of Secret {name}",
            )


def filled_components(
    listed: tuple[Component, ...], *, capabilities: Capabilities, bundle: Bundle
) -> tuple[Component, ...]:
    """Return the spec's components with the omitted kinds appended.

    Raises:
        RolloutBlocked: a kind is unknown, or asked for where the cluster lacks its API.
    """
    for entry in listed:
        if entry.kind not in names.COMPONENT_ORDER:
            raise RolloutBlocked(
                Reason.CONFIG_INVALID,
                f"unknown component kind `{entry.kind}` in spec.components",
                step=f"write one of {', '.join(names.COMPONENT_ORDER)}",
            )
    supported = {
        "route": capabilities.routes,
        "tls": capabilities.routes,
        "monitoring": capabilities.monitoring,
    }
    for entry in listed:
        if entry.managed and not supported.get(entry.kind, True):
            reason, api = _UNAVAILABLE[entry.kind]
            raise RolloutBlocked(
                reason,
                f"cannot use `{entry.kind}` component when `{api}` API not available",
                step=f"install that API, or set `managed: false` for {entry.kind} in "
                "spec.components",
            )
    own_certificate = contains_configuration("tls", bundle.config, frozenset(bundle.files))
    defaults = supported | {"tls": capabilities.routes and not own_certificate}
    present = {entry.kind for entry in listed}
    return listed + tuple(
        Component(kind=kind, managed=defaults.get(kind, True))
        for kind in names.COMPONENT_ORDER
        if kind not in present
    )


def same_components(left: tuple[Component, ...], right: tuple[Component, ...]) -> bool:
    """Compare by content; the order is the user's."""
    return len(left) == len(right) and all(entry in right for entry in left)


def check_components(
    components: tuple[Component, ...], *, capabilities: Capabilities, bundle: Bundle
) -> None:
    """Check that exactly one of operator and bundle configures each component.

    Raises:
        RolloutBlocked: the first component, in the spec's order, for which that is not so.
    """
    files = frozenset(bundle.files)
    for entry in components:
        configured = contains_configuration(entry.kind, bundle.config, files)
        if entry.managed and configured and entry.kind not in names.OVERRIDABLE_KINDS:
            raise RolloutBlocked(
                Reason.CONFIG_INVALID,
                f"{entry.kind} component marked as managed, but `configBundleSecret` contains "
                "required fields",
                step=_either(entry.kind, bundle, "take {} out of", "false"),
            )
        if entry.managed or configured or not _required(entry.kind, capabilities):
            continue
        raise RolloutBlocked(
            Reason.CONFIG_INVALID,
            f"required component `{entry.kind}` marked as unmanaged, but `configBundleSecret` is "
            "missing necessary fields",
            step=_either(entry.kind, bundle, "put {} into", "true"),
        )


def _either(kind: str, bundle: Bundle, what: str, managed: str) -> str:
    """Name the two ways out of a disagreement between spec and bundle."""
    if kind == "tls":
        keys_of_kind = "ssl.cert and ssl.key"
    else:
        present = sorted(COMPONENT_KEYS.get(kind, frozenset()) & bundle.config.keys())
        keys_of_kind = ", ".join(present) or _MAIN_KEYS.get(kind, "its configuration")
    return (
        f"{what.format(keys_of_kind)} Secret {bundle.name}, or set `managed: {managed}` for {kind} "
        "in spec.components"
    )


def _required(kind: str, capabilities: Capabilities) -> bool:
    """Tell whether an unmanaged kind needs configuration.

    Where the cluster has no Routes, the Service's own name serves as host, so that the smallest
    registry still comes up.
    """
    if kind in ("route", "tls") and not capabilities.routes:
        return False
    return kind in names.REQUIRED_KINDS


def known_hostname(observation: Observation, bundle: Bundle) -> str | None:
    """Return SERVER_HOSTNAME, None while the cluster has not admitted the registry's Route.

    A port that people have to type belongs to it: the registry prints it into URLs and tokens.
    """
    route = observation.owned.get("Route", f"{observation.name}-{REGISTRY_ROUTE}")
    managed = any(entry.kind == "route" and entry.managed for entry in observation.listed)
    given = bundle.config.get("SERVER_HOSTNAME")
    if given:
        return str(given)
    if managed:
        return admitted_endpoint(route) if route is not None else None
    namespace = observation.registry["metadata"]["namespace"]
    return f"{observation.name}-quay-app.{namespace}.svc:8080"


def make_plan(
    observation: Observation,
    bundle: Bundle,
    *,
    settings: OperatorSettings,
    stored: Mapping[str, str],
    hostname: str,
) -> RegistryPlan:
    """Put together everything that decides how the registry's objects look."""
    metadata = observation.registry["metadata"]
    current = observation.status.get("currentVersion", "")
    return RegistryPlan(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        settings=settings,
        components=observation.listed,
        capabilities=observation.capabilities,
        bundle_name=bundle.name,
        config=bundle.config,
        files=bundle.files,
        keys=keys.managed_keys(stored),
        hostname=hostname,
        bucket=observation.bucket,
        migrating=current != settings.quay_version,
        upgrading=current not in ("", settings.quay_version),
    )


def check_plan(plan: RegistryPlan) -> None:
    """Check what can only be judged with everything merged.

    Raises:
        RolloutBlocked: the pods would refuse this configuration, or clients the certificate.
    """
    if len(plan.name) > names.MAXIMUM_NAME_LENGTH:
        raise RolloutBlocked(
            Reason.CONFIG_INVALID,
            f"the name {plan.name} is longer than {names.MAXIMUM_NAME_LENGTH} characters",
            step="create the QuayRegistry under a shorter name",
        )
    if findings := validate_mapping(merged_configuration(plan)):
        text = "; ".join(str(finding) for finding in findings)
        raise RolloutBlocked(
            Reason.CONFIG_INVALID,
            f"`configBundleSecret` is not valid: {text}",
            step=f"correct config.yaml of Secret {plan.bundle_name}",
        )
    if plan.own_certificate:
        for host in filter(None, (plan.hostname.partition(":")[0], plan.builder_hostname)):
            fault = certificates.fault_of(
                plan.files["ssl.cert"], key=plan.files["ssl.key"], host=host
            )
            if fault:
                raise RolloutBlocked(
                    Reason.CREATION_FAILED,
                    "could not inflate QuayRegistry into Kubernetes objects: provided "
                    f"certificate/key pair not valid for host '{host}': {fault}",
                    step=f"put a pair for {host} into ssl.cert and ssl.key of Secret "
                    f"{plan.bundle_name}",
                )

"""Judge and complete the entries of `spec.components`: whose job each component is. Pure."""

from dataclasses import replace
from typing import Final

from hatoba.config.components import COMPONENT_KEYS, contains_configuration
from hatoba.config.loader import ConfigurationInvalid
from hatoba.operator import names, overrides
from hatoba.operator.bundle import Bundle
from hatoba.operator.components.clair import (
    SCANNER_FILE,
    scanner_database_given,
    scanner_settings,
)
from hatoba.operator.landscape import Capabilities, Exposure, Way
from hatoba.operator.model import Component, InputRefused, Reason, RolloutBlocked
from hatoba.operator.overrides import OverrideInvalid, Overrides

_OTHER_WAYS: Final = (
    "install it, the Gateway API or an Ingress controller, choose a Service with the annotation "
    + names.SERVICE_TYPE_ANNOTATION
)
_INSTEAD: Final = {"route": _OTHER_WAYS, "tls": _OTHER_WAYS}
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


def filled_components(
    listed: tuple[Component, ...],
    *,
    capabilities: Capabilities,
    exposure: Exposure,
    bundle: Bundle,
) -> tuple[Component, ...]:
    """Return the spec's components with the omitted kinds appended.

    Raises:
        RolloutBlocked: a kind is unknown, or asked for where the cluster lacks its API.
    """
    for entry in listed:
        if entry.kind not in names.COMPONENT_ORDER + names.LATER_KINDS:
            raise InputRefused(
                Reason.CONFIG_INVALID,
                f"unknown component kind `{entry.kind}` in spec.components",
                step=f"write one of {', '.join(names.COMPONENT_ORDER + names.LATER_KINDS)}",
            )
    # Quay's operator 3.7: what is written about it is rolled back, since nothing works without.
    listed = tuple(
        replace(entry, managed=True) if entry.kind == "quay" else entry for entry in listed
    )
    supported = {
        "route": exposure.is_outside,
        "tls": exposure.is_outside,
        "monitoring": capabilities.monitoring,
    }
    for entry in listed:
        if entry.managed and not supported.get(entry.kind, True):
            reason, api = _UNAVAILABLE[entry.kind]
            raise RolloutBlocked(
                reason,
                f"cannot use `{entry.kind}` component when `{api}` API not available",
                step=f"{_INSTEAD.get(entry.kind, 'install that API')}, or set `managed: false` "
                f"for {entry.kind} in spec.components",
            )
    own_certificate = contains_configuration("tls", bundle.config, frozenset(bundle.files))
    defaults = supported | {"tls": exposure.is_outside and not own_certificate}
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
    components: tuple[Component, ...], *, exposure: Exposure, bundle: Bundle
) -> None:
    """Check that exactly one of operator and bundle configures each component.

    Raises:
        RolloutBlocked: the first component, in the spec's order, for which that is not so.
    """
    files = frozenset(bundle.files)
    _check_scanner_database(components, bundle)
    _check_references(components)
    for entry in components:
        if entry.kind in names.LATER_KINDS:
            continue
        configured = contains_configuration(entry.kind, bundle.config, files)
        if entry.managed and configured and entry.kind not in names.OVERRIDABLE_KINDS:
            raise InputRefused(
                Reason.CONFIG_INVALID,
                f"{entry.kind} component marked as managed, but `configBundleSecret` contains "
                "required fields",
                step=_either(entry.kind, bundle, "take {} out of", "false"),
            )
        if entry.managed or configured or not _required(entry.kind, exposure):
            continue
        raise InputRefused(
            Reason.CONFIG_INVALID,
            f"required component `{entry.kind}` marked as unmanaged, but `configBundleSecret` is "
            "missing necessary fields",
            step=_either(entry.kind, bundle, "put {} into", "true"),
        )


def _check_references(components: tuple[Component, ...]) -> None:
    """Refuse what the cluster's definition refuses, too, and references that nothing would read."""
    for entry in components:
        if entry.secret is None:
            continue
        fault = ""
        if entry.managed:
            fault = "secretRef cannot be set on a managed component"
        elif entry.kind != "tls":
            fault = f"component {entry.kind} does not support secretRef"
        elif not entry.secret:
            fault = "secretRef.name must not be empty"
        if fault:
            raise RolloutBlocked(
                Reason.CONFIG_INVALID,
                fault,
                step=f"correct the entry of {entry.kind} in spec.components",
            )


def _check_scanner_database(components: tuple[Component, ...], bundle: Bundle) -> None:
    managed = {entry.kind: entry.managed for entry in components}
    if not managed.get("clair"):
        return
    try:
        given = scanner_database_given(scanner_settings(bundle.files))
    except ConfigurationInvalid as error:
        raise InputRefused(
            Reason.CONFIG_INVALID,
            f"unable to parse {SCANNER_FILE}: {error.message.rstrip('.')}",
            step=f"correct the key {SCANNER_FILE} of Secret {bundle.name}",
        ) from error
    own = managed.get("clairpostgres", True)
    if own == given:
        fact = (
            "clairpostgres component marked as managed, but `configBundleSecret` contains "
            "required fields"
            if own
            else "clairpostgres component unmanaged but no clair postgres config provided"
        )
        what, other = (
            ("take connstring out of", "false") if own else ("put connstring into", "true")
        )
        raise InputRefused(
            Reason.CONFIG_INVALID,
            fact,
            step=f"{what} {SCANNER_FILE} of Secret {bundle.name}, or set `managed: {other}` for "
            "clairpostgres in spec.components",
        )


def read_overrides(components: tuple[Component, ...]) -> dict[str, Overrides]:
    """Return the overrides by component kind.

    Raises:
        RolloutBlocked: one cannot be followed.
    """
    autoscaled = any(
        entry.kind == "horizontalpodautoscaler" and entry.managed for entry in components
    )
    try:
        return {
            entry.kind: overrides.read(
                entry.kind, entry.overrides, managed=entry.managed, autoscaled=autoscaled
            )
            for entry in components
            if entry.overrides
        }
    except OverrideInvalid as error:
        raise InputRefused(
            Reason.OVERRIDE_INVALID, f"invalid overrides: {error.fact}", step=error.step
        ) from error


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


def _required(kind: str, exposure: Exposure) -> bool:
    """Tell whether an unmanaged kind needs configuration.

    Where a cluster has no way out, the Service's own name serves as host, so that the smallest
    registry still comes up. A Gateway brings a certificate of its own, a Service does without.
    """
    if not exposure.is_outside:
        return kind in names.REQUIRED_KINDS - {"route", "tls"}
    if kind == "tls" and exposure.way in (Way.GATEWAY, Way.SERVICE):
        return False
    return kind in names.REQUIRED_KINDS

"""Choose how a registry is reached from outside: by what the cluster has. Pure.

A Route where the cluster has Routes; else a Gateway, when one is named or only one is there; else
an Ingress of the default class; else a Service. Annotations of the QuayRegistry choose another
way, and the parts of each.
"""

from collections.abc import Mapping
from typing import Final

from hatoba.operator import names
from hatoba.operator.landscape import (
    Capabilities,
    Exposure,
    Gateway,
    Issuer,
    Listener,
    Way,
    default_class,
)
from hatoba.operator.model import Reason, RolloutBlocked

SERVICE_TYPES: Final = ("ClusterIP", "NodePort", "LoadBalancer")
_ISSUER_KINDS: Final = ("ClusterIssuer", "Issuer")


def choose(
    annotations: Mapping[str, str],
    capabilities: Capabilities,
    *,
    namespace: str,
    own_certificate: bool,
) -> Exposure:
    """Return the way for a registry of that namespace.

    Raises:
        RolloutBlocked: an annotation asks for what is not there, or for nonsense.
    """
    asked = annotations.get(names.EXPOSURE_ANNOTATION, "")
    if asked and asked not in set(Way):
        raise _refused(
            names.EXPOSURE_ANNOTATION, f"`{asked}` is no way", f"write one of {', '.join(Way)}"
        )
    way = Way(asked) if asked else _best(annotations, capabilities, namespace=namespace)
    editor = annotations.get(names.EDITOR_HOST_ANNOTATION, "")
    issuer = _issuer(annotations, capabilities)
    if way is Way.ROUTE:
        if not capabilities.routes:
            raise _refused(names.EXPOSURE_ANNOTATION, "the cluster has no Route API", _OTHER_WAY)
        return Exposure(way=way, asked=bool(asked))
    if way is Way.GATEWAY:
        gateway = _gateway(annotations, capabilities, namespace=namespace)
        return _through(
            gateway,
            namespace=namespace,
            passthrough=own_certificate and capabilities.tls_routes,
            editor_host=editor,
        )
    if way is Way.INGRESS:
        return _ingress(annotations, capabilities, editor_host=editor, issuer=issuer)
    kind = annotations.get(names.SERVICE_TYPE_ANNOTATION, "")
    if kind and kind not in SERVICE_TYPES:
        raise _refused(
            names.SERVICE_TYPE_ANNOTATION,
            f"`{kind}` is no type",
            f"write one of {', '.join(SERVICE_TYPES)}",
        )
    return Exposure(
        way=way,
        asked=bool(asked or kind),
        service_type=kind or ("LoadBalancer" if asked else "ClusterIP"),
        issuer=issuer,
    )


_OTHER_WAY: Final = "choose another way, or take the annotation away"


def _best(annotations: Mapping[str, str], capabilities: Capabilities, *, namespace: str) -> Way:
    if names.SERVICE_TYPE_ANNOTATION in annotations:
        return Way.SERVICE
    if names.INGRESS_CLASS_ANNOTATION in annotations:
        return Way.INGRESS
    if names.GATEWAY_ANNOTATION in annotations:
        return Way.GATEWAY
    if capabilities.routes:
        return Way.ROUTE
    # A Gateway that takes no routes of this namespace is somebody else's.
    open_ones = [one for one in capabilities.gateways if _listeners(one, namespace=namespace)]
    if capabilities.http_routes and len(open_ones) == len(capabilities.gateways) == 1:
        return Way.GATEWAY
    return Way.INGRESS if default_class(capabilities.ingress_classes) else Way.SERVICE


def _gateway(
    annotations: Mapping[str, str], capabilities: Capabilities, *, namespace: str
) -> Gateway:
    named = annotations.get(names.GATEWAY_ANNOTATION, "")
    if not capabilities.http_routes:
        annotation = names.GATEWAY_ANNOTATION if named else names.EXPOSURE_ANNOTATION
        raise _refused(annotation, "the cluster has no Gateway API", _OTHER_WAY)
    place, _, name = (named if "/" in named else f"{namespace}/{named}").partition("/")
    found = [
        one
        for one in capabilities.gateways
        if not named or (one.namespace, one.name) == (place, name)
    ]
    if len(found) == 1:
        return found[0]
    if named:
        raise _refused(
            names.GATEWAY_ANNOTATION, f"there is no Gateway {place}/{name}", "create or correct it"
        )
    raise _refused(
        names.EXPOSURE_ANNOTATION,
        f"the cluster has {len(found)} Gateways",
        f"name one as namespace/name in {names.GATEWAY_ANNOTATION}",
    )


def _through(gateway: Gateway, *, namespace: str, passthrough: bool, editor_host: str) -> Exposure:
    """Choose the listener: TLS passed through where wanted, else HTTPS, else HTTP."""
    usable = _listeners(gateway, namespace=namespace)
    ranked = [one for one in usable if _rank(one, passthrough=passthrough) is not None]
    if not ranked:
        where = f"Gateway {gateway.namespace}/{gateway.name}"
        raise RolloutBlocked(
            Reason.ROUTE_DEPENDENCY,
            f"{where} has no HTTP, HTTPS or TLS listener that takes routes of namespace "
            f"{namespace}",
            step="add one whose allowedRoutes.namespaces.from is All, or name another Gateway",
        )
    listener = min(ranked, key=lambda one: _rank(one, passthrough=passthrough) or 0)
    wildcard = listener.hostname.startswith("*.")
    return Exposure(
        way=Way.GATEWAY,
        gateway=gateway,
        listener=listener,
        domain=listener.hostname.removeprefix("*.") if wildcard else gateway.domain,
        fixed_host="" if wildcard else listener.hostname,
        editor_host=editor_host,
    )


def _listeners(gateway: Gateway, *, namespace: str) -> list[Listener]:
    """Return the listeners that take routes of a namespace."""
    return [
        one for one in gateway.listeners if one.open_to != "Same" or gateway.namespace == namespace
    ]


def _rank(listener: Listener, *, passthrough: bool) -> int | None:
    if listener.protocol == "TLS" and listener.passthrough:
        return 0 if passthrough else None
    return {"HTTPS": 1, "HTTP": 2}.get(listener.protocol)


def _ingress(
    annotations: Mapping[str, str],
    capabilities: Capabilities,
    *,
    editor_host: str,
    issuer: Issuer | None,
) -> Exposure:
    named = annotations.get(names.INGRESS_CLASS_ANNOTATION, "")
    known = {one.name: one for one in capabilities.ingress_classes}
    found = known.get(named) if named else default_class(capabilities.ingress_classes)
    if found is None:
        if named:
            raise _refused(
                names.INGRESS_CLASS_ANNOTATION,
                f"there is no IngressClass {named}",
                "create or correct it",
            )
        raise _refused(
            names.EXPOSURE_ANNOTATION,
            "the cluster has no default IngressClass",
            f"name one in {names.INGRESS_CLASS_ANNOTATION}",
        )
    return Exposure(
        way=Way.INGRESS,
        ingress_class=found.name,
        domain=found.domain,
        editor_host=editor_host,
        issuer=issuer,
    )


def _issuer(annotations: Mapping[str, str], capabilities: Capabilities) -> Issuer | None:
    named = annotations.get(names.ISSUER_ANNOTATION, "")
    if not named:
        only = capabilities.issuers if len(capabilities.issuers) == 1 else ()
        return only[0] if only and capabilities.certificates else None
    kind, _, name = (named if "/" in named else f"ClusterIssuer/{named}").partition("/")
    if not capabilities.certificates:
        raise _refused(
            names.ISSUER_ANNOTATION, "the cluster has no cert-manager", "install it first"
        )
    if kind not in _ISSUER_KINDS:
        raise _refused(
            names.ISSUER_ANNOTATION,
            f"`{kind}` issues no certificates",
            "write ClusterIssuer/name or Issuer/name",
        )
    return Issuer(kind=kind, name=name)


def _refused(annotation: str, why: str, step: str) -> RolloutBlocked:
    return RolloutBlocked(
        Reason.ROUTE_DEPENDENCY,
        f"the annotation {annotation} cannot be followed, {why}",
        step=step,
    )

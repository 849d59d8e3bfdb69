"""Decide what a registry shall be, from what was asked and what the cluster offers. Pure.

Everything that is wrong with a request is found here, in `bundle` or in `entries`, before anything
is changed, and raised as `RolloutBlocked` with the reason and message that its status will show.
"""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from packaging.version import InvalidVersion, Version

from hatoba.config.validation import validate_mapping
from hatoba.kernel.json import JsonObject
from hatoba.operator import certificates, keys, names
from hatoba.operator.backup.specs import NotReady, read_spec
from hatoba.operator.backup.types import RestoreSpec
from hatoba.operator.blobstores import blob_store_of
from hatoba.operator.bundle import Bundle
from hatoba.operator.components import outward
from hatoba.operator.components.configured import SERVICE_CA
from hatoba.operator.components.ingress import ISSUED
from hatoba.operator.components.objectstorage import uses_volume
from hatoba.operator.components.route import REGISTRY_ROUTE, admitted_endpoint
from hatoba.operator.configuration import followed_profile, merged_configuration
from hatoba.operator.entries import check_components, filled_components, read_overrides
from hatoba.operator.exposure import choose
from hatoba.operator.landscape import Exposure, TlsSource, Way
from hatoba.operator.model import (
    DATA_STORE,
    CertificatePair,
    Component,
    InputRefused,
    OperatorSettings,
    Owned,
    Reason,
    RegistryPlan,
    Restoration,
    RolloutBlocked,
    inside_address,
)
from hatoba.operator.observation import Observation
from hatoba.operator.overrides import Overrides
from hatoba.operator.stores import DATABASES, released, stores_of
from hatoba.operator.tlsprofiles import APISERVER, PROFILE_KEYS
from hatoba.operator.volumes import wanted_volumes

ACCESS_MODES: Final = ("ReadWriteMany", "ReadWriteOnce")
RECLAIMS: Final = ("delete", "retain")


def chosen_exposure(observation: Observation, bundle: Bundle) -> Exposure:
    """Choose how people reach the registry.

    Raises:
        RolloutBlocked: an annotation asks for what cannot be.
    """
    metadata = observation.registry["metadata"]
    return choose(
        metadata.get("annotations") or {},
        observation.capabilities,
        namespace=metadata["namespace"],
        own_certificate={"ssl.cert", "ssl.key"} <= bundle.files.keys(),
    )


def known_hostname(observation: Observation, bundle: Bundle, exposure: Exposure) -> str | None:
    """Return SERVER_HOSTNAME, None while the cluster has not yet told the registry's host.

    A port that people have to type belongs to it: the registry prints it into URLs and tokens.
    """
    name, namespace = observation.name, observation.registry["metadata"]["namespace"]
    given = bundle.config.get("SERVER_HOSTNAME")
    if given:
        return str(given)
    if not any(entry.kind == "route" and entry.managed for entry in observation.listed):
        return inside_address(name, namespace)
    if exposure.way is Way.ROUTE:
        route = observation.owned.get("Route", f"{name}-{REGISTRY_ROUTE}")
        return admitted_endpoint(route) if route is not None else None
    if exposure.way is Way.SERVICE and exposure.service_type == "LoadBalancer":
        service = observation.owned.get("Service", f"{name}-{outward.REGISTRY}")
        return outward.address_of(service) if service is not None else None
    host = exposure.fixed_host
    if not host and exposure.domain:
        host = f"{names.fitting(f'{name}-quay-{namespace}')}.{exposure.domain}"
    return host + exposure.port_suffix if host else inside_address(name, namespace)


def planned(
    observation: Observation,
    bundle: Bundle,
    *,
    settings: OperatorSettings,
    stored: Mapping[str, str],
) -> RegistryPlan:
    """Return what shall be, without a host name while the cluster has yet to give one.

    The one way from an observation to a plan: the operator goes it, and so does whoever only
    wants to know what it would do.

    Raises:
        RolloutBlocked: what was asked for cannot be.
    """
    _refuse_downgrade(observation, settings=settings)
    exposure = chosen_exposure(observation, bundle)
    check_components(observation.listed, exposure=exposure, bundle=bundle)
    overrides = read_overrides(observation.listed)
    plan = make_plan(
        observation,
        bundle,
        settings=settings,
        stored=stored,
        exposure=exposure,
        hostname=known_hostname(observation, bundle, exposure) or "",
        overrides=overrides,
    )
    volumes = wanted_volumes(
        observation.registry,
        overrides,
        owned=observation.owned,
        classes=observation.capabilities.storage_classes,
        stores=plan.stores,
    )
    return replace(plan, volumes=volumes, retained=_is_retained(observation.registry["metadata"]))


def completed(observation: Observation, bundle: Bundle) -> tuple[Component, ...]:
    """Return the components as the spec shall list them.

    Raises:
        RolloutBlocked: a kind is unknown, or cannot be had in this cluster.
    """
    return filled_components(
        observation.listed,
        capabilities=observation.capabilities,
        exposure=chosen_exposure(observation, bundle),
        bundle=bundle,
    )


def make_plan(
    observation: Observation,
    bundle: Bundle,
    *,
    settings: OperatorSettings,
    stored: Mapping[str, str],
    exposure: Exposure,
    hostname: str,
    overrides: Mapping[str, Overrides],
) -> RegistryPlan:
    """Put together everything that decides how the registry's objects look."""
    metadata = observation.registry["metadata"]
    current = observation.status.get("currentVersion", "")
    plan = RegistryPlan(
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
        exposure=exposure,
        service_authorities=_service_authorities(observation),
        bucket=observation.bucket,
        access_mode=_access_mode(metadata),
        overrides=overrides,
        released=released(observation.registry),
        restoration=_restoration(observation) if not current else None,
        migrating=current != settings.quay_version,
        upgrading=current not in ("", settings.quay_version),
    )
    stores = stores_of(plan.name, overrides, settings.images, owned=observation.owned)
    stores = {base: found for base, found in stores.items() if plan.manages(DATABASES[base])}
    if uses_volume(plan):
        storage_class = (metadata.get("annotations") or {}).get(names.DATA_STORE_CLASS_ANNOTATION)
        stores[DATA_STORE] = blob_store_of(
            plan, storage_class=storage_class, owned=observation.owned
        )
    return replace(plan, pair=_pair(plan, observation.owned, stored), stores=stores)


def _service_authorities(observation: Observation) -> JsonObject:
    found = observation.owned.get("ConfigMap", f"{observation.name}-{SERVICE_CA}")
    return dict((found or {}).get("data") or {})


def awaited(plan: RegistryPlan) -> RolloutBlocked | None:
    """Say what the cluster has yet to give before a configuration can be written; None: nothing."""
    if plan.manages("objectstorage") and plan.capabilities.object_buckets and not plan.bucket:
        claim = plan.prefix + DATA_STORE
        return RolloutBlocked(
            Reason.OBJECT_STORAGE_DEPENDENCY,
            "error checking for object storage support: awaiting for bucket claim to be processed",
            step=f"if that lasts, see that a provisioner looks after ObjectBucketClaim {claim}",
        )
    if (
        plan.tls_source is TlsSource.ISSUER
        and plan.exposure.way is Way.SERVICE
        and plan.pair is None
    ):
        name = plan.prefix + ISSUED
        return RolloutBlocked(
            Reason.ROUTE_DEPENDENCY,
            f"cert-manager has not issued Certificate {name} yet",
            step=f"if that lasts, see kubectl -n {plan.namespace} describe certificate {name}",
        )
    return None


def sketch(observation: Observation, *, settings: OperatorSettings) -> RegistryPlan:
    """Return as much of a plan as judging health needs; it is never rendered."""
    # Whether a pair is in use is what the spec says: the bundle that holds it may be the fault.
    unmanaged = any(entry.kind == "tls" and not entry.managed for entry in observation.listed)
    files = {"ssl.cert": b"", "ssl.key": b""} if unmanaged else {}
    bundle = Bundle(name=observation.bundle_name, config={}, files=files)
    try:
        exposure = chosen_exposure(observation, bundle)
    except RolloutBlocked:
        exposure = Exposure()
    metadata = observation.registry["metadata"]
    known = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key != names.ACCESS_MODE_ANNOTATION
    }
    registry = {**observation.registry, "metadata": {**metadata, "annotations": known}}
    observation = replace(observation, registry=registry)
    endpoint = str(observation.status.get("registryEndpoint") or "")
    return make_plan(
        observation,
        bundle,
        settings=settings,
        stored=keys.unknown(),
        exposure=exposure,
        hostname=endpoint.partition("://")[2],
        overrides=_readable_overrides(observation),
    )


def _readable_overrides(observation: Observation) -> Mapping[str, Overrides]:
    try:
        return read_overrides(observation.listed)
    except RolloutBlocked:
        # What cannot be followed changed nothing that runs.
        return {}


def _is_retained(metadata: JsonObject) -> bool:
    given = (metadata.get("annotations") or {}).get(names.RECLAIM_ANNOTATION, RECLAIMS[0])
    if given not in RECLAIMS:
        raise InputRefused(
            Reason.CONFIG_INVALID,
            f"the annotation {names.RECLAIM_ANNOTATION} cannot be followed, `{given}` says not "
            "what becomes of the data",
            step=f"write one of {', '.join(RECLAIMS)}",
        )
    return bool(given == "retain")


def _refuse_downgrade(observation: Observation, *, settings: OperatorSettings) -> None:
    """Leave alone what a later operator has brought to its version.

    Raises:
        RolloutBlocked: migrations only go forward, and pods of before may not know the schema.
    """
    current = str(observation.status.get("currentVersion") or "")
    try:
        is_later = bool(current) and Version(current) > Version(settings.quay_version)
    except InvalidVersion:
        # Whoever numbers in another way is trusted to go forward.
        return
    if is_later:
        raise InputRefused(
            Reason.DOWNGRADE_REFUSED,
            f"the registry is at version {current}, this operator brings {settings.quay_version}",
            step=f"run an operator of version {current} or later, or restore a backup of "
            f"{settings.quay_version} into an empty namespace",
        )


def _restoration(observation: Observation) -> Restoration | None:
    """Return the backup that an empty database has to be filled from.

    Raises:
        RolloutBlocked: what says where it lies is gone; an empty registry is not what was wanted.
    """
    annotations = observation.registry["metadata"].get("annotations") or {}
    name, _, backup = annotations.get(names.RESTORE_ANNOTATION, "").partition("/")
    if not name:
        return None
    try:
        found = read_spec(RestoreSpec, observation.restore or {})
    except NotReady as error:
        raise RolloutBlocked(
            Reason.CONFIG_INVALID,
            f"the registry is to be restored by QuayRegistryRestore {name}, which is not there",
            step=f"create it again, or take the annotation {names.RESTORE_ANNOTATION} away for an "
            "empty registry",
        ) from error
    return Restoration(vault=found.vault, backup=backup)


def _access_mode(metadata: JsonObject) -> str:
    given = (metadata.get("annotations") or {}).get(names.ACCESS_MODE_ANNOTATION)
    if given is None:
        return ACCESS_MODES[0]
    if given not in ACCESS_MODES:
        raise InputRefused(
            Reason.OBJECT_STORAGE_DEPENDENCY,
            f"the annotation {names.ACCESS_MODE_ANNOTATION} cannot be followed, `{given}` is no "
            "access mode for blobs",
            step=f"write one of {', '.join(ACCESS_MODES)}",
        )
    return str(given)


def _pair(plan: RegistryPlan, owned: Owned, stored: Mapping[str, str]) -> CertificatePair | None:
    """Return the pair that cert-manager made, or the operator's own."""
    if plan.tls_source is TlsSource.ISSUER:
        secret = owned.get("Secret", plan.prefix + ISSUED)
        found = (secret or {}).get("data") or {}
        encoded = [found.get(key, "") for key in ("tls.crt", "tls.key")]
        if not all(encoded):
            return None
        return CertificatePair(
            certificate=base64.b64decode(encoded[0]), key=base64.b64decode(encoded[1])
        )
    if plan.tls_source is TlsSource.SELF_SIGNED and keys.TLS_CERTIFICATE in stored:
        return CertificatePair(
            certificate=stored[keys.TLS_CERTIFICATE].encode(), key=stored[keys.TLS_KEY].encode()
        )
    return None


def check_name(registry: JsonObject) -> None:
    """Check that everything of a registry can be named after it.

    The cluster's definition refuses long names only where it knows rules in CEL, and of others it
    cannot say more: a rule that objects of before do not keep would stand in the way of their end.

    Raises:
        InputRefused: it cannot.
    """
    if fault := names.name_fault(registry["metadata"]["name"]):
        raise InputRefused(
            Reason.CONFIG_INVALID, fault, step="create the QuayRegistry under another name"
        )


def check_plan(plan: RegistryPlan) -> None:
    """Check what can only be judged with everything merged.

    Raises:
        RolloutBlocked: the pods would refuse this configuration, or clients the certificate.
    """
    if findings := validate_mapping(merged_configuration(plan)):
        text = "; ".join(str(finding) for finding in findings)
        if followed_profile(plan) and {finding.field for finding in findings} <= PROFILE_KEYS:
            raise InputRefused(
                Reason.CONFIG_INVALID,
                f"the TLS profile of APIServer {APISERVER} cannot be followed: {text}",
                step="correct its spec.tlsSecurityProfile, or set SSL_PROTOCOLS and SSL_CIPHERS in "
                f"config.yaml of Secret {plan.bundle_name}",
            )
        raise InputRefused(
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
                raise InputRefused(
                    Reason.CREATION_FAILED,
                    "could not inflate QuayRegistry into Kubernetes objects: provided "
                    f"certificate/key pair not valid for host '{host}': {fault}",
                    step=f"put a pair for {host} into {plan.certificate_place}",
                )

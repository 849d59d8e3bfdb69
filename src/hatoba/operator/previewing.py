"""Make explanations and previews from what an inspector sees.

The steps are those of a pass of the operator, with everything left out that writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hatoba.kernel.errors import Forbidden, Unauthenticated
from hatoba.kernel.json import JsonObject
from hatoba.operator import certificates, keys
from hatoba.operator.bundle import read_bundle
from hatoba.operator.components.probing import probed_kinds
from hatoba.operator.difference import Change, changes_of
from hatoba.operator.entries import same_components
from hatoba.operator.explanation import Case, Explanation, explain, unwell_containers
from hatoba.operator.inspecting import Inspector
from hatoba.operator.keeping import check_database_key
from hatoba.operator.landscape import TlsSource
from hatoba.operator.model import (
    Component,
    OperatorSettings,
    RegistryPlan,
    RolloutBlocked,
)
from hatoba.operator.observation import Observation
from hatoba.operator.plan import awaited, check_name, check_plan, completed, planned, sketch


@dataclass(slots=True, frozen=True, kw_only=True)
class Preview:
    """What would become of a QuayRegistry."""

    spec: tuple[str, ...] = ()
    """What the operator would fill in."""
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    refusal: RolloutBlocked | None = None


async def explained(
    inspector: Inspector, registry: JsonObject, *, settings: OperatorSettings, lines: int
) -> Explanation:
    """Say how a registry is."""
    glance = await inspector.glance(registry)
    plan, blocked = sketch(glance, settings=settings), None
    try:
        check_name(registry)
        plan = _judged(await inspector.observe(registry), settings=settings)
    except RolloutBlocked as found:
        blocked = found
    except (Forbidden, Unauthenticated):
        # Who may not read Secrets is told what the operator found when it read them.
        blocked = _told(registry)
    logs = {
        (pod, container): await inspector.log(pod, container, lines=lines)
        for pod, container in (unwell_containers(glance.owned) if lines else [])
    }
    return explain(
        Case(registry=registry, plan=plan, owned=glance.owned, blocked=blocked, logs=logs)
    )


def _judged(observation: Observation, *, settings: OperatorSettings) -> RegistryPlan:
    """Return the plan of a pass over what stands in the cluster.

    Raises:
        RolloutBlocked: the pass would end with it.
    """
    bundle = read_bundle(observation)
    filled = _filled(observation, completed(observation, bundle))
    plan = planned(
        filled, bundle, settings=settings, stored={**keys.unknown(), **observation.stored_keys}
    )
    if plan.hostname:
        if (missing := awaited(plan)) is not None:
            raise missing
        check_plan(plan)
    return plan


def _told(registry: JsonObject) -> RolloutBlocked | None:
    for condition in (registry.get("status") or {}).get("conditions") or []:
        if condition["type"] == "RolloutBlocked" and condition["status"] == "True":
            fact, _, step = condition["message"].rpartition(": ")
            return RolloutBlocked(condition["reason"], fact, step=step)
    return None


async def previewed(
    inspector: Inspector,
    wanted: JsonObject,
    secrets: Sequence[JsonObject],
    *,
    settings: OperatorSettings,
    now: datetime,
) -> Preview:
    """Say what the next passes would do with a QuayRegistry as it is wanted."""
    live = await inspector.registry(wanted["metadata"]["name"])
    candidate = _candidate(wanted, live, namespace=inspector.namespace)
    try:
        check_name(candidate)
        if not (candidate["spec"]).get("configBundleSecret"):
            return Preview(
                spec=("configBundleSecret: a new Secret of defaults",),
                notes=("the rest follows from that Secret: it can be shown once it exists",),
            )
        observation = _with_secrets(await inspector.observe(candidate), secrets)
        found = _preview(observation, settings=settings, now=now)
    except RolloutBlocked as refusal:
        return Preview(refusal=refusal)
    if inspector.is_outside_seen:
        return found
    mine = tuple(change for change in found.changes if change.namespace == inspector.namespace)
    return replace(found, changes=mine)


def _preview(observation: Observation, *, settings: OperatorSettings, now: datetime) -> Preview:
    bundle = read_bundle(observation)
    components = completed(observation, bundle)
    spec = (
        ()
        if same_components(observation.listed, components)
        else _added(observation.listed, components)
    )
    observation = _filled(observation, components)
    managed = any(entry.kind == "postgres" and entry.managed for entry in components)
    stored = keys.complete(
        observation.stored_keys, bundle.config, registry=observation.name, postgres_managed=managed
    )
    check_database_key(
        observation.stored_keys, stored, bundle=bundle.name, registry=observation.name
    )
    plan = planned(observation, bundle, settings=settings, stored=stored)
    notes = []
    if not plan.hostname:
        notes.append("the rest follows when the cluster has given the host name")
    else:
        if plan.tls_source is TlsSource.SELF_SIGNED and plan.pair is None:
            plan = replace(plan, pair=certificates.self_signed([plan.public_host], now=now))
        if (missing := awaited(plan)) is not None:
            notes.append(f"the rest waits: {missing.message}")
            plan = replace(plan, hostname="")
        else:
            check_plan(plan)
    if kinds := probed_kinds(plan):
        notes.append(f"{', '.join(kinds)}: asked before anything is rolled out")
    changes = tuple(changes_of(plan, observation.owned))
    return Preview(spec=spec, changes=changes, notes=tuple(notes))


def _added(listed: tuple[Component, ...], components: tuple[Component, ...]) -> tuple[str, ...]:
    return tuple(
        f"components: {entry.kind} managed: {str(entry.managed).lower()}"
        for entry in components
        if entry not in listed
    )


def _filled(observation: Observation, components: tuple[Component, ...]) -> Observation:
    """Return the observation as it is once the spec lists every component."""
    if same_components(observation.listed, components):
        return observation
    entries = [entry.wire for entry in components]
    spec = {**observation.registry["spec"], "components": entries}
    return replace(observation, registry={**observation.registry, "spec": spec})


def _candidate(wanted: JsonObject, live: JsonObject | None, *, namespace: str) -> JsonObject:
    """Return the registry as it stands in the cluster, with what is wanted of it.

    Fields that the file leaves out stay, as with `kubectl apply` of what others filled in.
    """
    metadata = {**(wanted.get("metadata") or {}), "namespace": namespace}
    spec = dict(wanted.get("spec") or {})
    if live is None:
        return {**wanted, "metadata": {"uid": "", "generation": 1, **metadata}, "spec": spec}
    annotations = {
        **(live["metadata"].get("annotations") or {}),
        **(metadata.get("annotations") or {}),
    }
    return {
        **live,
        "metadata": {**live["metadata"], "annotations": annotations},
        "spec": {**(live.get("spec") or {}), **spec},
    }


def _with_secrets(observation: Observation, secrets: Sequence[JsonObject]) -> Observation:
    """Take the bundle and the pair for TLS from the file, if they are in there."""
    for secret in secrets:
        data = dict(secret.get("data") or {}) | keys.encode(secret.get("stringData") or {})
        name = (secret.get("metadata") or {}).get("name")
        if name == observation.bundle_name:
            observation = replace(observation, bundle={**secret, "data": data}, bundle_error="")
        if name == observation.tls_secret_name:
            observation = replace(observation, tls_secret={**secret, "data": data}, tls_error="")
    return observation

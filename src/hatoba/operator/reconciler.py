"""One pass over one registry: observe, plan, render, apply, report.

Level-triggered and idempotent: a pass looks at what is, not at what happened, so that it can be
cut off between any two writes and the next one goes on. A converged registry costs no write.
"""

from datetime import datetime, timedelta
from typing import Final

import structlog

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import Conflict, Forbidden, Unauthenticated
from hatoba.kernel.json import JsonObject
from hatoba.operator import keys, names, objects, status
from hatoba.operator.apply import Applier
from hatoba.operator.components.route import EDITOR_ROUTE, REGISTRY_ROUTE
from hatoba.operator.configuration import default_configuration, dump_yaml
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.model import (
    DATA_STORE,
    OperatorSettings,
    Owned,
    Reason,
    RegistryPlan,
    RolloutBlocked,
)
from hatoba.operator.observe import Observer
from hatoba.operator.outside import Outside
from hatoba.operator.plan import (
    Bundle,
    Observation,
    check_components,
    check_plan,
    filled_components,
    known_hostname,
    make_plan,
    read_bundle,
    same_components,
)
from hatoba.operator.render import render, render_groundwork
from hatoba.operator.report import Reporter
from hatoba.operator.runtime.controller import Key, Outcome
from hatoba.operator.runtime.references import References

log = structlog.get_logger()

BLOCKED_RETRY_SECONDS: Final = 5.0
UNWELL_RETRY_SECONDS: Final = 10.0
"""Events explain a trouble and are not watched: they are read again after so long."""
ADMISSION_RETRY_SECONDS: Final = 2.0
ADMISSION_PATIENCE: Final = timedelta(seconds=30)
_NO_KEYS: Final = "not known yet"


class Reconciler:
    """Brings registries to what their specs ask for."""

    def __init__(
        self,
        cluster: Cluster,
        observer: Observer,
        references: References,
        *,
        settings: OperatorSettings,
        clock: Clock,
    ) -> None:
        self._cluster = cluster
        self._observer = observer
        self._references = references
        self._settings = settings
        self._clock = clock
        self._applier = Applier(cluster, clock=clock)
        self._reporter = Reporter(cluster, clock=clock)
        self._outside = Outside(cluster, settings=settings)

    async def reconcile(self, key: Key) -> Outcome:
        """Look at a registry, once."""
        namespace, name = key
        registry = await self._cluster.find(names.KIND, name, namespace=namespace)
        if registry is None or registry["metadata"].get("deletionTimestamp"):
            self._references.follow(key, ())
            if registry is not None:
                await self._outside.clean_up(registry)
            return Outcome(again_after_seconds=None)
        try:
            return await self._pass(key, registry)
        except RolloutBlocked as blocked:
            log.warning(
                "rollout blocked",
                namespace=namespace,
                name=name,
                reason=blocked.reason,
                message=blocked.message,
            )
            await self._report_blocked(registry, blocked)
            return Outcome(again_after_seconds=BLOCKED_RETRY_SECONDS)

    async def _pass(self, key: Key, registry: JsonObject) -> Outcome:
        try:
            if not (registry.get("spec") or {}).get("configBundleSecret"):
                await self._give_bundle(registry)
                return Outcome()
            self._references.follow(key, self._observer.references(registry))
            for kind, fault in self._observer.blind_spots().items():
                if kind in names.NEEDED_KINDS:
                    raise _forbidden(f"{kind} objects cannot be watched: {fault}")
            return await self._roll_out(await self._observer.observe(registry))
        except (Forbidden, Unauthenticated) as error:
            raise _forbidden(error.message) from error

    async def _roll_out(self, observation: Observation) -> Outcome:
        bundle = read_bundle(observation)
        components = filled_components(
            observation.listed, capabilities=observation.capabilities, bundle=bundle
        )
        if not same_components(observation.listed, components):
            await self._write_spec(
                observation.registry,
                {"components": [{"kind": c.kind, "managed": c.managed} for c in components]},
            )
            return Outcome()
        check_components(components, capabilities=observation.capabilities, bundle=bundle)
        stored = await self._keep_keys(observation, bundle)
        plan = make_plan(
            observation,
            bundle,
            settings=self._settings,
            stored=stored,
            hostname=known_hostname(observation, bundle) or "",
        )
        if not plan.hostname:
            return await self._prepare(plan, observation.owned)
        if plan.manages("objectstorage") and plan.capabilities.object_buckets and not plan.bucket:
            await self._applier.apply(plan, render_groundwork(plan), observation.owned)
            claim = plan.prefix + DATA_STORE
            raise RolloutBlocked(
                Reason.OBJECT_STORAGE_DEPENDENCY,
                "error checking for object storage support: awaiting for bucket claim to be "
                "processed",
                step=f"if that lasts, see that a provisioner looks after ObjectBucketClaim {claim}",
            )
        check_plan(plan)
        await self._outside.prepare(plan, observation.registry)
        rendered = render(plan)
        changed = await self._applier.apply(plan, rendered.objects, observation.owned)
        owned = await self._looked_at(observation.registry, plan)
        report = self._report(
            observation, plan, owned, editor_secret=rendered.mounts.editor_credentials
        )
        await self._reporter.report(observation.registry, report)
        if not changed:
            await self._applier.remove_outdated(rendered, owned)
        well = report.migration.done and all(v.ready for v in report.verdicts.values())
        return Outcome() if well else Outcome(again_after_seconds=UNWELL_RETRY_SECONDS)

    async def _looked_at(self, registry: JsonObject, plan: RegistryPlan) -> Owned:
        """Return what exists now; with the cluster's events when something is not well."""
        owned = self._observer.owned(registry)
        if not status.is_well(plan, owned):
            owned = owned.with_events(await self._observer.events(registry))
        return owned

    async def _prepare(self, plan: RegistryPlan, owned: Owned) -> Outcome:
        """Apply the Routes and wait for the host name that the cluster gives to them."""
        await self._applier.apply(plan, render_groundwork(plan), owned)
        name = plan.prefix + REGISTRY_ROUTE
        route = owned.get("Route", name)
        if route is not None:
            created = datetime.fromisoformat(route["metadata"]["creationTimestamp"])
            if self._clock.now() - created > ADMISSION_PATIENCE:
                raise RolloutBlocked(
                    Reason.ROUTE_DEPENDENCY,
                    f"no router has admitted Route {name}, so the registry has no host name",
                    step=f"see to the router, or set SERVER_HOSTNAME in Secret {plan.bundle_name}",
                )
        return Outcome(again_after_seconds=ADMISSION_RETRY_SECONDS)

    async def _give_bundle(self, registry: JsonObject) -> None:
        """Create a bundle of defaults and name it in the spec.

        A pass that was cut off between the two finds its own Secret again.
        """
        metadata = registry["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        prefix = f"{name}-config-bundle-"
        listing = await self._cluster.list("Secret", namespace=namespace, labelled=True)
        mine = Owned(listing.items, owner_uid=metadata["uid"]).of_kind("Secret")
        found = next((obj for obj in mine if obj["metadata"]["name"].startswith(prefix)), None)
        if found is None:
            found = await self._cluster.create(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "type": "Opaque",
                    "metadata": {
                        "generateName": prefix,
                        "namespace": namespace,
                        "labels": {names.REGISTRY_LABEL: name},
                        "ownerReferences": [_owner(registry)],
                    },
                    "data": keys.encode(
                        {"config.yaml": dump_yaml(default_configuration(self._settings)).decode()}
                    ),
                }
            )
        await self._write_spec(registry, {"configBundleSecret": found["metadata"]["name"]})

    async def _write_spec(self, registry: JsonObject, spec: JsonObject) -> None:
        metadata = registry["metadata"]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": spec}
        await self._cluster.merge(
            names.KIND, metadata["name"], patch, namespace=metadata["namespace"]
        )

    async def _keep_keys(self, observation: Observation, bundle: Bundle) -> dict[str, str]:
        """Return the registry's keys; whatever is new in them is stored first."""
        metadata = observation.registry["metadata"]
        name, namespace = keys.secret_name(observation.name), metadata["namespace"]
        managed = any(c.kind == "postgres" and c.managed for c in observation.listed)
        known = observation.stored_keys or _recovered(observation)
        complete = keys.complete(
            known,
            bundle.config,
            registry=observation.name,
            postgres_managed=managed,
        )
        if complete == observation.stored_keys:
            return complete
        if not observation.stored_keys:
            secret = {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": {names.REGISTRY_LABEL: observation.name},
                    "ownerReferences": [_owner(observation.registry)],
                },
                "data": keys.encode(complete),
            }
            # On a Conflict another pass was first: the queue brings us back to read its keys.
            await self._cluster.create(secret)
            return complete
        live = await self._cluster.get("Secret", name, namespace=namespace)
        if keys.decode(live) != observation.stored_keys:
            raise Conflict(f"the keys in {name} changed in between")
        await self._cluster.merge(
            "Secret",
            name,
            {
                "metadata": {"resourceVersion": live["metadata"]["resourceVersion"]},
                "data": keys.encode(complete),
            },
            namespace=namespace,
        )
        return complete

    def _report(
        self, observation: Observation, plan: RegistryPlan, owned: Owned, *, editor_secret: str
    ) -> status.Report:
        return status.Report(
            generation=observation.registry["metadata"]["generation"],
            version=plan.settings.quay_version,
            migration=status.migration_of(plan, owned),
            verdicts=status.verdicts_of(plan, owned),
            unhealthy=status.unhealthy_components(plan, owned),
            registry_endpoint=status.endpoint_of(owned, plan.prefix + REGISTRY_ROUTE)
            if plan.manages("route")
            else f"{plan.scheme}://{plan.hostname}",
            editor_endpoint=status.endpoint_of(owned, plan.prefix + EDITOR_ROUTE),
            editor_secret=editor_secret,
        )

    async def _report_blocked(self, registry: JsonObject, blocked: RolloutBlocked) -> None:
        """Say what is wrong; about pods that run since before, say how they are."""
        running = (registry.get("status") or {}).get("currentVersion") is not None
        verdicts, unhealthy = {}, {}
        if running:
            observation = self._observer.glance(registry)
            plan = self._sketch(observation)
            owned = await self._looked_at(registry, plan)
            verdicts = status.verdicts_of(plan, owned)
            # Which certificate is in use is a matter of the bundle that could not be used.
            verdicts.pop("tls")
            unhealthy = status.unhealthy_components(plan, owned)
        await self._reporter.report(
            registry,
            status.Report(
                generation=registry["metadata"]["generation"],
                version=self._settings.quay_version,
                blocked=blocked,
                migration=status.Migration(done=running),
                verdicts=verdicts,
                unhealthy=unhealthy,
            ),
        )

    def _sketch(self, observation: Observation) -> RegistryPlan:
        """Return as much of a plan as judging health needs; it is never rendered."""
        stored = dict.fromkeys(
            (
                keys.SECRET_KEY,
                keys.DATABASE_SECRET_KEY,
                keys.DB_ROOT_PASSWORD,
                keys.SCANNER_PSK,
                keys.CLAIR_DB_PASSWORD,
                keys.CLAIR_DB_ROOT_PASSWORD,
                keys.EDITOR_PASSWORD,
            ),
            _NO_KEYS,
        )
        return make_plan(
            observation,
            Bundle(name=observation.bundle_name, config={}, files={}),
            settings=self._settings,
            stored=stored,
            hostname="",
        )


def _recovered(observation: Observation) -> dict[str, str]:
    """Return keys whose own Secret is gone, from where else they stand.

    Raises:
        RolloutBlocked: there is a database that nobody has the password of any more.
    """
    name = observation.name
    found = keys.recover(observation.owned.of_kind("Secret"), registry=name)
    if found:
        log.warning("keys recovered", name=name, keys=sorted(found))
    elif observation.status.get("currentVersion"):
        raise RolloutBlocked(
            Reason.CREATION_FAILED,
            f"the Secret {keys.secret_name(name)} is gone, and with it the keys to this "
            "registry's data",
            step="restore it from a backup",
        )
    return found


def _forbidden(message: str) -> RolloutBlocked:
    """Say that the operator lacks a permission."""
    return RolloutBlocked(
        Reason.CREATION_FAILED,
        f"the Kubernetes API refuses the operator: {message.rstrip('.')}",
        step="grant its service account what deploy/rbac.yaml lists",
    )


def _owner(registry: JsonObject) -> JsonObject:
    metadata = registry["metadata"]
    return objects.owner(metadata["name"], uid=metadata["uid"])

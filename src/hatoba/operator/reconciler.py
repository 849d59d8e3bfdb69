"""One pass over one registry: observe, plan, render, apply, report.

Level-triggered and idempotent: a pass looks at what is, not at what happened, so that it can be
cut off between any two writes and the next one goes on. A converged registry costs no write.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import Forbidden, Unauthenticated
from hatoba.kernel.json import JsonObject
from hatoba.operator import names, status
from hatoba.operator.admission import (
    AdmissionBroken,
    AdmissionDenied,
    NamespaceEnding,
    Outages,
    blocked_by,
)
from hatoba.operator.apply import Applier
from hatoba.operator.asking import Asker
from hatoba.operator.bundle import Bundle, TlsSecretUnusable, read_bundle
from hatoba.operator.components.route import REGISTRY_ROUTE
from hatoba.operator.entries import same_components
from hatoba.operator.keeping import Keeper
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.landscape import Way
from hatoba.operator.model import (
    InputRefused,
    OperatorSettings,
    Owned,
    Reason,
    RegistryPlan,
    RolloutBlocked,
    Verdict,
)
from hatoba.operator.neighbours import Neighbours
from hatoba.operator.observation import Observation
from hatoba.operator.observe import Observer
from hatoba.operator.outside import Outside, finalizers_of
from hatoba.operator.plan import awaited, check_name, check_plan, completed, planned, sketch
from hatoba.operator.render import render, render_groundwork
from hatoba.operator.report import Reporter
from hatoba.operator.runtime.controller import RESYNC_SECONDS, Key, Outcome
from hatoba.operator.runtime.references import References

log = structlog.get_logger()

BLOCKED_RETRY_SECONDS: Final = 5.0
"""What blocks a registry may pass without a change that is watched: a permission, a quota, a
server of somebody else."""
BLOCKED_LONGEST_SECONDS: Final = RESYNC_SECONDS
"""A registry that only a watched change can help is looked at ever more rarely, up to this."""
UNWELL_RETRY_SECONDS: Final = 10.0
"""Events explain a trouble and are not watched: they are read again after so long."""
ADMISSION_RETRY_SECONDS: Final = 2.0
ADMISSION_PATIENCE: Final = timedelta(seconds=30)


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
        self._keeper = Keeper(cluster, settings=settings, clock=clock)
        self._applier = Applier(cluster, clock=clock)
        self._asker = Asker(cluster, self._applier, clock=clock)
        self._reporter = Reporter(cluster, clock=clock)
        self._outside = Outside(cluster, settings=settings)
        self._outages = Outages()
        self._neighbours = Neighbours(clock=clock)

    async def reconcile(self, key: Key) -> Outcome:
        """Look at a registry, once."""
        namespace, name = key
        registry = await self._cluster.find(names.KIND, name, namespace=namespace)
        if registry is None or registry["metadata"].get("deletionTimestamp"):
            self._references.follow(key, ())
            self._outages.over(key)
            self._neighbours.forget(key)
            if registry is not None:
                await self._outside.clean_up(registry)
            return Outcome(again_after_seconds=None)
        try:
            outcome = await self._patient_pass(key, registry)
        except RolloutBlocked as blocked:
            log.warning(
                "rollout blocked",
                namespace=namespace,
                name=name,
                reason=blocked.reason,
                message=blocked.message,
            )
            is_well = await self._report_blocked(registry, blocked)
            return Outcome(
                again_after_seconds=BLOCKED_RETRY_SECONDS,
                longest_seconds=BLOCKED_LONGEST_SECONDS
                if isinstance(blocked, InputRefused) and is_well
                else None,
            )
        except NamespaceEnding as ending:
            # It will not get better: the queue asks ever more rarely.
            await self._report_blocked(registry, blocked_by(ending))
            raise
        self._outages.over(key)
        return outcome

    async def _patient_pass(self, key: Key, registry: JsonObject) -> Outcome:
        """Let a webhook be away for a while, and tell when it stays away."""
        try:
            return await self._pass(key, registry)
        except AdmissionBroken as error:
            if not self._outages.is_lasting(key, now=self._clock.now()):
                raise
            raise blocked_by(error) from error

    async def _pass(self, key: Key, registry: JsonObject) -> Outcome:
        check_name(registry)
        try:
            if not (registry.get("spec") or {}).get("configBundleSecret"):
                await self._keeper.give_bundle(registry)
                return Outcome()
            self._references.follow(key, self._observer.references(registry))
            for kind, fault in self._observer.blind_spots().items():
                if kind in names.NEEDED_KINDS:
                    raise _forbidden(f"{kind} objects cannot be watched: {fault}")
            observation = await self._observer.observe(registry)
            bundle = read_bundle(observation)
            if await self._fill_in(observation, bundle):
                return Outcome()
            return await self._roll_out(observation, bundle)
        except AdmissionDenied as error:
            raise blocked_by(error) from error
        except (Forbidden, Unauthenticated) as error:
            raise _forbidden(error.message) from error

    async def _fill_in(self, observation: Observation, bundle: Bundle) -> bool:
        """Write what the spec leaves to the operator; False when it leaves nothing.

        The finalizer goes with it: it is set before anything needs it.
        """
        components = completed(observation, bundle)
        if same_components(observation.listed, components):
            return False
        is_monitored = any(one.kind == "monitoring" and one.managed for one in components)
        registry = observation.registry
        await self._keeper.write_spec(
            registry,
            {"components": [entry.wire for entry in components]},
            finalizers=finalizers_of(registry, is_monitored=True) if is_monitored else None,
        )
        return True

    async def _roll_out(self, observation: Observation, bundle: Bundle) -> Outcome:
        # All that can be wrong with the input is found before the first of it is stored.
        supposed = self._keeper.supposed_keys(observation, bundle)
        checked = planned(observation, bundle, settings=self._settings, stored=supposed)
        if checked.hostname and awaited(checked) is None:
            check_plan(checked)
        stored = await self._keeper.keep_keys(observation, bundle)
        plan = planned(observation, bundle, settings=self._settings, stored=stored)
        if not plan.hostname:
            return await self._prepare(plan, observation.owned)
        plan = await self._keeper.keep_pair(observation, plan, stored)
        if (missing := awaited(plan)) is not None:
            await self._applier.apply(plan, render_groundwork(plan), observation.owned)
            raise missing
        check_plan(plan)
        await self._outside.prepare(plan, observation.registry)
        rendered = render(plan)
        if not await self._asker.have_answered(plan, rendered, observation.owned):
            return Outcome(again_after_seconds=ADMISSION_RETRY_SECONDS)
        if plan.retained:
            await self._keeper.keep_owner(plan, observation.owned)
        changed = await self._applier.apply(plan, rendered.objects, observation.owned)
        if not plan.retained and not changed:
            await self._keeper.keep_owner(plan, observation.owned)
        owned = await self._looked_at(observation.registry, plan)
        silent = await self._neighbours.silent(plan, owned)
        report = self._report(
            observation,
            plan,
            owned,
            silent=silent,
            editor_secret=rendered.mounts.editor_credentials,
        )
        await self._reporter.report(observation.registry, report)
        await self._applier.tidy_moves(plan, observation.owned)
        if not changed:
            await self._applier.remove_outdated(rendered, owned)
            await self._asker.tidy(plan, rendered, owned)
        well = report.migration.done and all(v.ready for v in report.verdicts.values())
        due = self._neighbours.due_in_seconds((plan.namespace, plan.name))
        again = RESYNC_SECONDS if well else UNWELL_RETRY_SECONDS
        return Outcome(again_after_seconds=again if due is None else min(again, due))

    async def _looked_at(self, registry: JsonObject, plan: RegistryPlan) -> Owned:
        """Return what exists now; with the cluster's events when something is not well."""
        owned = self._observer.owned(registry)
        if not status.is_well(plan, owned):
            owned = owned.with_events(await self._observer.events(registry))
        return owned

    async def _prepare(self, plan: RegistryPlan, owned: Owned) -> Outcome:
        """Apply what the host name comes from, and wait for the cluster to give it."""
        await self._applier.apply(plan, render_groundwork(plan), owned)
        kind = "Route" if plan.exposure.way is Way.ROUTE else "Service"
        name = plan.prefix + REGISTRY_ROUTE
        found = owned.get(kind, name)
        if found is not None:
            created = datetime.fromisoformat(found["metadata"]["creationTimestamp"])
            if self._clock.now() - created > ADMISSION_PATIENCE:
                who = "router has admitted" if kind == "Route" else "load balancer serves"
                raise RolloutBlocked(
                    Reason.ROUTE_DEPENDENCY,
                    f"no {who} {kind} {name}, so the registry has no host name",
                    step=f"see to it, or set SERVER_HOSTNAME in Secret {plan.bundle_name}",
                )
        return Outcome(again_after_seconds=ADMISSION_RETRY_SECONDS)

    def _report(
        self,
        observation: Observation,
        plan: RegistryPlan,
        owned: Owned,
        *,
        silent: Mapping[str, Verdict],
        editor_secret: str,
    ) -> status.Report:
        return status.Report(
            generation=observation.registry["metadata"]["generation"],
            version=plan.settings.quay_version,
            migration=status.migration_of(plan, owned),
            verdicts=status.verdicts_of(plan, owned, silent=silent),
            unmoved=status.unmoved(plan),
            unhealthy=status.unhealthy_components(plan, owned),
            registry_endpoint=status.registry_endpoint(plan, owned),
            editor_endpoint=status.editor_endpoint(plan, owned),
            editor_secret=editor_secret,
        )

    async def _report_blocked(self, registry: JsonObject, blocked: RolloutBlocked) -> bool:
        """Say what is wrong; about pods that run since before, say how they are.

        Return False when these are not well: why is told by events, which are not watched.
        """
        running = (registry.get("status") or {}).get("currentVersion") is not None
        verdicts, unhealthy = {}, {}
        if running:
            observation = self._observer.glance(registry)
            plan = sketch(observation, settings=self._settings)
            owned = await self._looked_at(registry, plan)
            verdicts = status.verdicts_of(plan, owned)
            # Which certificate is in use is a matter of the bundle that could not be used.
            verdicts.pop("tls")
            if isinstance(blocked, TlsSecretUnusable):
                verdicts["tls"] = Verdict.bad(blocked.shown, step="see RolloutBlocked")
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
        return all(verdict.ready for verdict in verdicts.values())


def _forbidden(message: str) -> RolloutBlocked:
    """Say that the operator lacks a permission."""
    return RolloutBlocked(
        Reason.CREATION_FAILED,
        f"the Kubernetes API refuses the operator: {message.rstrip('.')}",
        step="grant its service account what deploy/base/roles.yaml lists",
    )

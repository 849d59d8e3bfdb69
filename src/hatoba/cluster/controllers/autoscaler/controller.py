"""The controller of HorizontalPodAutoscalers."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Final

from typing_extensions import override

from hatoba.cluster.controllers.autoscaler.limits import Bounds, Memory, normalize
from hatoba.cluster.controllers.autoscaler.metrics import MetricFailed, Outcome, evaluate
from hatoba.cluster.controllers.autoscaler.usage import Measured, sample
from hatoba.cluster.controllers.deployment.budget import replicas_of
from hatoba.cluster.controllers.runtime import Context, Controller, Keys
from hatoba.cluster.controllers.selectors import as_text, matches
from hatoba.cluster.controllers.values import (
    Key,
    find_condition,
    key_of,
    labels_of,
    name_of,
    spec_of,
    status_of,
)
from hatoba.cluster.objects import AUTOSCALERS, DEPLOYMENTS, PODS, REPLICA_SETS, ResourceName
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.errors import HatobaError, NotFound, Unavailable
from hatoba.kernel.json import JsonObject

_SCALABLE: Final[Mapping[str, ResourceName]] = {
    "Deployment": DEPLOYMENTS,
    "ReplicaSet": REPLICA_SETS,
}
_SOON: Final = 5.0
ABLE: Final = "AbleToScale"
ACTIVE: Final = "ScalingActive"
LIMITED: Final = "ScalingLimited"


class CannotScale(Unavailable):
    """The autoscaler gave up for this period; conditions and events say why."""


@dataclass(slots=True, kw_only=True)
class Pass:
    """One look at one autoscaler."""

    autoscaler: JsonObject
    now: datetime
    conditions: list[JsonObject]
    current: int | None = None
    desired: int = 0
    metrics: list[JsonObject] | None = None
    reason: str = ""
    is_rescaled: bool = field(default=False)

    def say(self, kind: str, status: str, said: tuple[str, str]) -> None:
        """Set a condition in its place."""
        reason, message = said
        fresh: JsonObject = {
            "type": kind,
            "status": status,
            "lastTransitionTime": rfc3339(self.now),
            "reason": reason,
            "message": message,
        }
        before = find_condition(self.conditions, kind)
        if before is None:
            self.conditions.append(fresh)
            return
        if before["status"] == status:
            fresh["lastTransitionTime"] = before["lastTransitionTime"]
        self.conditions[self.conditions.index(before)] = fresh

    def status(self) -> JsonObject:
        """Return the status to write."""
        before = status_of(self.autoscaler)
        status: JsonObject = {"desiredReplicas": self.desired, "conditions": self.conditions}
        current = before.get("currentReplicas") if self.current is None else self.current
        if current:
            status["currentReplicas"] = current
        if self.metrics:
            status["currentMetrics"] = self.metrics
        if self.is_rescaled:
            status["lastScaleTime"] = rfc3339(self.now)
        elif before.get("lastScaleTime"):
            status["lastScaleTime"] = before["lastScaleTime"]
        return status


class Autoscaler(Controller):
    """Scales targets by what their pods use."""

    name = "horizontal-pod-autoscaler"
    workers: ClassVar[int] = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._memories: dict[Key, Memory] = {}

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        # Its own status writes come back as events: only a new key starts a new period.
        return {
            AUTOSCALERS: self._fresh,
            PODS: lambda _: (),
            DEPLOYMENTS: lambda _: (),
            REPLICA_SETS: lambda _: (),
        }

    def _fresh(self, autoscaler: JsonObject) -> tuple[Key, ...]:
        key = key_of(autoscaler)
        if key in self._memories:
            return ()
        self._memories[key] = Memory()
        self.queue.add_after(key, seconds=min(self.settings.autoscaler_period, 1.0))
        return ()

    @override
    async def reconcile(self, key: Key) -> float | None:
        autoscaler = self.cache(AUTOSCALERS).get(key)
        if autoscaler is None:
            self._memories.pop(key, None)
            return None
        look = Pass(
            autoscaler=autoscaler,
            now=self.clock.now(),
            conditions=[dict(item) for item in status_of(autoscaler).get("conditions") or ()],
            desired=int(status_of(autoscaler).get("desiredReplicas") or 0),
            metrics=status_of(autoscaler).get("currentMetrics"),
        )
        pause = self.settings.autoscaler_period
        try:
            await self._scale(look, self._memories.setdefault(key, Memory()))
        except CannotScale:
            # Most often pods that just started: people look at their numbers right then.
            pause = min(pause, _SOON)
        with suppress(NotFound):
            await self.client.update_status(AUTOSCALERS, autoscaler, look.status())
        return pause

    async def _scale(self, look: Pass, memory: Memory) -> None:
        resource, target = self._target(look)
        current = look.current = replicas_of(target)
        spec = spec_of(look.autoscaler)
        bounds = Bounds(
            current=current,
            minimum=int(spec.get("minReplicas", 1)),
            maximum=int(spec["maxReplicas"]),
        )
        if not memory.recommendations:
            memory.recommend(current, now=look.now)
        look.metrics = None
        desired = self._desired(look, target, bounds, memory)
        if desired is None or desired == current:
            look.desired = current
            return
        await self._rescale(look, resource, target, desired=desired)
        memory.changed(desired - current, now=look.now)

    def _target(self, look: Pass) -> tuple[ResourceName, JsonObject]:
        reference = spec_of(look.autoscaler)["scaleTargetRef"]
        resource = _SCALABLE.get(reference["kind"])
        target = None
        if resource is not None:
            key = Key(key_of(look.autoscaler).namespace, reference["name"])
            target = self.cache(resource).get(key)
        if resource is None or target is None:
            if resource is None:
                text = f'no matches for kind "{reference["kind"]}" in group "apps"'
            else:
                text = f'{resource.plural}/scale.{resource.group} "{reference["name"]}" not found'
            self.recorder.warning(look.autoscaler, "FailedGetScale", text)
            prefix = "the HPA controller was unable to get the target's current scale: "
            look.say(ABLE, "False", ("FailedGetScale", prefix + text))
            raise CannotScale(text)
        text = "the HPA controller was able to get the target's current scale"
        look.say(ABLE, "True", ("SucceededGetScale", text))
        return resource, target

    def _desired(
        self, look: Pass, target: JsonObject, bounds: Bounds, memory: Memory
    ) -> int | None:
        if bounds.current == 0 and bounds.minimum != 0:
            text = "scaling is disabled since the replica count of the target is zero"
            look.say(ACTIVE, "False", ("ScalingDisabled", text))
            return None
        if bounds.current > bounds.maximum:
            look.reason = "Current number of replicas above Spec.MaxReplicas"
            return bounds.maximum
        if bounds.current < bounds.minimum:
            look.reason = "Current number of replicas below Spec.MinReplicas"
            return bounds.minimum
        outcome = self._evaluated(look, target, bounds)
        if outcome.replicas > bounds.current:
            look.reason = f"{outcome.name} above target"
        elif outcome.replicas < bounds.current:
            look.reason = "All metrics below target"
        behavior = spec_of(look.autoscaler).get("behavior")
        decision = normalize(outcome.replicas, bounds, memory, behavior, now=look.now)
        look.say(ABLE, "True", decision.able)
        look.say(LIMITED, "True" if decision.is_limited else "False", decision.limited)
        return decision.replicas

    def _evaluated(self, look: Pass, target: JsonObject, bounds: Bounds) -> Outcome:
        """Return the outcome of the metric that asks for most.

        Metrics that fail are skipped, unless all do or what is left would scale down.
        """
        selector = spec_of(target).get("selector")
        pods = [
            pod
            for pod in self.cache(PODS).items(key_of(target).namespace)
            if matches(selector, labels_of(pod))
        ]
        self._check_ambiguity(look, selector or {}, pods)
        best: Outcome | None = None
        failures: list[MetricFailed] = []
        look.metrics = []
        metrics = spec_of(look.autoscaler).get("metrics") or ()
        for metric in metrics:
            try:
                outcome = evaluate(
                    metric,
                    lambda resource, container: self._measured(resource, container, pods),
                    current=bounds.current,
                    now=look.now,
                )
            except MetricFailed as error:
                failures.append(error)
                look.metrics.append({"type": ""})
                self.recorder.warning(look.autoscaler, error.reason, error.message)
                continue
            look.metrics.append(outcome.status)
            if best is None or outcome.replicas > best.replicas:
                best = outcome
        if best is None or (failures and best.replicas < bounds.current):
            raise self._failed(look, failures, len(metrics))
        text = f"the HPA was able to successfully calculate a replica count from {best.name}"
        look.say(ACTIVE, "True", ("ValidMetricFound", text))
        return best

    def _failed(self, look: Pass, failures: list[MetricFailed], total: int) -> CannotScale:
        first = failures[0]
        text = f"the HPA was unable to compute the replica count: {first.message}"
        look.say(ACTIVE, "False", (first.reason, text))
        summary = (
            f"invalid metrics ({len(failures)} invalid out of {total}),"
            f" first error is: {first.summary}"
        )
        self.recorder.warning(look.autoscaler, "FailedComputeMetricsReplicas", summary)
        return CannotScale(summary)

    def _check_ambiguity(self, look: Pass, selector: JsonObject, pods: list[JsonObject]) -> None:
        rivals = {
            f"{key.namespace}/{key.name}"
            for other in self.cache(AUTOSCALERS).items(key_of(look.autoscaler).namespace)
            if (key := key_of(other)) and self._selects(other, pods)
        }
        if len(rivals) < 2:
            return
        text = (
            f"pods by selector {as_text(selector)} are controlled by multiple HPAs:"
            f" [{' '.join(sorted(rivals))}]"
        )
        self.recorder.warning(look.autoscaler, "AmbiguousSelector", text)
        self.recorder.warning(look.autoscaler, "FailedComputeMetricsReplicas", text)
        look.say(ACTIVE, "False", ("AmbiguousSelector", text))
        raise CannotScale(text)

    def _selects(self, autoscaler: JsonObject, pods: list[JsonObject]) -> bool:
        reference = spec_of(autoscaler)["scaleTargetRef"]
        resource = _SCALABLE.get(reference["kind"])
        if resource is None:
            return False
        target = self.cache(resource).get(Key(key_of(autoscaler).namespace, reference["name"]))
        selector = spec_of(target).get("selector") if target else None
        return any(matches(selector, labels_of(pod)) for pod in pods)

    def _measured(self, resource: str, container: str, pods: list[JsonObject]) -> Measured:
        samples = {}
        for pod in pods:
            usages = self.node.usage(key_of(pod).namespace, name_of(pod))
            found = sample(usages, pod, resource=resource, container=container)
            if found is not None:
                samples[name_of(pod)] = found
        return Measured(resource=resource, container=container, pods=pods, samples=samples)

    async def _rescale(
        self, look: Pass, resource: ResourceName, target: JsonObject, *, desired: int
    ) -> None:
        meta = target["metadata"]
        scale = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {
                "name": meta["name"],
                "namespace": meta["namespace"],
                "resourceVersion": meta["resourceVersion"],
            },
            "spec": {"replicas": desired},
        }
        size = f"New size: {desired}; reason: {look.reason}"
        try:
            await self.client.update(resource, scale, subresource="scale")
        except HatobaError as error:
            self.recorder.warning(
                look.autoscaler, "FailedRescale", f"{size}; error: {error.message}"
            )
            text = f"the HPA controller was unable to update the target scale: {error.message}"
            look.say(ABLE, "False", ("FailedUpdateScale", text))
            raise CannotScale(error.message) from error
        text = f"the HPA controller was able to update the target scale to {desired}"
        look.say(ABLE, "True", ("SucceededRescale", text))
        self.recorder.normal(look.autoscaler, "SuccessfulRescale", size)
        look.desired = desired
        look.is_rescaled = True

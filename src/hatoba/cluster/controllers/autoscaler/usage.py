"""From what pods use to how many there should be.

Amounts are thousandths (of cores, of bytes), so that every comparison is one of whole numbers.
Pods that are still starting, or were not measured, never make the number change in a direction
that their own load might contradict.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from hatoba.cluster.controllers import quantities
from hatoba.cluster.controllers.pods import FAILED, phase_of
from hatoba.cluster.controllers.values import (
    condition_of,
    is_deleting,
    moment,
    name_of,
    spec_of,
    status_of,
)
from hatoba.cluster.node import Usage
from hatoba.kernel.errors import Unavailable
from hatoba.kernel.json import JsonObject

TOLERANCE: Final = 0.1
_CPU_INITIALIZATION: Final = timedelta(minutes=5)
_INITIAL_READINESS: Final = timedelta(seconds=30)


class NoMetric(Unavailable):
    """A metric cannot be computed now; the message says why, in the autoscaler's words."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Sample:
    """What one pod used."""

    amount: int
    at: datetime
    window: timedelta


@dataclass(slots=True, frozen=True, kw_only=True)
class Measured:
    """One resource of all pods of a target."""

    resource: str
    container: str
    """Only this container, "" for all."""
    pods: Sequence[JsonObject]
    samples: Mapping[str, Sample]


@dataclass(slots=True, frozen=True, kw_only=True)
class Proposal:
    """What one metric asks for, and what it is now."""

    replicas: int
    average: int
    utilization: int | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class _Groups:
    ready: int
    amounts: dict[str, int]
    """Of the pods that count."""
    unready: frozenset[str]
    missing: frozenset[str]


def sample(
    usages: Sequence[Usage], pod: JsonObject, *, resource: str, container: str
) -> Sample | None:
    """Return what a pod (or its one container) used, None unless all of it was measured."""
    wanted = {container} if container else {item["name"] for item in spec_of(pod)["containers"]}
    chosen = [usage for usage in usages if usage.container in wanted]
    if {usage.container for usage in chosen} != wanted:
        return None
    if resource == "cpu":
        amount = math.ceil(sum(usage.cpu_nanocores for usage in chosen) / 1_000_000)
    elif resource == "memory":
        amount = sum(usage.memory_bytes for usage in chosen) * 1000
    else:
        return None
    return Sample(
        amount=amount,
        at=datetime.fromtimestamp(min(usage.at for usage in chosen), UTC),
        window=timedelta(seconds=max(usage.window_seconds for usage in chosen)),
    )


def by_utilization(measured: Measured, *, current: int, target: int, now: datetime) -> Proposal:
    """Return what a target percentage of the requests asks for.

    Raises:
        NoMetric: nothing was measured, or a container has no request.
    """
    groups = _grouped(measured, now=now)
    requests = {name_of(pod): _request(pod, measured) for pod in measured.pods}

    def percentage(amounts: Mapping[str, int]) -> float:
        asked = sum(requests[name] for name in amounts)
        if not asked:
            raise NoMetric("no metrics returned matched known pods")
        return 100 * sum(amounts.values()) // asked

    utilization = percentage(groups.amounts)
    replicas = _replicas(
        groups,
        current=current,
        ratio_of=lambda amounts: percentage(amounts) / target,
        # A pod nobody measured may be as busy as it was promised to be allowed.
        busy=lambda name: requests[name] * max(100, target) // 100,
    )
    average = sum(groups.amounts.values()) // len(groups.amounts)
    return Proposal(replicas=replicas, average=average, utilization=int(utilization))


def by_average(measured: Measured, *, current: int, target: int, now: datetime) -> Proposal:
    """Return what a target amount per pod asks for.

    Raises:
        NoMetric: nothing was measured.
    """
    groups = _grouped(measured, now=now)
    replicas = _replicas(
        groups,
        current=current,
        ratio_of=lambda amounts: sum(amounts.values()) / len(amounts) / target,
        busy=lambda _: target,
    )
    return Proposal(replicas=replicas, average=sum(groups.amounts.values()) // len(groups.amounts))


def _replicas(
    groups: _Groups,
    *,
    current: int,
    ratio_of: Callable[[Mapping[str, int]], float],
    busy: Callable[[str], int],
) -> int:
    ratio = ratio_of(groups.amounts)
    counts_unready = bool(groups.unready) and ratio > 1.0
    if not counts_unready and not groups.missing:
        return current if _is_near(ratio) else math.ceil(ratio * groups.ready)
    amounts = dict(groups.amounts)
    if ratio < 1.0:
        amounts |= {name: busy(name) for name in groups.missing}
    elif ratio > 1.0:
        amounts |= dict.fromkeys(groups.missing, 0)
    if counts_unready:
        amounts |= dict.fromkeys(groups.unready, 0)
    cautious = ratio_of(amounts)
    turned = (ratio < 1.0 < cautious) or (cautious < 1.0 < ratio)
    if _is_near(cautious) or turned:
        return current
    wanted = math.ceil(cautious * len(amounts))
    contradicts = (cautious < 1.0 and wanted > current) or (cautious > 1.0 and wanted < current)
    return current if contradicts else wanted


def _is_near(ratio: float) -> bool:
    return abs(1.0 - ratio) <= TOLERANCE


def _grouped(measured: Measured, *, now: datetime) -> _Groups:
    resource = measured.resource
    if not measured.samples:
        raise NoMetric(
            f"unable to get metrics for resource {resource}: "
            "no metrics returned from resource metrics API"
        )
    if not measured.pods:
        raise NoMetric("no pods returned by selector while calculating replica count")
    unready: set[str] = set()
    missing: set[str] = set()
    amounts: dict[str, int] = {}
    for pod in measured.pods:
        name, found = name_of(pod), measured.samples.get(name_of(pod))
        if is_deleting(pod) or phase_of(pod) == FAILED:
            continue
        if phase_of(pod) == "Pending":
            unready.add(name)
        elif found is None:
            missing.add(name)
        elif resource == "cpu" and _is_starting(pod, found, now=now):
            unready.add(name)
        else:
            amounts[name] = found.amount
    if not amounts:
        raise NoMetric("did not receive metrics for targeted pods (pods might be unready)")
    return _Groups(
        ready=len(amounts),
        amounts=amounts,
        unready=frozenset(unready),
        missing=frozenset(missing),
    )


def _is_starting(pod: JsonObject, found: Sample, *, now: datetime) -> bool:
    """Whether the pod's use of CPU still says more about its start than about its load."""
    condition = condition_of(pod, "Ready")
    started = status_of(pod).get("startTime")
    if condition is None or not started:
        return True
    is_ready = condition["status"] == "True"
    changed = moment(condition["lastTransitionTime"])
    if moment(started) + _CPU_INITIALIZATION > now:
        return not is_ready or found.at < changed + found.window
    return not is_ready and moment(started) + _INITIAL_READINESS > changed


def _request(pod: JsonObject, measured: Measured) -> int:
    total = 0
    for container in spec_of(pod)["containers"]:
        if measured.container and container["name"] != measured.container:
            continue
        requests = (container.get("resources") or {}).get("requests") or {}
        if measured.resource not in requests:
            raise NoMetric(
                f"missing request for {measured.resource} in container"
                f" {container['name']} of Pod {name_of(pod)}"
            )
        total += quantities.milli(quantities.parse(requests[measured.resource]))
    return total

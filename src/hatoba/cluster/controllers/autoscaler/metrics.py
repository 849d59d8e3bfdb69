"""The metrics of an autoscaler's spec: each one's proposal, status and words when it fails."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from hatoba.cluster.controllers import quantities
from hatoba.cluster.controllers.autoscaler.usage import (
    Measured,
    NoMetric,
    Proposal,
    by_average,
    by_utilization,
)
from hatoba.kernel.json import JsonObject

Measure = Callable[[str, str], Measured]
"""Measure a resource of the target's pods, of one container or ("") of all."""


class MetricFailed(NoMetric):
    """A metric of the spec gives no number."""

    def __init__(self, reason: str, message: str, *, summary: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.summary = summary


@dataclass(slots=True, frozen=True, kw_only=True)
class Outcome:
    """What one metric of the spec came to."""

    replicas: int
    name: str
    status: JsonObject


def evaluate(metric: JsonObject, measure: Measure, *, current: int, now: datetime) -> Outcome:
    """Return a metric's outcome.

    Raises:
        MetricFailed: it cannot be computed now, or is of a type that nothing here measures.
    """
    kind = metric["type"]
    if kind == "Resource":
        return _resource(metric["resource"], measure, current=current, now=now)
    if kind == "ContainerResource":
        return _container(metric["containerResource"], measure, current=current, now=now)
    raise _unmeasured(kind)


def _resource(source: JsonObject, measure: Measure, *, current: int, now: datetime) -> Outcome:
    name = source["name"]
    try:
        proposal = _proposal(source, measure(name, ""), current=current, now=now)
    except NoMetric as error:
        message = f"failed to get {name} {_what(source)}: {error.message}"
        raise MetricFailed(
            "FailedGetResourceMetric",
            message,
            summary=f"failed to get {name} resource metric value: {message}",
        ) from error
    return Outcome(
        replicas=proposal.replicas,
        name=f"{name} resource{_suffix(source)}",
        status={"type": "Resource", "resource": {"name": name, "current": _current(proposal)}},
    )


def _container(source: JsonObject, measure: Measure, *, current: int, now: datetime) -> Outcome:
    name, container = source["name"], source["container"]
    try:
        proposal = _proposal(source, measure(name, container), current=current, now=now)
    except NoMetric as error:
        message = f"failed to get {name} {_what(source)}: {error.message}"
        raise MetricFailed(
            "FailedGetContainerResourceMetric",
            message,
            summary=f"failed to get {name} container metric value: {message}",
        ) from error
    return Outcome(
        replicas=proposal.replicas,
        name=f"{name} container resource{_suffix(source)}",
        status={
            "type": "ContainerResource",
            "containerResource": {
                "name": name,
                "container": container,
                "current": _current(proposal),
            },
        },
    )


def _proposal(source: JsonObject, measured: Measured, *, current: int, now: datetime) -> Proposal:
    target = source["target"]
    if target.get("averageValue") is not None:
        amount = quantities.milli(quantities.parse(target["averageValue"]))
        return by_average(measured, current=current, target=amount, now=now)
    if target.get("averageUtilization") is None:
        raise NoMetric(
            "invalid resource metric source: neither an average utilization"
            " target nor an average value (usage) target was set"
        )
    return by_utilization(
        measured, current=current, target=int(target["averageUtilization"]), now=now
    )


def _what(source: JsonObject) -> str:
    return "usage" if source["target"].get("averageValue") is not None else "utilization"


def _suffix(source: JsonObject) -> str:
    if source["target"].get("averageValue") is not None:
        return ""
    return " utilization (percentage of request)"


def _current(proposal: Proposal) -> JsonObject:
    current: JsonObject = {"averageValue": quantities.text_of_milli(proposal.average)}
    if proposal.utilization is not None:
        current["averageUtilization"] = proposal.utilization
    return current


def _unmeasured(kind: str) -> MetricFailed:
    interface = "external.metrics.k8s.io" if kind == "External" else "custom.metrics.k8s.io"
    message = (
        f"unable to fetch metrics: this cluster serves no {interface};"
        " only metrics of type Resource and ContainerResource are measured"
    )
    return MetricFailed(
        f"FailedGet{kind}Metric", message, summary=f"failed to get {kind.lower()} metric: {message}"
    )

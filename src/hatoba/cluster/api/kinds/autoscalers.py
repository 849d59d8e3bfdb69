"""Rules of HorizontalPodAutoscalers, and their two versions.

Spec: API reference, HorizontalPodAutoscaler v1 and v2. Version 1 knows one CPU target; everything
else travels in annotations, as a real server does it.
"""

import json
from typing import Any, Final

from typing_extensions import override

from hatoba.cluster.api.documents import reach
from hatoba.cluster.api.metadata import forbidden, invalid, required
from hatoba.cluster.api.status import Cause
from hatoba.cluster.api.strategy import Strategy
from hatoba.kernel.json import JsonObject

_PREFIX: Final = "autoscaling.alpha.kubernetes.io/"
_DEFAULT_UTILIZATION: Final = 80
_ZERO_SENTENCE: Final = (
    "must specify at least one Object or External metric to support scaling to zero replicas"
)
_POLICIES: Final[dict[str, list[JsonObject]]] = {
    "scaleUp": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
    "scaleDown": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


class AutoscalerRules(Strategy):
    """Replicas between a minimum and a maximum, driven by metrics."""

    @override
    def initial_status(self) -> JsonObject:
        return {"desiredReplicas": 0, "currentMetrics": None}

    @override
    def default(self, obj: JsonObject) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("minReplicas") is None:
            spec["minReplicas"] = 1
        if not spec.get("metrics"):
            spec["metrics"] = [_cpu_metric(_DEFAULT_UTILIZATION)]
        behavior = spec.get("behavior")
        if behavior:
            for direction, policies in _POLICIES.items():
                _default_rules(behavior, direction, policies)

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        spec = obj["spec"]
        causes = []
        low, high = spec["minReplicas"], spec.get("maxReplicas", 0)
        if low < 1:
            causes.append(
                invalid("spec.minReplicas", str(low), "must be greater than or equal to 1")
            )
        if high < 1:
            causes.append(invalid("spec.maxReplicas", str(high), "must be greater than 0"))
        if high < low:
            causes.append(
                invalid(
                    "spec.maxReplicas", str(high), "must be greater than or equal to `minReplicas`"
                )
            )
        target = spec.get("scaleTargetRef") or {}
        causes += [
            required(f"spec.scaleTargetRef.{key}")
            for key in ("kind", "name")
            if not target.get(key)
        ]
        if low == 0 and not any(m.get("type") in ("Object", "External") for m in spec["metrics"]):
            causes.append(forbidden("spec.metrics", _ZERO_SENTENCE))
        return causes


def _default_rules(behavior: JsonObject, direction: str, policies: list[JsonObject]) -> None:
    rules = behavior.get(direction)
    if rules is None:
        rules = behavior[direction] = {}
    if direction == "scaleUp" and rules.get("stabilizationWindowSeconds") is None:
        rules["stabilizationWindowSeconds"] = 0
    rules.setdefault("selectPolicy", "Max")
    if not rules.get("policies"):
        rules["policies"] = [dict(policy) for policy in policies]


def _cpu_metric(utilization: int) -> JsonObject:
    target = {"type": "Utilization", "averageUtilization": utilization}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def to_v1(obj: JsonObject) -> JsonObject:
    """Return an autoscaler of version 2 as version 1 has it."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    annotations = dict(obj["metadata"].get("annotations") or {})
    utilization, others = None, []
    for metric in spec.get("metrics") or []:
        value = reach(metric, "resource", "target", "averageUtilization")
        if reach(metric, "resource", "name") == "cpu" and value is not None and utilization is None:
            utilization = value
        else:
            others.append(_metric_v1(metric))
    for key, value in (
        ("metrics", others),
        ("behavior", spec.get("behavior")),
        ("conditions", status.get("conditions")),
        ("current-metrics", status.get("currentMetrics")),
    ):
        if value:
            annotations[_PREFIX + key] = json.dumps(value, separators=(",", ":"))
    metadata = {**obj["metadata"]}
    if annotations:
        metadata["annotations"] = annotations
    kept = {k: spec[k] for k in ("scaleTargetRef", "minReplicas", "maxReplicas") if k in spec}
    if utilization is not None:
        kept["targetCPUUtilizationPercentage"] = utilization
    told = {
        key: status[key]
        for key in ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
        if key in status
    }
    current = _current_cpu(status)
    if current is not None:
        told["currentCPUUtilizationPercentage"] = current
    told.setdefault("currentReplicas", 0)
    told.setdefault("desiredReplicas", 0)
    return {
        "kind": obj["kind"],
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": kept,
        "status": told,
    }


def _current_cpu(status: JsonObject) -> int | None:
    for metric in status.get("currentMetrics") or []:
        if reach(metric, "resource", "name") == "cpu":
            value: int | None = reach(metric, "resource", "current", "averageUtilization")
            return value
    return None


def _metric_v1(metric: JsonObject) -> JsonObject:
    resource = metric.get("resource")
    if not resource:
        return metric
    told = {"name": resource["name"]}
    target = resource.get("target") or {}
    if target.get("averageUtilization") is not None:
        told["targetAverageUtilization"] = target["averageUtilization"]
    elif target.get("averageValue") is not None:
        told["targetAverageValue"] = target["averageValue"]
    return {"type": metric["type"], "resource": told}


def _metric_v2(metric: JsonObject) -> JsonObject:
    resource = metric.get("resource")
    if not resource or "target" in resource:
        return metric
    target: JsonObject = {"type": "Utilization"}
    if "targetAverageUtilization" in resource:
        target["averageUtilization"] = resource["targetAverageUtilization"]
    else:
        target = {"type": "AverageValue", "averageValue": resource.get("targetAverageValue")}
    return {"type": metric["type"], "resource": {"name": resource["name"], "target": target}}


def from_v1(obj: JsonObject) -> JsonObject:
    """Return an autoscaler of version 1 as version 2 has it."""
    annotations = dict(obj["metadata"].get("annotations") or {})
    parsed: dict[str, Any] = {}
    for key in ("metrics", "behavior", "conditions", "current-metrics"):
        text = annotations.pop(_PREFIX + key, None)
        if text is not None:
            parsed[key] = json.loads(text)
    metadata = {**obj["metadata"]}
    if "annotations" in metadata:
        metadata["annotations"] = annotations
    spec = dict(obj.get("spec") or {})
    utilization = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = [_metric_v2(metric) for metric in parsed.get("metrics") or []]
    if utilization is not None:
        metrics.append(_cpu_metric(utilization))
    if metrics:
        spec["metrics"] = metrics
    if "behavior" in parsed:
        spec["behavior"] = parsed["behavior"]
    status = dict(obj.get("status") or {})
    status.pop("currentCPUUtilizationPercentage", None)
    if "conditions" in parsed:
        status["conditions"] = parsed["conditions"]
    if "current-metrics" in parsed:
        status["currentMetrics"] = parsed["current-metrics"]
    return {**obj, "metadata": metadata, "spec": spec, "status": status}

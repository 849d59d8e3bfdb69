"""Rules of Deployments, ReplicaSets and Jobs."""

import json
from typing import Any, Final

from typing_extensions import override

from hatoba.cluster.api.documents import reach
from hatoba.cluster.api.kinds.defaults import default_template
from hatoba.cluster.api.kinds.podspecs import validate_pod_spec
from hatoba.cluster.api.kinds.printing import go_label_selector, go_map
from hatoba.cluster.api.metadata import forbidden, invalid, required, unsupported, validate_label
from hatoba.cluster.api.scale import label_selector_text
from hatoba.cluster.api.status import Cause
from hatoba.cluster.api.store import Store
from hatoba.cluster.api.strategy import Strategy
from hatoba.cluster.formats.selectors import parse_labels
from hatoba.cluster.objects import Propagation
from hatoba.kernel.json import JsonObject

CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"
JOB_NAME: Final = "batch.kubernetes.io/job-name"
_PODS_STAY: Final = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background"
    " to remove them or set propagationPolicy=Orphan to suppress this warning"
)
_NOT_NEGATIVE: Final = "must be greater than or equal to 0"
_NO_MATCH: Final = "`selector` does not match template `labels`"


class TemplateRules(Strategy):
    """What Deployments and ReplicaSets have in common."""

    @override
    def initial_status(self) -> JsonObject:
        return {}

    @override
    def default(self, obj: JsonObject) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("replicas") is None:
            spec["replicas"] = 1
        if spec.get("template") is not None:
            default_template(spec["template"])
            labels = reach(spec, "template", "metadata", "labels")
            if labels and not obj["metadata"].get("labels"):
                self.inherit_labels(obj, labels)

    def inherit_labels(self, obj: JsonObject, labels: JsonObject) -> None:
        """Label the object as its pods, where the kind does so."""

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        spec = obj["spec"]
        causes = [
            invalid(f"spec.{key}", str(spec[key]), _NOT_NEGATIVE)
            for key in ("replicas", "minReadySeconds")
            if (spec.get(key) or 0) < 0
        ]
        selector = spec.get("selector")
        labels = reach(spec, "template", "metadata", "labels") or {}
        if selector is None:
            causes.append(required("spec.selector"))
        elif not (selector.get("matchLabels") or selector.get("matchExpressions")):
            causes.append(
                invalid(
                    "spec.selector",
                    go_label_selector(selector),
                    "empty selector is invalid for deployment",
                )
            )
        if not _selects(selector, labels):
            causes.append(invalid("spec.template.metadata.labels", go_map(labels), _NO_MATCH))
        return causes + self._validate_template(spec)

    @staticmethod
    def _validate_template(spec: JsonObject) -> list[Cause]:
        template = spec.get("template")
        if template is None:
            return [required("spec.template")]
        causes: list[Cause] = []
        for key, value in (reach(template, "metadata", "labels") or {}).items():
            causes += validate_label(key, value, "spec.template.labels")
        pod = template.get("spec") or {}
        causes += validate_pod_spec(pod, "spec.template.spec")
        policy = pod.get("restartPolicy")
        if policy in ("OnFailure", "Never"):
            causes.append(unsupported("spec.template.spec.restartPolicy", policy, ("Always",)))
        return causes

    @override
    def validate_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        causes = self.validate(new)
        selector = new["spec"].get("selector")
        if selector != old["spec"].get("selector"):
            causes.append(
                invalid("spec.selector", go_label_selector(selector), "field is immutable")
            )
        return causes


def _selects(selector: JsonObject | None, labels: JsonObject) -> bool:
    text = label_selector_text(selector)
    return bool(text) and parse_labels(text).matches(labels)


class DeploymentRules(TemplateRules):
    """A change of the annotations is a change of the desired state too."""

    @override
    def default(self, obj: JsonObject) -> None:
        super().default(obj)
        spec = obj["spec"]
        strategy = spec.setdefault("strategy", {})
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)

    @override
    def changes_generation(self, new: JsonObject, old: JsonObject) -> bool:
        annotations = [obj["metadata"].get("annotations") or {} for obj in (new, old)]
        return super().changes_generation(new, old) or annotations[0] != annotations[1]

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        strategy = obj["spec"]["strategy"]
        field = "spec.strategy"
        causes = super().validate(obj)
        rolling = strategy.get("rollingUpdate")
        if strategy["type"] == "Recreate":
            if rolling is not None:
                sentence = "may not be specified when strategy `type` is 'Recreate'"
                causes.append(forbidden(f"{field}.rollingUpdate", sentence))
        elif strategy["type"] != "RollingUpdate":
            causes.append(
                unsupported(f"{field}.type", strategy["type"], ("Recreate", "RollingUpdate"))
            )
        elif _is_zero(rolling.get("maxSurge")) and _is_zero(rolling.get("maxUnavailable")):
            causes.append(
                invalid(
                    f"{field}.rollingUpdate.maxUnavailable",
                    'intstr.IntOrString{Type:0, IntVal:0, StrVal:""}',
                    "may not be 0 when `maxSurge` is 0",
                )
            )
        return causes


def _is_zero(value: Any) -> bool:
    return value in (0, "0%")


class ReplicaSetRules(TemplateRules):
    """A ReplicaSet without labels takes those of its pods."""

    @override
    def initial_status(self) -> JsonObject:
        return {"replicas": 0}

    @override
    def inherit_labels(self, obj: JsonObject, labels: JsonObject) -> None:
        obj["metadata"]["labels"] = dict(labels)


class JobRules(Strategy):
    """A Job finds its pods by labels that nobody else can have."""

    @override
    def default_propagation(self) -> Propagation:
        """Jobs of batch/v1 have always left their pods behind."""
        return "Orphan"

    @override
    def deletion_warnings(self) -> list[str]:
        return [_PODS_STAY]

    @override
    def initial_status(self) -> JsonObject:
        return {}

    @override
    def default(self, obj: JsonObject) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("completions") is None and spec.get("parallelism") is None:
            spec["completions"] = 1
        for key, value in (
            ("parallelism", 1),
            ("backoffLimit", 6),
            ("completionMode", "NonIndexed"),
            ("suspend", False),
            ("manualSelector", False),
            ("podReplacementPolicy", "TerminatingOrFailed"),
        ):
            if spec.get(key) is None:
                spec[key] = value
        if spec.get("template") is not None:
            default_template(spec["template"])

    @override
    def admit_create(self, obj: JsonObject, store: Store) -> None:
        spec, metadata = obj["spec"], obj["metadata"]
        if spec.get("manualSelector"):
            return
        template = spec.setdefault("template", {}).setdefault("metadata", {})
        labels = template.get("labels") or {}
        uid, name = metadata["uid"], metadata.get("name", "")
        own = {CONTROLLER_UID: uid, JOB_NAME: name, "controller-uid": uid, "job-name": name}
        template["labels"] = {**labels, **own}
        selector = spec.setdefault("selector", {})
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), CONTROLLER_UID: uid}
        if not metadata.get("labels"):
            metadata["labels"] = dict(template["labels"])

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        spec = obj["spec"]
        causes = [
            invalid(f"spec.{key}", str(spec[key]), _NOT_NEGATIVE)
            for key in (
                "parallelism",
                "completions",
                "backoffLimit",
                "activeDeadlineSeconds",
                "ttlSecondsAfterFinished",
            )
            if (spec.get(key) or 0) < 0
        ]
        labels = reach(spec, "template", "metadata", "labels") or {}
        selector = spec.get("selector") or {}
        own = [CONTROLLER_UID]
        if not spec.get("manualSelector") and list(selector.get("matchLabels") or {}) != own:
            causes.append(
                invalid(
                    "spec.selector", go_label_selector(selector), "`selector` not auto-generated"
                )
            )
        if not _selects(selector, labels):
            causes.append(invalid("spec.template.metadata.labels", go_map(labels), _NO_MATCH))
        return causes + self._validate_template(spec)

    @staticmethod
    def _validate_template(spec: JsonObject) -> list[Cause]:
        pod = reach(spec, "template", "spec") or {}
        field = "spec.template.spec"
        policy = pod.get("restartPolicy")
        probe = {**pod, "restartPolicy": "Never"}
        causes = validate_pod_spec(probe, field)
        if policy == "Always":
            # The default of pods is none that a Job accepts: that is told as a missing choice.
            sentence = 'valid values: "OnFailure", "Never"'
            causes.append(required(f"{field}.restartPolicy", sentence))
        elif policy not in ("OnFailure", "Never"):
            choices = ("OnFailure", "Never")
            causes.append(unsupported(f"{field}.restartPolicy", policy or "", choices))
        return causes

    @override
    def validate_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        causes = self.validate(new)
        for key in ("selector", "completionMode", "template"):
            if new["spec"].get(key) != old["spec"].get(key) and not self._may_change(key, old):
                value = json.dumps(new["spec"].get(key))
                causes.append(invalid(f"spec.{key}", value, "field is immutable"))
        return causes

    @staticmethod
    def _may_change(key: str, old: JsonObject) -> bool:
        """A suspended Job that never ran may still be scheduled elsewhere."""
        started = reach(old, "status", "startTime")
        return key == "template" and bool(old["spec"].get("suspend")) and not started

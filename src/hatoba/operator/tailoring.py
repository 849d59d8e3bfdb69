"""Apply overrides to rendered objects. Pure.

What the operator needs for itself stays: labels by which it finds pods, and the affinity that keeps
pods beside a volume which one node at a time can have.

Source: Quay operator 3.12 and later, `Process`: overrides of Deployments, of Routes, and the
environment of the migration.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.model import RegistryPlan
from hatoba.operator.objects import is_of_blobs
from hatoba.operator.overrides import NOTHING, Overrides

DEPLOYMENTS: Final = {
    "quay-app": "quay",
    "quay-mirror": "mirror",
    "quay-database": "postgres",
    "quay-redis": "redis",
    "clair-app": "clair",
    "clair-postgres": "clairpostgres",
}
"""Name without the registry's prefix -> kind whose overrides count. The config editor has none."""
_MIGRATION: Final = "quay-app-upgrade"
_WAYS_IN: Final = ("Route", "HTTPRoute", "TLSRoute", "Ingress", "Service")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


def tailored(plan: RegistryPlan, obj: JsonObject) -> JsonObject:
    """Return the object as its component's overrides want it."""
    kind, suffix = obj["kind"], obj["metadata"]["name"].removeprefix(plan.prefix)
    if kind == "Deployment":
        wanted = plan.overridden(DEPLOYMENTS.get(suffix, ""))
        return _deployment(obj, wanted) if wanted != NOTHING else obj
    if kind == "Job" and obj["metadata"]["name"] == plan.job_name(_MIGRATION):
        return with_variables(obj, plan.overridden("quay").env)
    if kind == "Job" and is_of_blobs(obj):
        return _secured(with_variables(copy.deepcopy(obj), plan.overridden("quay").env), plan)
    annotations = obj["metadata"].get("annotations") or {}
    if kind in _WAYS_IN and annotations.get(names.COMPONENT_KEY) == "route":
        return _named(obj, plan.overridden("route"))
    return obj


def with_variables(workload: JsonObject, variables: Iterable[JsonObject]) -> JsonObject:
    """Return a workload whose containers have these variables, instead of others of their names."""
    given = {variable["name"]: variable for variable in variables}
    if not given:
        return workload
    found = copy.deepcopy(workload)
    for container in found["spec"]["template"]["spec"]["containers"]:
        own = {variable["name"]: variable for variable in container.get("env") or []}
        container["env"] = list((own | given).values())
    return found


def _deployment(obj: JsonObject, wanted: Overrides) -> JsonObject:
    found = _named(with_variables(copy.deepcopy(obj), wanted.env), wanted)
    template = found["spec"]["template"]
    found["spec"]["template"] = template = _named(template, wanted)
    pod = template["spec"]
    if wanted.affinity is not None:
        pod["affinity"] = _with_own_terms(wanted.affinity, pod.get("affinity") or {})
    for container in pod["containers"]:
        if wanted.resources:
            container["resources"] = _bounds(container.get("resources") or {}, wanted.resources)
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        if wanted.security_context is not None:
            container["securityContext"] = wanted.security_context
    return found


def _secured(job: JsonObject, plan: RegistryPlan) -> JsonObject:
    """Return a Job that handles blobs, as the registry's own pods may."""
    wanted = plan.overridden("quay").security_context
    if wanted is not None:
        for container in job["spec"]["template"]["spec"]["containers"]:
            container["securityContext"] = wanted
    return job


def _named(obj: JsonObject, wanted: Overrides) -> JsonObject:
    metadata = dict(obj["metadata"])
    if wanted.labels:
        metadata["labels"] = {**wanted.labels, **(metadata.get("labels") or {})}
    if wanted.annotations:
        metadata["annotations"] = {**wanted.annotations, **(metadata.get("annotations") or {})}
    return {**obj, "metadata": metadata}


def _bounds(own: JsonObject, wanted: Mapping[str, Mapping[str, str]]) -> JsonObject:
    """Replace each quantity that is named; the others stay."""
    return own | {bound: {**own.get(bound, {}), **wanted[bound]} for bound in wanted}


def _with_own_terms(wanted: JsonObject, own: JsonObject) -> JsonObject:
    terms = (own.get("podAffinity") or {}).get(_REQUIRED)
    if not terms:
        return wanted
    pods = wanted.get("podAffinity") or {}
    return {**wanted, "podAffinity": {**pods, _REQUIRED: [*(pods.get(_REQUIRED) or []), *terms]}}

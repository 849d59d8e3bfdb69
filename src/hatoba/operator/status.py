"""Compute the whole status of a registry from what is there. Pure.

Times change only with content: a condition that says the same keeps its times, and a status that
says the same is not written. The order of conditions is that of Quay's operator 3.6.0:
RolloutBlocked first before anything serves, Available first afterwards; what later versions added
follows. While an upgrade migrates the pods of before serve, and Available speaks of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from hatoba.kernel.clock import rfc3339
from hatoba.kernel.json import JsonObject
from hatoba.operator import blobstores, names
from hatoba.operator.components import EVERY_COMPONENT
from hatoba.operator.components.contract import ComponentType
from hatoba.operator.components.quay import UPGRADE
from hatoba.operator.components.route import EDITOR_ROUTE, REGISTRY_ROUTE, admitted_endpoint
from hatoba.operator.diagnosis import condition_of, is_crashing, of_workload, pods_of, quoted
from hatoba.operator.landscape import Way
from hatoba.operator.leftovers import left_behind
from hatoba.operator.model import DATA_STORE, Owned, Reason, RegistryPlan, RolloutBlocked, Verdict
from hatoba.operator.stores import DATABASES, failure_of

CREATED_MESSAGE: Final = "all objects created/updated successfully"
MIGRATING_MESSAGE: Final = "running database migrations"
PASSING_MESSAGE: Final = "all registry component healthchecks passing"
NOT_READY_MESSAGE: Final = "Some components are not ready"
_CONDITIONS: Final = {component.kind: component.condition for component in EVERY_COMPONENT}
_AWAITED: Final = ("postgres", "objectstorage", "clair", "clairpostgres", "tls", "redis")


@dataclass(slots=True, frozen=True, kw_only=True)
class Migration:
    """How far the Job is that brings the database to the operator's version."""

    done: bool = False
    failure: str = ""


@dataclass(slots=True, frozen=True, kw_only=True)
class Report:
    """What a pass found out."""

    generation: int
    version: str
    blocked: RolloutBlocked | None = None
    migration: Migration
    verdicts: Mapping[str, Verdict]
    """By component kind; empty before anything was planned."""
    unhealthy: JsonObject
    unmoved: tuple[Reason, str] | None = None
    """Why data stays where it was, for the condition; None when none has to."""
    registry_endpoint: str = ""
    editor_endpoint: str = ""
    editor_secret: str = ""


def migration_of(plan: RegistryPlan, owned: Owned) -> Migration:
    """Read the migration from its Job."""
    if not plan.migrating:
        return Migration(done=True)
    job = owned.get("Job", plan.job_name(UPGRADE))
    if job is None or not is_current_job(job, plan):
        return Migration()
    if int(job.get("status", {}).get("succeeded") or 0) > 0:
        return Migration(done=True)
    return Migration(failure=_failure_of(plan, owned, job))


def _failure_of(plan: RegistryPlan, owned: Owned, job: JsonObject) -> str:
    """Say why a migration does not come to its end; "" while it simply runs."""
    name = job["metadata"]["name"]
    failed = condition_of(job, "Failed")
    cause = of_workload(owned, job)
    reason = f"Job {name} fails: {cause.fact}: {cause.step}" if cause is not None else ""
    if failed is not None and failed.get("status") == "True":
        message = quoted(failed.get("message") or "failed to run migrations")
        step = f"read its log with kubectl -n {plan.namespace} logs job/{name}"
        return f"{message}: {reason or f'Job {name} failed: {step}'}"
    crashing = any(is_crashing(pod) for pod in pods_of(owned, job))
    return reason if crashing or cause is not None else ""


def is_current_job(job: JsonObject, plan: RegistryPlan) -> bool:
    """Tell whether a Job prepares the version that is wanted."""
    annotations = job["metadata"].get("annotations") or {}
    return bool(annotations.get(names.VERSION_ANNOTATION) == plan.settings.quay_version)


def unmoved(plan: RegistryPlan) -> tuple[Reason, str] | None:
    """Say why databases or blobs stay where they were; None when none has to."""
    managed = [base for base, kind in DATABASES.items() if plan.manages(kind)]
    databases = [told for base in managed if (told := failure_of(plan, base))]
    blobs = [told] if (told := blobstores.failure_of(plan)) else []
    if not databases and not blobs:
        return None
    reason = Reason.POSTGRES_UPGRADE_FAILED if databases else Reason.STORAGE_MOVE_FAILED
    return reason, "; ".join([*databases, *blobs])


def verdicts_of(
    plan: RegistryPlan, owned: Owned, *, silent: Mapping[str, Verdict] = MappingProxyType({})
) -> dict[str, Verdict]:
    """Judge every component; what stands on one that is not ready says that it waits for it.

    `silent` are those whose servers are somebody else's and do not answer.
    """
    judged = {one.kind: _verdict(one, plan, owned) for one in judged_components(plan)}
    found = judged | {kind: verdict for kind, verdict in silent.items() if kind in judged}
    awaited = [kind for kind in _AWAITED if kind in found and not found[kind].ready]
    if awaited:
        message = f"Awaiting for component {','.join(awaited)} to become available"
        found["base"] = Verdict.bad(message, step=f"see {_CONDITIONS[awaited[0]]}")
    if not found["base"].ready and plan.manages("mirror"):
        found["mirror"] = Verdict.bad(
            "Awaiting for component quay to become available", step="see ComponentQuayReady"
        )
    return found


def _verdict(component: ComponentType, plan: RegistryPlan, owned: Owned) -> Verdict:
    verdict = component.health(plan, owned)
    if verdict.reason != Reason.NOT_MANAGED:
        return verdict
    left = left_behind(plan, owned, component.kind)
    return Verdict.unmanaged(f"{verdict.message}: {left}") if left else verdict


def judged_components(plan: RegistryPlan) -> list[ComponentType]:
    """Return the components that have a condition; one of later versions when it is listed."""
    return [
        component
        for component in EVERY_COMPONENT
        if component.kind not in names.LATER_KINDS or plan.lists(component.kind)
    ]


def is_well(plan: RegistryPlan, owned: Owned) -> bool:
    """Tell whether nothing needs explaining."""
    return migration_of(plan, owned).done and all(
        component.health(plan, owned).ready for component in judged_components(plan)
    )


def unhealthy_components(plan: RegistryPlan, owned: Owned) -> JsonObject:
    """Return component -> conditions of its objects that are not well, `{}` when all are."""
    found: JsonObject = {}
    for kind, entries_of in _SOURCES:
        for obj in sorted(owned.of_kind(kind), key=_databases_first):
            annotations = obj["metadata"].get("annotations") or {}
            component = annotations.get(names.COMPONENT_KEY)
            if component and (component == "base" or plan.manages(component)):
                entries = entries_of(obj)
                if entries:
                    found.setdefault(component, []).extend(entries)
    return found


def _databases_first(obj: JsonObject) -> tuple[bool, str]:
    name = obj["metadata"]["name"]
    return not name.endswith(("postgres", "database")), name


def _entry(condition: JsonObject, message: str) -> JsonObject:
    transition = condition.get("lastTransitionTime") or rfc3339(datetime.fromtimestamp(0, UTC))
    return {
        "type": condition["type"],
        "status": condition["status"],
        "reason": condition.get("reason", ""),
        "message": message,
        "lastTransitionTime": transition,
        "lastUpdateTime": condition.get("lastUpdateTime") or transition,
    }


def _deployment_entries(obj: JsonObject) -> list[JsonObject]:
    """Return what is wrong with a Deployment.

    A rollout that got stuck is told although the pods from before it still serve.
    """
    name = obj["metadata"]["name"]
    return [
        _entry(found, f"Deployment {name}: {found.get('message', '')}")
        for kind, good in (("Available", ("True",)), ("Progressing", ("True", "Unknown")))
        if (found := condition_of(obj, kind)) is not None and found["status"] not in good
    ]


def _route_entries(obj: JsonObject) -> list[JsonObject]:
    name = obj["metadata"]["name"]
    return [
        _entry(found, f'Route "{name}" not admitted: {found.get("message", "")}')
        for ingress in obj.get("status", {}).get("ingress") or []
        for found in ingress.get("conditions") or []
        if found.get("type") == "Admitted" and found.get("status") != "True"
    ]


def _job_entries(obj: JsonObject) -> list[JsonObject]:
    found = condition_of(obj, "Failed")
    if found is None or found.get("status") != "True":
        return []
    return [_entry(found, f"Job {obj['metadata']['name']}: {found.get('message', '')}")]


def _phase_entries(obj: JsonObject) -> list[JsonObject]:
    kind, metadata = obj["kind"], obj["metadata"]
    annotations = metadata.get("annotations") or {}
    phase = obj.get("status", {}).get("phase", "")
    # Claims of databases may wait for their first pod, and so may what blobs are to move to; what
    # waits for them tells about these.
    is_beginning = kind == "PersistentVolumeClaim" and not (
        metadata["name"].endswith(DATA_STORE) or names.COPIED_ANNOTATION in annotations
    )
    is_telling = annotations.get(names.COMPONENT_KEY) == "objectstorage" and not is_beginning
    if phase == "Bound" or not is_telling:
        return []
    condition = {
        "type": f"{kind}Phase",
        "status": "False",
        "reason": f"{kind}NotBound",
        "lastTransitionTime": metadata.get("creationTimestamp"),
    }
    return [_entry(condition, f'{kind} {metadata["name"]} reporting phase "{phase}"')]


_SOURCES: Final = (
    ("Deployment", _deployment_entries),
    ("Route", _route_entries),
    ("ObjectBucketClaim", _phase_entries),
    ("PersistentVolumeClaim", _phase_entries),
    ("Job", _job_entries),
)


def registry_endpoint(plan: RegistryPlan, owned: Owned) -> str:
    """Return where the registry is served; "" before that is known."""
    if plan.manages("route") and plan.exposure.way is Way.ROUTE:
        return endpoint_of(owned, plan.prefix + REGISTRY_ROUTE)
    return f"{plan.scheme}://{plan.hostname}"


def editor_endpoint(plan: RegistryPlan, owned: Owned) -> str:
    """Return where the config editor is served; "" when nowhere outside the cluster."""
    way = plan.exposure.way
    if way in (Way.ROUTE, Way.SERVICE):
        return endpoint_of(owned, plan.prefix + EDITOR_ROUTE)
    kind = "HTTPRoute" if way is Way.GATEWAY else "Ingress"
    if owned.get(kind, plan.prefix + EDITOR_ROUTE) is None or not plan.editor_host:
        return ""
    return f"{plan.scheme}://{plan.editor_host}{plan.exposure.port_suffix}"


def endpoint_of(owned: Owned, route: str) -> str:
    """Return the address at which a Route is served, "" before that is known."""
    found = owned.get("Route", route)
    host = admitted_endpoint(found) if found is not None else None
    return f"https://{host}" if host else ""


def compute(previous: JsonObject, report: Report, *, now: datetime) -> JsonObject:
    """Return the status that says what a pass found; `previous` itself when nothing is new."""
    status = {key: value for key, value in previous.items() if key != "lastUpdated"}
    status["observedGeneration"] = report.generation
    status["conditions"] = _with_times(
        _conditions(report, previous), previous.get("conditions") or [], now=now
    )
    if report.blocked is None or report.verdicts:
        status["unhealthyComponents"] = report.unhealthy
    if report.blocked is None:
        _set(status, "configEditorEndpoint", report.editor_endpoint)
        _set(status, "configEditorCredentialsSecret", report.editor_secret)
        if report.migration.done:
            status["currentVersion"] = report.version
            _set(status, "registryEndpoint", report.registry_endpoint)
    if status == {key: value for key, value in previous.items() if key != "lastUpdated"}:
        return previous
    return status | {"lastUpdated": go_time(now)}


def _set(status: JsonObject, key: str, value: str) -> None:
    if value:
        status[key] = value
    else:
        status.pop(key, None)


def _conditions(report: Report, previous: JsonObject) -> list[JsonObject]:
    current = str(previous.get("currentVersion") or "")
    rollout, available = _rollout(report), _available(report, current=current)
    created = _created(report, current=current)
    components = [
        _condition(
            component.condition,
            ready=verdict.ready,
            reason=verdict.reason,
            message=verdict.message,
        )
        for component in (*EVERY_COMPONENT[1:], EVERY_COMPONENT[0])
        if (verdict := report.verdicts.get(component.kind)) is not None
    ]
    if report.blocked is not None:
        known = {found["type"]: found for found in previous.get("conditions") or []}
        running = bool(previous.get("currentVersion")) and bool(report.verdicts)
        if not running:
            return [rollout, *(found for kind, found in known.items() if kind != rollout["type"])]
        kept = [known["ComponentsCreated"]] if "ComponentsCreated" in known else []
        return [available, rollout, *kept, *components]
    if report.migration.done or current:
        return [available, rollout, created, *components]
    return [rollout, available, created, *components]


def _rollout(report: Report) -> JsonObject:
    if report.blocked is not None:
        return _condition(
            "RolloutBlocked",
            ready=True,
            reason=report.blocked.reason,
            message=report.blocked.message,
        )
    return _condition(
        "RolloutBlocked", ready=False, reason=Reason.CREATION_SUCCESS, message=CREATED_MESSAGE
    )


def _available(report: Report, *, current: str) -> JsonObject:
    # Neither a rollout that is blocked nor a migration says anything about pods of before.
    if report.blocked is None and not report.migration.done and not current:
        return _migrating("Available", report)
    unready = [kind for kind, verdict in report.verdicts.items() if not verdict.ready]
    if unready:
        telling = [kind for kind in unready if kind not in ("base", "mirror")] or unready[:1]
        return _condition(
            "Available",
            ready=False,
            reason=Reason.NOT_READY,
            message=f"{NOT_READY_MESSAGE}: see {', '.join(_CONDITIONS[kind] for kind in telling)}",
        )
    return _condition(
        "Available", ready=True, reason=Reason.HEALTH_CHECKS_PASSING, message=PASSING_MESSAGE
    )


def _created(report: Report, *, current: str) -> JsonObject:
    if not report.migration.done:
        return _migrating("ComponentsCreated", report, current=current)
    if report.unmoved is not None:
        reason, message = report.unmoved
        return _condition("ComponentsCreated", ready=False, reason=reason, message=message)
    return _condition(
        "ComponentsCreated",
        ready=True,
        reason=Reason.CREATION_SUCCESS,
        message="All registry components created",
    )


def _migrating(kind: str, report: Report, *, current: str = "") -> JsonObject:
    if report.migration.failure:
        kept = f"the registry stays at version {current}: " if current else ""
        return _condition(
            kind,
            ready=False,
            reason=Reason.MIGRATIONS_FAILED,
            message=kept + report.migration.failure,
        )
    return _condition(
        kind, ready=False, reason=Reason.MIGRATIONS_IN_PROGRESS, message=MIGRATING_MESSAGE
    )


def _condition(kind: str, *, ready: bool, reason: Reason, message: str) -> JsonObject:
    return {
        "type": kind,
        "status": "True" if ready else "False",
        "reason": str(reason),
        "message": message,
    }


def _with_times(
    conditions: Sequence[JsonObject], previous: Sequence[JsonObject], *, now: datetime
) -> list[JsonObject]:
    known = {found["type"]: found for found in previous}
    stamp = rfc3339(now)
    timed = []
    for condition in conditions:
        old = known.get(condition["type"], {})
        same = all(old.get(key) == condition[key] for key in ("status", "reason", "message"))
        kept = old.get("status") == condition["status"] and "lastTransitionTime" in old
        timed.append(
            condition
            | {
                "lastTransitionTime": old["lastTransitionTime"] if kept else stamp,
                "lastUpdateTime": old["lastUpdateTime"] if same and old else stamp,
            }
        )
    return timed


def transitions(old: JsonObject, new: JsonObject, report: Report) -> list[JsonObject]:
    """Return the conditions that an event is due about.

    A condition that turned, and a new cause of the same trouble. That a component exists and is
    not ready yet is no event: every registry begins like that.
    """
    known = {found["type"]: found for found in old.get("conditions") or []}
    telling = {_CONDITIONS[kind] for kind, found in report.verdicts.items() if found.diagnosed}
    telling |= {"RolloutBlocked", "Available"}
    if old.get("currentVersion"):
        # An upgrade is told by this one; at first Available says the same.
        telling.add("ComponentsCreated")
    return [
        condition
        for condition in new.get("conditions") or []
        if _is_due(known.get(condition["type"]), condition, telling=condition["type"] in telling)
    ]


def _is_due(before: JsonObject | None, condition: JsonObject, *, telling: bool) -> bool:
    if before is not None and before["status"] != condition["status"]:
        return True
    if not telling or before is None:
        return telling
    if before["reason"] != condition["reason"]:
        return True
    # What a sum adds are names of conditions that have events of their own.
    return bool(before.get("message") != condition["message"]) and not _is_sum(condition)


def is_trouble(old: JsonObject, condition: JsonObject) -> bool:
    """Tell whether a condition is bad news: a step back, or a cause that somebody must remove."""
    if condition["type"] == "RolloutBlocked":
        return bool(condition["status"] == "True")
    if condition["status"] == "True" or condition["reason"] == Reason.MIGRATIONS_IN_PROGRESS:
        return False
    if condition["type"] != "Available" or condition["reason"] == Reason.MIGRATIONS_FAILED:
        return True
    known = {found["type"]: found for found in old.get("conditions") or []}
    return bool(known.get("Available", {}).get("status") == "True")


def _is_sum(condition: JsonObject) -> bool:
    return bool(condition["type"] == "Available" and condition["reason"] == Reason.NOT_READY)


def go_time(moment: datetime) -> str:
    """Return a moment as Go prints it: trailing zeros of the fraction are left off.

    >>> go_time(datetime(2021, 9, 14, 10, 52, 5, 371000, UTC))
    '2021-09-14 10:52:05.371 +0000 UTC'
    """
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    stamp = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{stamp}{'.' + fraction if fraction else ''} +0000 UTC"

"""What a change of a QuayRegistry would do, before it is applied. Pure.

From the same plan and the same comparison that the operator's pass goes by: what this lists is
what the next pass writes. Values of Secrets are never part of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.operator import names
from hatoba.operator.apply import differs, scale_wanted
from hatoba.operator.blobstores import FILL
from hatoba.operator.model import Owned, RegistryPlan
from hatoba.operator.objects import is_of_blobs
from hatoba.operator.render import render, render_groundwork
from hatoba.operator.status import is_current_job
from hatoba.operator.stores import CHECK, COPY

LONGEST_VALUE: Final = 60
_INTERNAL: Final = frozenset({"apiVersion", "kind", "metadata.ownerReferences"})


class Effect(StrEnum):
    """What becomes of an object."""

    CREATE = "create"
    CHANGE = "change"
    RESTART = "restart"
    """Changed so that its pods are replaced, one by one where there are several."""
    RUN = "run"
    """A Job that runs again."""
    REMOVE = "remove"
    """Not needed any more; removed once no pod uses it."""
    LEAVE = "leave"
    """Of a component that is not managed any more: it stays, nobody looks after it."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Change:
    """One object, and what becomes of it."""

    effect: Effect
    kind: str
    name: str
    namespace: str
    details: tuple[str, ...] = field(default=())
    """Fields, as `path: old -> new`."""


def changes_of(plan: RegistryPlan, owned: Owned) -> list[Change]:
    """Return what the next passes would do, in the order in which they do it."""
    wanted = render(plan).objects if plan.hostname else render_groundwork(plan)
    found = [change for obj in wanted if (change := _change(plan, obj, owned)) is not None]
    return [*found, *_left(plan, wanted, owned)]


def _change(plan: RegistryPlan, obj: JsonObject, owned: Owned) -> Change | None:
    kind, name, place = obj["kind"], obj["metadata"]["name"], obj["metadata"]["namespace"]
    live = owned.get(kind, name)
    if kind == "Job":
        return _job(plan, obj, live)
    if live is None:
        return Change(effect=Effect.CREATE, kind=kind, name=_base_name(obj), namespace=place)
    scale = scale_wanted(plan, live) if kind == "Deployment" else None
    if not differs(obj, live) and scale is None:
        return None
    secret = kind == "Secret"
    details = tuple(_details(live, obj, path="", secret=secret))
    if scale is not None:
        details += (f"spec.replicas: {live['spec'].get('replicas', 1)} -> {scale}",)
    restarts = kind == "Deployment" and any(one.startswith("spec.template") for one in details)
    # A field that is wanted no more shows in no comparison with what is wanted.
    details = details or ("fields that are not wanted any more",)
    effect = Effect.RESTART if restarts else Effect.CHANGE
    return Change(effect=effect, kind=kind, name=name, namespace=place, details=details)


def _job(plan: RegistryPlan, obj: JsonObject, live: JsonObject | None) -> Change | None:
    name, place = obj["metadata"]["name"], obj["metadata"]["namespace"]
    effect = Effect.RUN if live else Effect.CREATE
    if (told := _move_told(obj)) is not None:
        made = Change(effect=effect, kind="Job", name=name, namespace=place, details=told)
        return made if live is None else None
    if not plan.migrating or (live is not None and is_current_job(live, plan)):
        return None
    return Change(effect=effect, kind="Job", name=name, namespace=place)


def _move_told(job: JsonObject) -> tuple[str, ...] | None:
    """Say what a Job of a move does to people; None for other Jobs."""
    name = job["metadata"]["name"]
    if not name.endswith((CHECK, COPY, FILL)):
        return None
    if not is_of_blobs(job):
        if name.endswith(CHECK):
            return ("the database is stopped and moved once it has succeeded",)
        return ("the database is stopped until it has succeeded",)
    if name.endswith(COPY):
        return ("pushes are refused until it has succeeded and every pod has the new volume",)
    told = (
        "nothing is interrupted by it: later pods are replaced three times, and pushes are refused"
    )
    return (f"{told} while the last blobs are copied",)


def _left(plan: RegistryPlan, wanted: Iterable[JsonObject], owned: Owned) -> list[Change]:
    """Return what nobody asks for any more."""
    kept = {(obj["kind"], obj["metadata"]["name"]) for obj in wanted}
    found = []
    for kind in ("Secret", "Deployment", "HorizontalPodAutoscaler", "Route", "Ingress"):
        for obj in owned.of_kind(kind):
            name, place = obj["metadata"]["name"], obj["metadata"]["namespace"]
            annotations = obj["metadata"].get("annotations") or {}
            component = annotations.get(names.COMPONENT_KEY, "")
            if (kind, name) in kept:
                continue
            if names.GENERATED_ANNOTATION in annotations and plan.hostname:
                found.append(Change(effect=Effect.REMOVE, kind=kind, name=name, namespace=place))
            elif component and component != "base" and not plan.manages(component):
                found.append(Change(effect=Effect.LEAVE, kind=kind, name=name, namespace=place))
    return found


def _base_name(obj: JsonObject) -> str:
    """Return the name; of generated Secrets without the digest, which depends on new keys."""
    annotations = obj["metadata"].get("annotations") or {}
    base = annotations.get(names.GENERATED_ANNOTATION)
    return f"{base}-…" if base else str(obj["metadata"]["name"])


def _details(live: JsonValue, wanted: JsonValue, *, path: str, secret: bool) -> Iterable[str]:
    """Yield the fields in which what is there differs from what is wanted."""
    if path in _INTERNAL or path.endswith(names.APPLIED_ANNOTATION):
        return
    if isinstance(wanted, dict) and isinstance(live, dict):
        for key, value in wanted.items():
            inner = f"{path}.{key}" if path else key
            yield from _details(live.get(key), value, path=inner, secret=secret)
    elif isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for index, (old, new) in enumerate(zip(live, wanted, strict=True)):
            yield from _details(old, new, path=f"{path}[{_label(new, index)}]", secret=secret)
    elif live != wanted and not (live is None and wanted in ({}, [], "")):
        yield path if secret else f"{path}: {_short(live)} -> {_short(wanted)}"


def _label(entry: JsonValue, index: int) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return str(name or index)


def _short(value: JsonValue) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return f"{len(value)} fields"
    if isinstance(value, list):
        return f"{len(value)} entries"
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"

"""How many pods each ReplicaSet should have next.

Pure. One call decides one step; the next step follows when the ReplicaSets have reported what
became of it. The rules are those Deployments have everywhere: never more pods than wanted plus
maxSurge, never fewer available than wanted minus maxUnavailable, unhealthy old pods go first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hatoba.cluster.controllers.deployment.budget import (
    actual_of,
    available_of,
    is_rolling,
    maximum_surge,
    maximum_unavailable,
    replicas_of,
)
from hatoba.cluster.controllers.deployment.revisions import DESIRED, MAXIMUM, revision_of, sizes
from hatoba.cluster.controllers.values import annotations_of, created_at, name_of, status_of
from hatoba.kernel.json import JsonObject


@dataclass(slots=True, frozen=True)
class Scale:
    """Give a ReplicaSet another size (or only the annotations of the Deployment's new one)."""

    item: JsonObject
    replicas: int

    @property
    def before(self) -> int:
        """The size until now."""
        return replicas_of(self.item)


def total_of(sets: Iterable[JsonObject]) -> int:
    """Return how many pods the sets want together."""
    return sum(replicas_of(item) for item in sets)


def active(sets: Iterable[JsonObject]) -> list[JsonObject]:
    """Return the sets that want pods."""
    return [item for item in sets if replicas_of(item) > 0]


def was_resized(deployment: JsonObject, sets: Iterable[JsonObject]) -> bool:
    """Whether the Deployment's size changed since a set with pods was scaled."""
    wanted = str(replicas_of(deployment))
    return any(annotations_of(item).get(DESIRED, wanted) != wanted for item in active(sets))


def size_of_new(
    deployment: JsonObject, new: JsonObject | None, others: Sequence[JsonObject]
) -> int:
    """Return the size the newest set may grow to now (`new` is None before it exists)."""
    wanted = replicas_of(deployment)
    present = replicas_of(new) if new else 0
    if not is_rolling(deployment):
        return wanted
    room = wanted + maximum_surge(deployment) - total_of(others) - present
    if room <= 0:
        return present
    return present + min(room, wanted - present)


def grow_new(deployment: JsonObject, new: JsonObject, old: Sequence[JsonObject]) -> list[Scale]:
    """Return the step that brings the newest set closer to the wanted size."""
    wanted, present = replicas_of(deployment), replicas_of(new)
    if present == wanted:
        return []
    size = wanted if present > wanted else size_of_new(deployment, new, old)
    return [Scale(new, size)] if size != present else []


def shrink_old(deployment: JsonObject, new: JsonObject, old: Sequence[JsonObject]) -> list[Scale]:
    """Return the step that takes pods from old sets as far as availability allows."""
    if total_of(old) == 0:
        return []
    everything = [*old, new]
    least = replicas_of(deployment) - maximum_unavailable(deployment)
    new_missing = replicas_of(new) - available_of(new)
    allowance = total_of(everything) - least - new_missing
    if allowance <= 0:
        return []
    sizes_now = {name_of(item): replicas_of(item) for item in old}
    _drop_unhealthy(sizes_now, old, limit=allowance)
    _drop_healthy(sizes_now, old, limit=sum(map(available_of, everything)) - least)
    return [
        Scale(item, sizes_now[name_of(item)])
        for item in old
        if sizes_now[name_of(item)] != replicas_of(item)
    ]


def _drop_unhealthy(sizes_now: dict[str, int], old: Sequence[JsonObject], *, limit: int) -> None:
    for item in sorted(old, key=created_at):
        count = min(limit, sizes_now[name_of(item)] - available_of(item))
        if count > 0:
            sizes_now[name_of(item)] -= count
            limit -= count


def _drop_healthy(sizes_now: dict[str, int], old: Sequence[JsonObject], *, limit: int) -> None:
    for item in sorted(old, key=created_at):
        count = min(limit, sizes_now[name_of(item)])
        if count > 0:
            sizes_now[name_of(item)] -= count
            limit -= count


def follow_size(
    deployment: JsonObject, new: JsonObject | None, old: Sequence[JsonObject]
) -> list[Scale]:
    """Return the step after the Deployment's size changed, or while it is paused.

    In the middle of a rollout the difference is spread over the sets in proportion to their
    sizes, so that a bad new template does not take over just because somebody scaled.
    """
    wanted = replicas_of(deployment)
    sets = ([new] if new else []) + list(old)
    only = _active_or_latest(new, old)
    if only is not None:
        return _resize(deployment, only, wanted)
    if new is not None and _is_saturated(deployment, new):
        return [Scale(item, 0) for item in active(old)]
    if is_rolling(deployment):
        return _proportional(deployment, active(sets))
    return []


def _active_or_latest(new: JsonObject | None, old: Sequence[JsonObject]) -> JsonObject | None:
    with_pods = active(([new] if new else []) + list(old))
    if len(with_pods) == 1:
        return with_pods[0]
    if with_pods:
        return None
    if new is not None:
        return new
    return max(old, key=created_at, default=None)


def _resize(deployment: JsonObject, item: JsonObject, size: int) -> list[Scale]:
    remembered = annotations_of(item)
    current = all(remembered.get(key) == value for key, value in sizes(deployment).items())
    if replicas_of(item) == size and (current or size == 0):
        return []
    return [Scale(item, size)]


def _is_saturated(deployment: JsonObject, new: JsonObject) -> bool:
    wanted = replicas_of(deployment)
    return (
        replicas_of(new) == wanted
        and annotations_of(new).get(DESIRED) == str(wanted)
        and available_of(new) == wanted
    )


def _proportional(deployment: JsonObject, sets: list[JsonObject]) -> list[Scale]:
    wanted = replicas_of(deployment)
    allowed = wanted + maximum_surge(deployment) if wanted > 0 else 0
    to_add = allowed - total_of(sets)
    # The largest set takes the rounding; between equal ones the newer when growing.
    ordered = sorted(sets, key=created_at, reverse=to_add > 0)
    ordered.sort(key=replicas_of, reverse=True)
    sizes_next: list[int] = []
    added = 0
    for item in ordered:
        share = _share(deployment, item, to_add=to_add, added=added) if to_add else 0
        sizes_next.append(replicas_of(item) + share)
        added += share
    if sizes_next and to_add:
        sizes_next[0] = max(sizes_next[0] + to_add - added, 0)
    steps: list[Scale] = []
    for item, size in zip(ordered, sizes_next, strict=True):
        steps.extend(_resize(deployment, item, size))
    return steps


def _share(deployment: JsonObject, item: JsonObject, *, to_add: int, added: int) -> int:
    size, wanted = replicas_of(item), replicas_of(deployment)
    if size == 0 or to_add == added:
        return 0
    if wanted == 0:
        fraction = -size
    else:
        largest = wanted + maximum_surge(deployment)
        try:
            before = int(annotations_of(item).get(MAXIMUM, ""))
        except ValueError:
            before = int(status_of(deployment).get("replicas") or 0)
        fraction = round(size * largest / before) - size if before else 0
    left = to_add - added
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def surplus(deployment: JsonObject, old: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the old sets beyond revisionHistoryLimit that are empty and settled."""
    limit = deployment["spec"].get("revisionHistoryLimit")
    if limit is None:
        return []
    alive = [item for item in old if not item["metadata"].get("deletionTimestamp")]
    count = len(alive) - int(limit)
    if count <= 0:
        return []
    by_revision = sorted(alive, key=lambda item: (revision_of(item), created_at(item)))
    return [item for item in by_revision[:count] if _is_settled_empty(item)]


def _is_settled_empty(item: JsonObject) -> bool:
    seen = int(status_of(item).get("observedGeneration") or 0)
    return (
        actual_of(item) == 0
        and replicas_of(item) == 0
        and int(item["metadata"].get("generation") or 0) <= seen
    )

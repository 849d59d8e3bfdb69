"""How many pods a rollout may have too many or too few."""

import math

from hatoba.kernel.json import JsonObject, JsonValue


def replicas_of(obj: JsonObject) -> int:
    """Return the wanted number of pods, of a Deployment or a ReplicaSet."""
    wanted = obj["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def actual_of(item: JsonObject) -> int:
    """Return how many pods a ReplicaSet has."""
    return int((item.get("status") or {}).get("replicas") or 0)


def available_of(item: JsonObject) -> int:
    """Return how many of a ReplicaSet's pods are available."""
    return int((item.get("status") or {}).get("availableReplicas") or 0)


def is_rolling(deployment: JsonObject) -> bool:
    """Whether the Deployment replaces its pods a few at a time."""
    strategy = deployment["spec"].get("strategy") or {}
    return bool(strategy.get("type", "RollingUpdate") == "RollingUpdate")


def _resolved(deployment: JsonObject) -> tuple[int, int]:
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    replicas = replicas_of(deployment)
    surge = _scaled(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = _scaled(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if surge == 0 and unavailable == 0:
        # With neither, no rollout could ever move.
        unavailable = 1
    return surge, unavailable


def _scaled(value: JsonValue, total: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    exact = int(str(value).removesuffix("%")) * total / 100
    return math.ceil(exact) if up else math.floor(exact)


def maximum_surge(deployment: JsonObject) -> int:
    """Return how many pods beyond the wanted number may exist."""
    return _resolved(deployment)[0] if is_rolling(deployment) else 0


def maximum_unavailable(deployment: JsonObject) -> int:
    """Return how many of the wanted pods may be missing."""
    replicas = replicas_of(deployment)
    if not is_rolling(deployment) or replicas == 0:
        return 0
    return min(_resolved(deployment)[1], replicas)

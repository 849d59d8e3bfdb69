"""Whether labels match a selector of a Deployment, Job or Service."""

from collections.abc import Mapping

from hatoba.kernel.json import JsonObject


def matches_labels(wanted: Mapping[str, str] | None, labels: Mapping[str, str]) -> bool:
    """Whether every wanted label is there; no selector at all matches nothing."""
    return bool(wanted) and all(labels.get(key) == value for key, value in (wanted or {}).items())


def matches(selector: JsonObject | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector matches; an empty one matches nothing, as controllers want it."""
    if not selector:
        return False
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in exact.items()):
        return False
    return all(_satisfies(rule, labels) for rule in selector.get("matchExpressions") or ())


def _satisfies(rule: JsonObject, labels: Mapping[str, str]) -> bool:
    key, operator = rule["key"], rule["operator"]
    values = rule.get("values") or ()
    if operator == "In":
        return bool(labels.get(key) in values)
    if operator == "NotIn":
        return bool(labels.get(key) not in values)
    return bool(key in labels) == bool(operator == "Exists")


def as_text(selector: JsonObject) -> str:
    """Return a LabelSelector in the syntax of query parameters."""
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    parts = [f"{key}={value}" for key, value in exact.items()]
    for rule in selector.get("matchExpressions") or ():
        key, values = rule["key"], ",".join(rule.get("values") or ())
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[rule["operator"]]
        )
    return ",".join(sorted(parts))

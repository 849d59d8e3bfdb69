"""Values as Go prints them in the API server's messages (`%#v`)."""

from hatoba.kernel.json import JsonObject


def go_map(labels: JsonObject | None) -> str:
    """Return a map of strings."""
    if not labels:
        return "map[string]string(nil)"
    inside = ", ".join(f'"{key}":"{value}"' for key, value in sorted(labels.items()))
    return f"map[string]string{{{inside}}}"


def go_strings(values: list[str]) -> str:
    """Return a slice of strings."""
    inside = ", ".join(f'"{value}"' for value in values)
    return f"[]string{{{inside}}}"


def go_label_selector(selector: JsonObject | None) -> str:
    """Return a label selector."""
    if selector is None:
        return "null"
    expressions = ", ".join(
        f'v1.LabelSelectorRequirement{{Key:"{one["key"]}", Operator:"{one["operator"]}",'
        f" Values:{go_strings(one['values']) if one.get('values') else '[]string(nil)'}}}"
        for one in selector.get("matchExpressions") or []
    )
    listed = f"{{{expressions}}}" if expressions else "(nil)"
    return (
        f"v1.LabelSelector{{MatchLabels:{go_map(selector.get('matchLabels'))},"
        f" MatchExpressions:[]v1.LabelSelectorRequirement{listed}}}"
    )

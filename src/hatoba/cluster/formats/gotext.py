"""Values as Go prints them: messages of the Kubernetes API quote values that way."""

from hatoba.kernel.json import JsonValue


def go_map(value: JsonValue) -> str:
    """Return what `%v` prints: maps in key order, nothing quoted."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_map(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(go_map(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)

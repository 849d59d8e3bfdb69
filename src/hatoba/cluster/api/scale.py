"""The `scale` subresource: one view on the replicas of anything that can be scaled."""

from hatoba.cluster.api.documents import reach
from hatoba.kernel.json import JsonObject


def label_selector_text(selector: JsonObject | None) -> str:
    """Return a label selector in the syntax of query parameters."""
    if not selector:
        return ""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or []:
        key, operator = expression["key"], expression["operator"]
        values = ",".join(sorted(expression.get("values") or []))
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[operator]
        )
    return ",".join(parts)


class ScaleView:
    """Reads and writes the scale of one resource's objects."""

    def __init__(
        self,
        *,
        spec_path: tuple[str, ...] = ("spec", "replicas"),
        status_path: tuple[str, ...] = ("status", "replicas"),
        selector_path: tuple[str, ...] | None = ("spec", "selector"),
    ) -> None:
        self._spec_path = spec_path
        self._status_path = status_path
        self._selector_path = selector_path

    def read(self, obj: JsonObject) -> JsonObject:
        """Return the Scale of an object."""
        metadata = obj["metadata"]
        kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        spec: JsonObject = {}
        if replicas := reach(obj, *self._spec_path):
            spec["replicas"] = replicas
        status: JsonObject = {"replicas": reach(obj, *self._status_path) or 0}
        if self._selector_path and (selector := reach(obj, *self._selector_path)):
            status["selector"] = (
                selector if isinstance(selector, str) else label_selector_text(selector)
            )
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {key: metadata[key] for key in kept if key in metadata},
            "spec": spec,
            "status": status,
        }

    def write(self, obj: JsonObject, replicas: int) -> None:
        """Set the wanted replicas, in place."""
        *parents, last = self._spec_path
        for key in parents:
            obj = obj.setdefault(key, {})
        obj[last] = replicas

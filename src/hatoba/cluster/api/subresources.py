"""Writes to `scale`, `binding` and `finalize`: narrow doors into an object's spec."""

from hatoba.cluster.api.documents import reach
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.requests import Write
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.scale import ScaleView
from hatoba.cluster.api.status import About, Cause, Invalid, ObjectConflict
from hatoba.cluster.api.writing import STALE, Transform, Writer
from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.json import JsonObject


class Subresources:
    """The writes that are neither to the object nor to its status."""

    def __init__(self, writer: Writer, *, registry: Registry, clock: Clock) -> None:
        self._clock = clock
        self._writer = writer
        self._registry = registry

    def view(self, resource: Resource) -> ScaleView:
        """Return how the resource's scale is read and written."""
        return self._registry.strategy(resource).scale_view()

    def update_scale(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        transform: Transform,
        *,
        write: Write,
    ) -> JsonObject:
        """Change the replicas through a Scale; return the new Scale."""
        view = self.view(resource)

        def rescale(obj: JsonObject) -> JsonObject:
            scale = transform(view.read(obj))
            self._check_scale(scale, obj, resource)
            view.write(obj, scale.get("spec", {}).get("replicas", 0))
            return obj

        return view.read(self._writer.update(resource, name, namespace, rescale, write=write))

    @staticmethod
    def _check_scale(scale: JsonObject, obj: JsonObject, resource: Resource) -> None:
        version = reach(scale, "metadata", "resourceVersion")
        if version and version != obj["metadata"]["resourceVersion"]:
            raise ObjectConflict.cannot(resource.about(obj["metadata"]["name"]), STALE)
        replicas = reach(scale, "spec", "replicas") or 0
        if replicas < 0:
            cause = Cause(
                reason="FieldValueInvalid",
                message=f"Invalid value: {replicas}: must be greater than or equal to 0",
                field="spec.replicas",
            )
            about = About(name=obj["metadata"]["name"], group="autoscaling", kind="Scale")
            raise Invalid.of(about, [cause])

    def bind(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        binding: JsonObject,
        *,
        write: Write,
    ) -> None:
        """Give a pod to a node."""
        node = reach(binding, "target", "name") or ""

        def assign(pod: JsonObject) -> JsonObject:
            if assigned := reach(pod, "spec", "nodeName"):
                raise ObjectConflict.cannot(
                    About(name=name, kind="pods/binding"),
                    f'pod {name} is already assigned to node "{assigned}"',
                )
            pod["spec"]["nodeName"] = node
            conditions = pod.setdefault("status", {}).setdefault("conditions", [])
            conditions[:] = [c for c in conditions if c["type"] != "PodScheduled"]
            conditions.append(
                {
                    "type": "PodScheduled",
                    "status": "True",
                    "lastProbeTime": None,
                    "lastTransitionTime": rfc3339(self._clock.now()),
                }
            )
            return pod

        self._writer.update(resource, name, namespace, assign, write=write)

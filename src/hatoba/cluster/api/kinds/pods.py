"""Rules of pods."""

from typing import Final

from typing_extensions import override

from hatoba.cluster.api.documents import reach
from hatoba.cluster.api.strategy import Strategy
from hatoba.kernel.json import JsonObject

DEFAULT_GRACE_SECONDS: Final = 30
_FINISHED: Final = ("Succeeded", "Failed")


class PodRules(Strategy):
    """Pods die gracefully: a pod on a node stays until the kubelet has ended its containers."""

    @override
    def initial_status(self) -> JsonObject:
        return {"phase": "Pending", "qosClass": "BestEffort"}

    @override
    def grace_seconds(self, obj: JsonObject, asked: int | None) -> int:
        if not reach(obj, "spec", "nodeName") or reach(obj, "status", "phase") in _FINISHED:
            return 0
        if asked is not None:
            return max(asked, 0)
        configured = reach(obj, "spec", "terminationGracePeriodSeconds")
        return DEFAULT_GRACE_SECONDS if configured is None else int(configured)

"""A pod as its containers see it: what they are made of, and whom they tell."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from typing_extensions import override

from hatoba.cluster.catalog.images import Image
from hatoba.cluster.controllers.values import uid_of
from hatoba.cluster.kubelet.context import NodeContext
from hatoba.cluster.kubelet.execution import run_captured
from hatoba.cluster.kubelet.life import PodHost, RunningNow
from hatoba.cluster.kubelet.podvolumes import PodVolumes
from hatoba.cluster.kubelet.probes import Target
from hatoba.cluster.kubelet.programs import Assembly, ContainerPlace
from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject

_DEFAULT_GRACE: Final = 30.0


class LocalPod(PodHost):
    """One pod on this machine; `on_change` is called when a container's view is another one."""

    def __init__(
        self, context: NodeContext, pod: JsonObject, *, on_change: Callable[[], None]
    ) -> None:
        self._context = context
        self._on_change = on_change
        self.pod = pod
        self.uid = uid_of(pod)
        self.directory = context.pod_directory(self.uid)
        self.address = ""
        self.volumes: dict[str, Path] = {}
        self._pod_volumes = PodVolumes(context, self.directory)
        self._woken = asyncio.Event()

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return str(self.pod["metadata"]["namespace"])

    def wake(self) -> None:
        """Let those who wait look again."""
        self._woken.set()

    def refresh_volumes(self) -> None:
        """Set the volumes up, or bring their contents up to date.

        Raises:
            VolumeUnavailable: something that they need is not there.
        """
        self.volumes = self._pod_volumes.set_up(self.pod, address=self.address)

    @property
    @override
    def clock(self) -> Clock:
        return self._context.clock

    @property
    @override
    def label(self) -> str:
        meta = self.pod["metadata"]
        return f"{meta['name']}_{meta['namespace']}({self.uid})"

    @property
    @override
    def grace_seconds(self) -> float:
        given = self.pod["metadata"].get("deletionGracePeriodSeconds")
        if given is None:
            given = self.pod["spec"].get("terminationGracePeriodSeconds")
        return _DEFAULT_GRACE if given is None else float(given)

    @override
    def assemble(self, spec: JsonObject, image: Image, place: ContainerPlace) -> Assembly:
        self.refresh_volumes()
        return Assembly(
            context=self._context,
            pod=self.pod,
            spec=spec,
            image=image,
            place=place,
            address=self.address,
            volumes=self.volumes,
        )

    @override
    def find_image(self, reference: str) -> Image:
        return self._context.catalog.find(reference)

    @override
    def backoff(self, restarts: int) -> float:
        if restarts <= 0:
            return 0
        settings = self._context.settings
        # 2 ** 20 is beyond every bound; larger powers need no computing.
        seconds: float = settings.restart_backoff * 2 ** min(restarts - 1, 20)
        return min(seconds, settings.longest_backoff)

    @override
    def target(self, spec: JsonObject, running: RunningNow) -> Target:
        async def execute(command: list[str], seconds: float) -> tuple[int, bytes]:
            now = running()
            if now is None:
                return 1, b"container is not running"
            return await run_captured(now[0], command, seconds=seconds)

        ports = spec.get("ports") or ()
        named = {port["name"]: port["containerPort"] for port in ports if port.get("name")}
        return Target(address=self.address, ports=named, execute=execute)

    @override
    def normal(self, reason: str, message: str, spec: JsonObject) -> None:
        self._context.recorder.normal(self.pod, reason, message, field_path=self._field(spec))

    @override
    def warning(self, reason: str, message: str, spec: JsonObject) -> None:
        self._context.recorder.warning(self.pod, reason, message, field_path=self._field(spec))

    def _field(self, spec: JsonObject) -> str:
        inits = self.pod["spec"].get("initContainers") or ()
        kind = (
            "initContainers" if any(one["name"] == spec["name"] for one in inits) else "containers"
        )
        return f"spec.{kind}{{{spec['name']}}}"

    @override
    def changed(self) -> None:
        self._on_change()

    @override
    async def until_changed(self, seconds: float) -> None:
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

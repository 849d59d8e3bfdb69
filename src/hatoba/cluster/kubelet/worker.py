"""One pod: from its appearance on the node to its last trace.

The worker is level-triggered: it reads the newest state of the pod, its containers' records and
what it refers to, and it can be stopped and started anew at any moment without touching the
programs. All writes to the pod's status come from here.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from hatoba.cluster.controllers.values import is_deleting
from hatoba.cluster.home import write_private
from hatoba.cluster.kubelet.containers import ContainerRunner, views
from hatoba.cluster.kubelet.context import NodeContext
from hatoba.cluster.kubelet.hooks import run_hook
from hatoba.cluster.kubelet.hosting import LocalPod
from hatoba.cluster.kubelet.life import ContainerLife, RunnerKind
from hatoba.cluster.kubelet.limits import ignored_fields
from hatoba.cluster.kubelet.programs import ContainerPlace
from hatoba.cluster.kubelet.publishing import OVER, StatusPublisher
from hatoba.cluster.kubelet.status import PodView, is_sidecar
from hatoba.cluster.kubelet.volumes import VolumeUnavailable
from hatoba.cluster.objects import PODS
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.errors import NotFound
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

_DEADLINE_MESSAGE: Final = "Pod was active on the node longer than the specified deadline"
_MOUNT_PAUSE: Final = 0.5
_LONGEST_MOUNT_PAUSE: Final = 30.0


class PodWorker:
    """Runs one pod."""

    def __init__(self, context: NodeContext, pod: JsonObject) -> None:
        self._context = context
        self._publisher = StatusPublisher(context, pod, view=self._view)
        self.local = LocalPod(context, pod, on_change=self._publisher.changed)
        self._start_time = (pod.get("status") or {}).get("startTime") or self._now()
        self._is_sandbox_ready = False
        self._failure: tuple[str, str] = ("", "")
        self._is_stopped = False
        self._ending = asyncio.Event()
        self.runners = self._make_runners()

    def _make_runners(self) -> list[ContainerRunner]:
        spec = self.local.pod["spec"]
        policy = spec.get("restartPolicy", "Always")
        init_policy = "OnFailure" if policy != "Never" else "Never"
        runners = []
        for one in spec.get("initContainers") or ():
            kind: RunnerKind = "sidecar" if is_sidecar(one) else "init"
            runners.append(self._runner(one, kind, init_policy))
        return runners + [self._runner(one, "main", policy) for one in spec["containers"]]

    def _runner(self, spec: JsonObject, kind: RunnerKind, policy: str) -> ContainerRunner:
        place = ContainerPlace(directory=self.local.directory / "containers" / spec["name"])
        policy = "Always" if kind == "sidecar" else policy
        return ContainerRunner(
            ContainerLife(host=self.local, spec=spec, kind=kind, place=place, policy=policy)
        )

    @property
    def pod(self) -> JsonObject:
        """The newest state of the pod."""
        return self.local.pod

    @property
    def uid(self) -> str:
        """The pod's identity."""
        return self.local.uid

    def update(self, pod: JsonObject) -> None:
        """Take the newest state of the pod."""
        self.local.pod = pod
        if is_deleting(pod):
            self._ending.set()

    def runner(self, name: str) -> ContainerRunner | None:
        """Return the runner of a container."""
        return next((one for one in self.runners if one.name == name), None)

    async def run(self) -> None:
        """Live until the pod is gone; cancelling leaves its programs running."""
        publisher = asyncio.create_task(self._publisher.run())
        life = asyncio.create_task(self._live())
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({life, ending}, return_when=asyncio.FIRST_COMPLETED)
            if life.done():
                life.result()
            await ending
            await _cancelled(life)
            await self._terminate()
            await _cancelled(publisher)
            await self._remove()
        finally:
            for task in (life, ending, publisher):
                await _cancelled(task)

    async def _live(self) -> None:
        if (self.local.pod.get("status") or {}).get("phase") in OVER:
            self._restore()
            return
        if not self._adopt():
            # Another cluster has taken the address block: what runs there is of no use.
            await self._stop(self.runners, grace=self.local.grace_seconds)
            self.runners = self._make_runners()
            self._adopt_runners()
        if self._ending.is_set():
            return
        self._show_waiting()
        self._publisher.changed()
        deadline = self.local.pod["spec"].get("activeDeadlineSeconds")
        if deadline is None:
            await self._run_containers()
            return
        left = deadline - (self._context.clock.now() - _moment(self._start_time)).total_seconds()
        try:
            async with asyncio.timeout(max(left, 0)):
                await self._run_containers()
        except TimeoutError:
            recorder = self._context.recorder
            recorder.normal(self.local.pod, "DeadlineExceeded", _DEADLINE_MESSAGE)
            self._failure = ("DeadlineExceeded", _DEADLINE_MESSAGE)
            await self._stop(self.runners, grace=self.local.grace_seconds)
            self._publisher.changed()

    def _restore(self) -> None:
        """Know the containers of a finished pod, for its logs; its status stays as it is."""
        for runner in self.runners:
            runner.adopt(None)

    def _adopt(self) -> bool:
        """Take over what runs; False when it cannot keep its address."""
        self._adopt_runners()
        address = self._kept_address()
        if not address:
            return True
        if not self._context.addresses.claim(address, owner=self.local.uid):
            return False
        self.local.address = address
        self._is_sandbox_ready = True
        with suppress(VolumeUnavailable):
            self.local.refresh_volumes()
        return True

    def _adopt_runners(self) -> None:
        status = self.local.pod.get("status") or {}
        former = {
            one["name"]: one
            for key in ("initContainerStatuses", "containerStatuses")
            for one in status.get(key) or ()
        }
        for runner in self.runners:
            runner.adopt(former.get(runner.name))

    def _kept_address(self) -> str:
        try:
            return str(json.loads((self.local.directory / "pod.json").read_bytes())["address"])
        except FileNotFoundError:
            return ""

    def _show_waiting(self) -> None:
        if self.local.pod["spec"].get("initContainers"):
            for runner in self.runners:
                runner.wait_for("PodInitializing")

    async def _run_containers(self) -> None:
        await self._set_up()
        async with asyncio.TaskGroup() as group:
            sidecars: list[asyncio.Task[bool]] = []
            for runner in self.runners:
                if runner.kind == "init":
                    if not await runner.run():
                        break
                elif runner.kind == "sidecar":
                    sidecars.append(group.create_task(runner.run()))
                    await runner.life.started_once.wait()
            else:
                await self._run_main()
            await self._end_sidecars(sidecars)
        self._publisher.changed()

    async def _run_main(self) -> None:
        async with asyncio.TaskGroup() as group:
            for runner in self.runners:
                if runner.kind == "main":
                    group.create_task(runner.run(), name=f"{self.local.label} {runner.name}")

    async def _end_sidecars(self, tasks: Sequence[asyncio.Task[bool]]) -> None:
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        sidecars = [runner for runner in self.runners if runner.kind == "sidecar"]
        await self._stop(sidecars, grace=self.local.grace_seconds)

    async def _set_up(self) -> None:
        """Make directories, volumes and the address, trying until what they need is there."""
        if not self.local.directory.exists():
            self._tell_ignored()
        self.local.directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        (self.local.directory / "containers").mkdir(exist_ok=True, mode=0o711)
        (self.local.directory / "volumes").mkdir(exist_ok=True, mode=0o711)
        pause = _MOUNT_PAUSE
        while True:
            try:
                self.local.refresh_volumes()
                break
            except VolumeUnavailable as error:
                self._context.recorder.warning(self.local.pod, "FailedMount", error.message)
            await self.local.until_changed(pause)
            pause = min(pause * 2, _LONGEST_MOUNT_PAUSE)
        if not self.local.address:
            self.local.address = self._context.addresses.allocate(self.local.uid)
        write_private(
            self.local.directory / "pod.json", json.dumps({"address": self.local.address})
        )
        self._is_sandbox_ready = True

    def _tell_ignored(self) -> None:
        ignored = ignored_fields(self.local.pod)
        if ignored:
            text = f"this cluster runs pods as local processes and ignores {', '.join(ignored)}"
            self._context.recorder.warning(self.local.pod, "Unsupported", text)

    def refresh(self) -> None:
        """Something that the pod refers to has changed: look again, bring volumes up to date.

        What is missing now stays as it was.
        """
        self.local.wake()
        if self.local.volumes and not self._ending.is_set():
            try:
                self.local.refresh_volumes()
            except VolumeUnavailable as error:
                log.info("volumes.stale", pod=self.local.label, error=error.message)

    async def _terminate(self) -> None:
        self._is_stopped = True
        if (self.local.pod.get("status") or {}).get("phase") not in OVER:
            await self._stop(self.runners, grace=self.local.grace_seconds)

    async def _stop(self, runners: Sequence[ContainerRunner], *, grace: float) -> None:
        async with asyncio.TaskGroup() as group:
            for runner in runners:
                group.create_task(self._stop_one(runner, grace))

    async def _stop_one(self, runner: ContainerRunner, grace: float) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        hook = (runner.spec.get("lifecycle") or {}).get("preStop")
        if hook and runner.running is not None and grace > 0:
            failure = await run_hook(
                hook, self.local.target(runner.spec, lambda: runner.running), seconds=grace
            )
            if failure:
                self.local.warning(
                    "FailedPreStopHook", f"PreStopHook failed: {failure}", runner.spec
                )
        await runner.stop(max(grace - (loop.time() - since), 2 if grace else 0))

    async def kill(self) -> None:
        """End everything at once: the pod is gone from the API."""
        await self._stop(self.runners, grace=0)
        self.clean_up()

    async def _remove(self) -> None:
        with suppress(NotFound):
            await self._publisher.publish()
            await self._context.objects.delete(
                PODS,
                self.local.pod["metadata"]["name"],
                self.local.namespace,
                uid=self.local.uid,
                grace_seconds=0,
            )
        self.clean_up()

    def clean_up(self) -> None:
        """Forget the pod: its address and its directory."""
        self._context.addresses.release(self.local.uid)
        if self.local.directory.exists():
            shutil.rmtree(self.local.directory)

    def _view(self, pod: JsonObject) -> PodView:
        reason, message = self._failure
        return PodView(
            pod=pod,
            inits=views([one for one in self.runners if one.kind != "main"]),
            containers=views([one for one in self.runners if one.kind == "main"]),
            host_ip=self._context.settings.host_ip,
            pod_ip=self.local.address,
            start_time=self._start_time,
            is_sandbox_ready=self._is_sandbox_ready,
            is_stopped=self._is_stopped,
            reason=reason,
            message=message,
        )

    def _now(self) -> str:
        return rfc3339(self._context.clock.now())


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def _cancelled(task: "asyncio.Task[object]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def remove_leftovers(path: Path) -> None:
    """Remove the directory of a pod that nobody knows any more."""
    if path.is_dir() and not os.path.ismount(path):
        shutil.rmtree(path)

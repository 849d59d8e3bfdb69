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
from typing_extensions import override

from hatoba.cluster.catalog.images import Image
from hatoba.cluster.controllers.values import is_deleting, key_of, uid_of
from hatoba.cluster.home import write_private
from hatoba.cluster.kubelet.containers import ContainerRunner, PodHost, RunnerKind, views
from hatoba.cluster.kubelet.context import MANAGER, NodeContext
from hatoba.cluster.kubelet.execution import run_captured
from hatoba.cluster.kubelet.hooks import run_hook
from hatoba.cluster.kubelet.probes import Target
from hatoba.cluster.kubelet.programs import Assembly, ContainerPlace, value_sources, volume_owner
from hatoba.cluster.kubelet.status import PodView, build_status, is_sidecar, phase_of
from hatoba.cluster.kubelet.volumes import VolumeSet, VolumeSources, VolumeUnavailable
from hatoba.cluster.objects import CLAIMS, PODS, VOLUMES
from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.errors import Conflict, HatobaError, NotFound
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

_DEFAULT_GRACE: Final = 30.0
_DEADLINE_MESSAGE: Final = "Pod was active on the node longer than the specified deadline"
_MOUNT_PAUSE: Final = 0.5
_LONGEST_MOUNT_PAUSE: Final = 30.0
_OVER: Final = frozenset({"Succeeded", "Failed"})


class PodWorker(PodHost):
    """Runs one pod."""

    def __init__(self, context: NodeContext, pod: JsonObject) -> None:
        self._context = context
        self.pod = pod
        self.uid = uid_of(pod)
        self.directory = context.pod_directory(self.uid)
        self.address = ""
        self.volumes: dict[str, Path] = {}
        self._start_time = (pod.get("status") or {}).get("startTime") or self._now()
        self._is_sandbox_ready = False
        self._failure: tuple[str, str] = ("", "")
        self._is_stopped = False
        self._dirty = asyncio.Event()
        self._woken = asyncio.Event()
        self._ending = asyncio.Event()
        self._tokens: dict[tuple[str, str], tuple[float, str]] = {}
        self.runners = self._make_runners()

    def _make_runners(self) -> list[ContainerRunner]:
        spec = self.pod["spec"]
        policy = spec.get("restartPolicy", "Always")
        init_policy = "OnFailure" if policy != "Never" else "Never"
        runners = []
        for one in spec.get("initContainers") or ():
            kind: RunnerKind = "sidecar" if is_sidecar(one) else "init"
            runners.append(self._runner(one, kind, init_policy))
        return runners + [self._runner(one, "main", policy) for one in spec["containers"]]

    def _runner(self, spec: JsonObject, kind: RunnerKind, policy: str) -> ContainerRunner:
        place = ContainerPlace(directory=self.directory / "containers" / spec["name"])
        return ContainerRunner(self, spec=spec, kind=kind, place=place, policy=policy)

    # What the runners ask for.

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
        self._refresh_volumes()
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
        seconds = settings.restart_backoff * 2 ** min(restarts - 1, 20)
        return min(seconds, settings.longest_backoff)

    @override
    def target(self, spec: JsonObject, runner: ContainerRunner) -> Target:
        async def execute(command: list[str], seconds: float) -> tuple[int, bytes]:
            running = runner.running
            if running is None:
                return 1, b"container is not running"
            return await run_captured(running[0], command, seconds=seconds)

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
        self._dirty.set()

    @override
    async def until_changed(self, seconds: float) -> None:
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    # What the agent tells.

    def update(self, pod: JsonObject) -> None:
        """Take the newest state of the pod."""
        self.pod = pod
        if is_deleting(pod):
            self._ending.set()

    def wake(self) -> None:
        """Something that the pod may refer to has changed."""
        self._woken.set()

    def runner(self, name: str) -> ContainerRunner | None:
        """Return the runner of a container."""
        return next((one for one in self.runners if one.name == name), None)

    # The pod's life.

    async def run(self) -> None:
        """Live until the pod is gone; cancelling leaves its programs running."""
        publisher = asyncio.create_task(self._publish_changes())
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
        if (self.pod.get("status") or {}).get("phase") in _OVER:
            self._restore()
            return
        self._adopt()
        if self._ending.is_set():
            return
        self._show_waiting()
        self.changed()
        deadline = self.pod["spec"].get("activeDeadlineSeconds")
        if deadline is None:
            await self._run_containers()
            return
        left = deadline - (self.clock.now() - _moment(self._start_time)).total_seconds()
        try:
            async with asyncio.timeout(max(left, 0)):
                await self._run_containers()
        except TimeoutError:
            recorder = self._context.recorder
            recorder.normal(self.pod, "DeadlineExceeded", _DEADLINE_MESSAGE)
            await self._stop(self.runners, grace=self.grace_seconds)
            self._failure = ("DeadlineExceeded", _DEADLINE_MESSAGE)
            self.changed()

    def _restore(self) -> None:
        """Know the containers of a finished pod, for its logs; its status stays as it is."""
        for runner in self.runners:
            runner.adopt(None)

    def _adopt(self) -> None:
        status = self.pod.get("status") or {}
        former = {
            one["name"]: one
            for key in ("initContainerStatuses", "containerStatuses")
            for one in status.get(key) or ()
        }
        for runner in self.runners:
            runner.adopt(former.get(runner.name))
        address = self._kept_address()
        if address and self._context.addresses.claim(address, owner=self.uid):
            self.address = address
            self._is_sandbox_ready = True
            with suppress(VolumeUnavailable):
                self._refresh_volumes()

    def _kept_address(self) -> str:
        try:
            return str(json.loads((self.directory / "pod.json").read_bytes())["address"])
        except FileNotFoundError:
            return ""

    def _show_waiting(self) -> None:
        if self.pod["spec"].get("initContainers"):
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
                    await runner.started_once.wait()
            else:
                await self._run_main()
            await self._end_sidecars(sidecars)
        self.changed()

    async def _run_main(self) -> None:
        async with asyncio.TaskGroup() as group:
            for runner in self.runners:
                if runner.kind == "main":
                    group.create_task(runner.run(), name=f"{self.label} {runner.name}")

    async def _end_sidecars(self, tasks: Sequence[asyncio.Task[bool]]) -> None:
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        sidecars = [runner for runner in self.runners if runner.kind == "sidecar"]
        await self._stop(sidecars, grace=self.grace_seconds)

    async def _set_up(self) -> None:
        """Make directories, volumes and the address, trying until what they need is there."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        (self.directory / "containers").mkdir(exist_ok=True, mode=0o711)
        (self.directory / "volumes").mkdir(exist_ok=True, mode=0o711)
        pause = _MOUNT_PAUSE
        while True:
            try:
                self._refresh_volumes()
                break
            except VolumeUnavailable as error:
                self._context.recorder.warning(self.pod, "FailedMount", error.message)
            await self.until_changed(pause)
            pause = min(pause * 2, _LONGEST_MOUNT_PAUSE)
        if not self.address:
            self.address = self._context.addresses.allocate(self.uid)
        write_private(self.directory / "pod.json", json.dumps({"address": self.address}))
        self._is_sandbox_ready = True

    def _refresh_volumes(self) -> None:
        values = value_sources(self._context, self.pod, self.address, self._namespace)
        namespace = self._namespace
        sources = VolumeSources(
            values=values,
            claim=lambda name: self._context.lookup(CLAIMS, name, namespace),
            volume=lambda name: self._context.lookup(VOLUMES, name, ""),
            token=self._token,
        )
        volumes = VolumeSet(
            directory=self.directory / "volumes", sources=sources, owner=volume_owner()
        )
        self.volumes = volumes.set_up(self.pod)

    def refresh(self) -> None:
        """Bring the contents of volumes up to date; what is missing now stays as it was."""
        if self.volumes and not self._ending.is_set():
            try:
                self._refresh_volumes()
            except VolumeUnavailable as error:
                log.info("volumes.stale", pod=self.label, error=error.message)

    def _token(self, account: str, audience: str) -> str:
        now = self.clock.monotonic()
        known = self._tokens.get((account, audience))
        if known is None or known[0] < now:
            token = self._context.issue_token(self._namespace, account, audience)
            known = self._tokens[account, audience] = (now + 1800, token)
        return known[1]

    @property
    def _namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    async def _terminate(self) -> None:
        self._is_stopped = True
        if (self.pod.get("status") or {}).get("phase") not in _OVER:
            await self._stop(self.runners, grace=self.grace_seconds)

    async def _stop(self, runners: Sequence[ContainerRunner], *, grace: float) -> None:
        async with asyncio.TaskGroup() as group:
            for runner in runners:
                group.create_task(self._stop_one(runner, grace))

    async def _stop_one(self, runner: ContainerRunner, grace: float) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        hook = (runner.spec.get("lifecycle") or {}).get("preStop")
        if hook and runner.running is not None and grace > 0:
            failure = await run_hook(hook, self.target(runner.spec, runner), seconds=grace)
            if failure:
                self.warning("FailedPreStopHook", f"PreStopHook failed: {failure}", runner.spec)
        await runner.stop(max(grace - (loop.time() - since), 2 if grace else 0))

    async def kill(self) -> None:
        """End everything at once: the pod is gone from the API."""
        await self._stop(self.runners, grace=0)
        self.clean_up()

    async def _remove(self) -> None:
        with suppress(NotFound):
            await self._publish()
            await self._context.objects.delete(
                PODS, self.pod["metadata"]["name"], self._namespace, uid=self.uid, grace_seconds=0
            )
        self.clean_up()

    def clean_up(self) -> None:
        """Forget the pod: its address and its directory."""
        self._context.addresses.release(self.uid)
        if self.directory.exists():
            shutil.rmtree(self.directory)

    # The status.

    async def _publish_changes(self) -> None:
        pause = 0.1
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._publish()
                pause = 0.1
            except NotFound:
                return
            except HatobaError as error:
                log.warning("status.refused", pod=self.label, error=error.message)
                self._dirty.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10)

    async def _publish(self) -> None:
        objects, key = self._context.objects, key_of(self.pod)
        for _ in range(5):
            current = await objects.get(PODS, key.name, key.namespace)
            if uid_of(current) != self.uid:
                raise NotFound(f'pods "{key.name}" not found')
            before = current.get("status") or {}
            if before.get("phase") in _OVER:
                return
            status = build_status(self._view(current), now=self._now())
            if {**before, **status} == before:
                return
            try:
                self.pod = await objects.update(
                    PODS,
                    {**current, "status": {**before, **status}},
                    manager=MANAGER,
                    subresource="status",
                )
            except Conflict:
                continue
            return
        raise Conflict(f"status of {self.label} keeps changing")

    def _view(self, pod: JsonObject) -> PodView:
        reason, message = self._failure
        return PodView(
            pod=pod,
            inits=views([one for one in self.runners if one.kind != "main"]),
            containers=views([one for one in self.runners if one.kind == "main"]),
            host_ip=self._context.settings.host_ip,
            pod_ip=self.address,
            start_time=self._start_time,
            is_sandbox_ready=self._is_sandbox_ready,
            is_stopped=self._is_stopped,
            reason=reason,
            message=message,
        )

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will run again."""
        return phase_of(self._view(self.pod)) in _OVER

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

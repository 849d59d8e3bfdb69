"""The kubelet: follows the pods of its node, and answers for them.

One worker per pod. What the API server and the autoscaler ask of the node (`node.Node`) is
answered from the workers' containers.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final

import structlog
from typing_extensions import override

from hatoba.cluster.controllers.values import Key, key_of, spec_of, uid_of
from hatoba.cluster.kubelet.attempts import Attempt, living
from hatoba.cluster.kubelet.containers import ContainerRunner
from hatoba.cluster.kubelet.context import WATCHED, NodeContext
from hatoba.cluster.kubelet.execution import LocalExecSession
from hatoba.cluster.kubelet.logs import stream
from hatoba.cluster.kubelet.status import Waiting
from hatoba.cluster.kubelet.usage import ContainerKey, UsageMeter
from hatoba.cluster.kubelet.worker import PodWorker, remove_leftovers
from hatoba.cluster.node import ExecSession, LogRequest, Node, Usage
from hatoba.cluster.objects import PODS
from hatoba.kernel.errors import InvalidInput, NotFound
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

_USAGE_PERIOD: Final = 10.0
_REFRESH_PAUSE: Final = 0.2
_TOKENS_PERIOD: Final = 600.0


class Kubelet(Node):
    """Runs the pods of one node."""

    def __init__(self, context: NodeContext, *, usage_period: float = _USAGE_PERIOD) -> None:
        self._context = context
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._meter = UsageMeter(self._shims, clock=context.clock, period=usage_period)
        self._stale: set[str] = set()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Run pods until cancelled; their programs go on."""
        informers = self._context.informers
        pods = informers.of(PODS)
        await informers.synced([PODS, *WATCHED])
        self._end_strangers({uid_of(pod) for pod in pods.items()})
        pods.subscribe(self._on_pod)
        for resource in WATCHED:
            informers.of(resource).subscribe(self._on_reference)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._meter.run(), name="usage")
                group.create_task(self._refresh(), name="volumes")
        finally:
            pods.unsubscribe(self._on_pod)
            for resource in WATCHED:
                informers.of(resource).unsubscribe(self._on_reference)
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _end_strangers(self, known: set[str]) -> None:
        """End what runs for pods that the API does not know (any more)."""
        pods = self._context.home.pods
        for attempt, started in list(living(pods)):
            uid = attempt.directory.relative_to(pods).parts[0]
            if uid not in known:
                log.info("container.stranger", pid=started.program.pid)
                attempt.kill(started)
        for path in pods.iterdir():
            if path.name not in known:
                remove_leftovers(path)

    def _on_pod(self, old: JsonObject | None, new: JsonObject | None) -> None:
        if new is not None and spec_of(new).get("nodeName") == self._context.settings.node_name:
            worker = self._workers.get(uid_of(new))
            if worker is None:
                self._begin(new)
            else:
                worker.update(new)
        gone = old is not None and (new is None or uid_of(new) != uid_of(old))
        if gone and old is not None:
            self._forget(uid_of(old))

    def _begin(self, pod: JsonObject) -> None:
        worker = PodWorker(self._context, pod)
        self._workers[worker.uid] = worker
        worker.update(pod)
        self._tasks[worker.uid] = asyncio.create_task(self._guard(worker), name=worker.local.label)

    async def _guard(self, worker: PodWorker) -> None:
        """Run a worker; a fault in it costs its pod a new start, never the node."""
        pause = 1.0
        while True:
            try:
                await worker.run()
            except Exception:
                log.exception("pod.crashed", pod=worker.local.label, pause=pause)
            else:
                self._workers.pop(worker.uid, None)
                self._tasks.pop(worker.uid, None)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, 60)
            fresh = PodWorker(self._context, worker.pod)
            fresh.update(worker.pod)
            worker = self._workers[worker.uid] = fresh

    def _forget(self, uid: str) -> None:
        worker, task = self._workers.get(uid), self._tasks.get(uid)
        if worker is None or task is None:
            return
        task.cancel()
        self._tasks[uid] = asyncio.create_task(self._kill(worker, task))

    async def _kill(self, worker: PodWorker, task: asyncio.Task[None]) -> None:
        with suppress(asyncio.CancelledError):
            await task
        await worker.kill()
        self._workers.pop(worker.uid, None)
        self._tasks.pop(worker.uid, None)

    def _on_reference(self, old: JsonObject | None, new: JsonObject | None) -> None:
        obj = new or old
        if obj is None:
            return
        self._stale.add(key_of(obj).namespace)
        self._changed.set()

    async def _refresh(self) -> None:
        """Bring volumes up to date after changes, and from time to time for tokens' sake."""
        while True:
            try:
                async with asyncio.timeout(_TOKENS_PERIOD):
                    await self._changed.wait()
            except TimeoutError:
                self._stale |= {worker.local.namespace for worker in self._workers.values()}
            await asyncio.sleep(_REFRESH_PAUSE)
            self._changed.clear()
            stale, self._stale = self._stale, set()
            for worker in list(self._workers.values()):
                # "" stands for what has no namespace: volumes of claims.
                if "" in stale or worker.local.namespace in stale:
                    worker.refresh()

    def _shims(self) -> dict[ContainerKey, int]:
        found = {}
        for worker in self._workers.values():
            for runner in worker.runners:
                if runner.running is not None:
                    key = ContainerKey(worker.uid, runner.name)
                    found[key] = runner.running[1].shim.pid
        return found

    # What the API server asks.

    def _runner(self, key: Key, container: str) -> ContainerRunner:
        for worker in self._workers.values():
            if key_of(worker.pod) == key:
                runner = worker.runner(container)
                if runner is None:
                    raise InvalidInput(f"container {container} is not valid for pod {key.name}")
                return runner
        raise NotFound(f'pods "{key.name}" not found')

    @override
    async def logs(self, namespace: str, pod: str, request: LogRequest) -> AsyncIterator[bytes]:
        runner = self._runner(Key(namespace, pod), request.container)
        attempt = _attempt(runner, pod, request)

        def is_running() -> bool:
            running = runner.running
            return running is not None and running[0] == attempt

        now = self._context.clock.now()
        async for chunk in stream(attempt.log, request, now=now, is_running=is_running):
            yield chunk

    @override
    async def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: bool
    ) -> ExecSession:
        running = self._runner(Key(namespace, pod), container).running
        if running is None:
            raise InvalidInput(f"container not found ({container!r})")
        return await LocalExecSession.start(running[0], command, stdin=stdin)

    @override
    def usage(self, namespace: str, pod: str) -> Sequence[Usage]:
        key = Key(namespace, pod)
        for worker in self._workers.values():
            if key_of(worker.pod) == key:
                return self._meter.of(worker.uid)
        return ()


def _attempt(runner: ContainerRunner, pod: str, request: LogRequest) -> Attempt:
    """Return the attempt whose log is asked for.

    Raises:
        InvalidInput: there is none yet, or no earlier one.
    """
    if request.previous:
        before = runner.attempt_before()
        if before is None:
            raise InvalidInput(
                f'previous terminated container "{request.container}" in pod "{pod}" not found'
            )
        return before
    if runner.attempt is None:
        state = runner.life.state
        reason = state.reason if isinstance(state, Waiting) else ""
        told = {
            "ErrImagePull": "image can't be pulled",
            "ImagePullBackOff": "trying and failing to pull image",
        }.get(reason, reason)
        raise InvalidInput(
            f'container "{request.container}" in pod "{pod}" is waiting to start: {told}'
        )
    return runner.attempt

"""Writes a pod's status: whole, when it differs, after everything that changed in the meantime."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from hatoba.cluster.controllers.values import key_of, uid_of
from hatoba.cluster.kubelet.context import MANAGER, NodeContext
from hatoba.cluster.kubelet.status import PodView, build_status
from hatoba.cluster.objects import PODS
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.errors import Conflict, HatobaError, NotFound
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

OVER: Final = frozenset({"Succeeded", "Failed"})
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
_ATTEMPTS: Final = 5


class StatusPublisher:
    """Publishes what `view` says of a pod."""

    def __init__(
        self, context: NodeContext, pod: JsonObject, *, view: Callable[[JsonObject], PodView]
    ) -> None:
        self._context = context
        self._key = key_of(pod)
        self._uid = uid_of(pod)
        self._view = view
        self._dirty = asyncio.Event()

    def changed(self) -> None:
        """Take note that the view is another one."""
        self._dirty.set()

    async def run(self) -> None:
        """Publish changes until cancelled, or until the pod is gone."""
        pause = _FIRST_PAUSE
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self.publish()
                pause = _FIRST_PAUSE
            except NotFound:
                return
            except HatobaError as error:
                log.warning("status.refused", pod=str(self._key), error=error.message)
                self._dirty.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def publish(self) -> None:
        """Write the status unless it is as it was; that of a finished pod never changes.

        Raises:
            NotFound: the pod is gone, or another one has its name.
        """
        objects, key = self._context.objects, self._key
        for _ in range(_ATTEMPTS):
            current = await objects.get(PODS, key.name, key.namespace)
            if uid_of(current) != self._uid:
                raise NotFound(f'pods "{key.name}" not found')
            before = current.get("status") or {}
            if before.get("phase") in OVER:
                return
            status = build_status(self._view(current), now=rfc3339(self._context.clock.now()))
            if {**before, **status} == before:
                return
            fresh = {**current, "status": {**before, **status}}
            try:
                await objects.update(PODS, fresh, manager=MANAGER, subresource="status")
            except Conflict:
                continue
            return
        raise Conflict(f"the status of {key.name} keeps changing")

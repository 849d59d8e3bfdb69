"""The frame of a controller: sources feed keys into a queue, workers reconcile them.

One failing key comes back later, one failing controller starts again after a pause; neither
disturbs the others.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import structlog

from hatoba.cluster.api.status import StatusError
from hatoba.cluster.controllers.client import Client
from hatoba.cluster.controllers.events import EventSink, Recorder
from hatoba.cluster.controllers.informer import Handler, Informer, Informers
from hatoba.cluster.controllers.queue import LONGEST_PAUSE, WorkQueue
from hatoba.cluster.controllers.settings import ControllerSettings
from hatoba.cluster.controllers.values import Key
from hatoba.cluster.node import Node
from hatoba.cluster.objects import Objects, ResourceName
from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import Conflict, HatobaError, NotFound
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

MANAGER: Final = "kube-controller-manager"
_RACE_PAUSE: Final = 1.0
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 60.0


def is_namespace_ending(error: HatobaError) -> bool:
    """Whether something was refused because its namespace is being deleted."""
    return isinstance(error, StatusError) and any(
        cause.reason == "NamespaceTerminating" for cause in error.causes
    )


Keys = Callable[[JsonObject], Iterable[Key]]
"""Which keys to look at when this object appears, changes (before and after) or disappears."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Context:
    """What all controllers share."""

    objects: Objects
    informers: Informers
    sink: EventSink
    node: Node
    clock: Clock
    settings: ControllerSettings


class Controller(ABC):
    """One controller."""

    name: ClassVar[str]
    manager: ClassVar[str] = MANAGER
    workers: ClassVar[int] = 2

    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.settings = context.settings
        self.node = context.node
        self.informers = context.informers
        self.client = Client(context.objects, context.informers, manager=self.manager)
        self.recorder = Recorder(context.sink, component=self.name, manager=self.manager)
        self.queue = WorkQueue()

    @abstractmethod
    def sources(self) -> Mapping[ResourceName, Keys]:
        """Return the resources whose changes matter, and which keys each change is about."""

    @abstractmethod
    async def reconcile(self, key: Key) -> float | None:
        """Bring one object closer to what it should be.

        Returns the seconds after which to look again without an event, None for never.
        """

    async def prepare(self) -> None:  # noqa: B027 -- most have nothing to prepare
        """Do what has to be done once per start, after the caches are filled."""

    def cache(self, resource: ResourceName) -> Informer:
        """Return the shared cache of a resource."""
        return self.informers.of(resource)

    async def run(self) -> None:
        """Work until cancelled."""
        sources = self.sources()
        await self.informers.synced(sources)
        await self.prepare()
        subscriptions = [
            (self.informers.of(resource), self._handler(keys)) for resource, keys in sources.items()
        ]
        for informer, handler in subscriptions:
            informer.subscribe(handler)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.workers):
                    group.create_task(self._work())
        finally:
            for informer, handler in subscriptions:
                informer.unsubscribe(handler)
            self.queue.close()

    def _handler(self, keys: Keys) -> Handler:
        def enqueue(old: JsonObject | None, new: JsonObject | None) -> None:
            for state in (old, new):
                if state is not None:
                    self._enqueue(keys, state)

        return enqueue

    def _enqueue(self, keys: Keys, state: JsonObject) -> None:
        try:
            for key in keys(state):
                self.queue.add(key)
        except (KeyError, TypeError, ValueError, AttributeError):
            # A shape nobody expected must not end the cache that all controllers live on.
            log.exception("event.unreadable", controller=self.name, kind=state.get("kind"))

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            failed, longest = True, LONGEST_PAUSE
            try:
                again = await self.reconcile(key)
                failed = False
                if again is not None:
                    self.queue.add_after(key, seconds=again)
            except (Conflict, NotFound) as error:
                # Somebody else was faster; the pass that follows sees what they did.
                longest = _RACE_PAUSE
                log.debug("reconcile.raced", controller=self.name, key=key, error=error.message)
            except HatobaError as error:
                if is_namespace_ending(error):
                    # Nothing can be made there any more; the namespace controller does the rest.
                    failed = False
                    continue
                log.warning("reconcile.failed", controller=self.name, key=key, error=error.message)
            except Exception:
                log.exception("reconcile.crashed", controller=self.name, key=key)
            finally:
                self.queue.done(key, failed=failed, longest=longest)


async def supervise(controller: Controller) -> None:
    """Run a controller, again and again should it fail, until cancelled."""
    pause = _FIRST_PAUSE
    while True:
        try:
            await controller.run()
        except Exception:
            log.exception("controller.crashed", controller=controller.name, pause=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)

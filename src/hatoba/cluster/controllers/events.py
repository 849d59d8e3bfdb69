"""Events: what controllers and the kubelet tell people about objects.

Recording never blocks and never fails its caller: events are notes, written by one background
task. A repeated one raises `count` of the Event already there, as Kubernetes' own recorder does.
"""

import asyncio
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from hatoba.cluster.objects import EVENTS, Objects
from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.errors import HatobaError, NotFound
from hatoba.kernel.ids import random_text
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

EventType = Literal["Normal", "Warning"]
_QUEUE_LENGTH: Final = 1_000
_REMEMBERED: Final = 4_096
_HEXADECIMAL: Final = "0123456789abcdef"


@dataclass(slots=True, frozen=True, kw_only=True)
class Note:
    """One thing to tell."""

    component: str
    host: str
    manager: str
    about: JsonObject
    type: EventType
    reason: str
    message: str
    action: str = ""
    """Set for events of the newer API, which carry `eventTime` instead of a count."""

    @property
    def identity(self) -> tuple[str, ...]:
        """Two notes with the same identity are one event that happened twice."""
        return (
            self.component,
            self.about.get("uid", ""),
            self.about.get("fieldPath", ""),
            self.type,
            self.reason,
            self.message,
        )


class EventSink:
    """Writes notes as Event objects."""

    def __init__(self, objects: Objects, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock
        self._notes: asyncio.Queue[Note] = asyncio.Queue(_QUEUE_LENGTH)
        self._written: OrderedDict[tuple[str, ...], JsonObject] = OrderedDict()

    def offer(self, note: Note) -> None:
        """Take a note; when too many wait already it is lost, and the log says so."""
        try:
            self._notes.put_nowait(note)
        except asyncio.QueueFull:
            log.warning("event.lost", reason=note.reason, name=note.about.get("name"))

    async def run(self) -> None:
        """Write notes until cancelled."""
        while True:
            await self._write_logged(await self._notes.get())
            self._notes.task_done()

    async def drained(self) -> None:
        """Wait until everything offered so far is written."""
        await self._notes.join()

    async def _write_logged(self, note: Note) -> None:
        try:
            await self._write(note)
        except HatobaError as error:
            # The namespace is going, most often; nobody is left to read the event.
            log.debug("event.refused", reason=note.reason, error=error.message)
        except Exception:
            log.exception("event.failed", reason=note.reason)

    async def _write(self, note: Note) -> None:
        before = self._written.get(note.identity)
        if before is not None and not note.action:
            with suppress(NotFound):
                self._remember(note, await self._count(before, manager=note.manager))
                return
        made = await self._objects.create(EVENTS, self._event(note), manager=note.manager)
        self._remember(note, made)

    async def _count(self, before: JsonObject, *, manager: str) -> JsonObject:
        meta = before["metadata"]
        again = {"count": before["count"] + 1, "lastTimestamp": rfc3339(self._clock.now())}
        return await self._objects.patch(
            EVENTS,
            meta["name"],
            meta["namespace"],
            again,
            type="application/merge-patch+json",
            manager=manager,
        )

    def _remember(self, note: Note, event: JsonObject) -> None:
        self._written[note.identity] = event
        self._written.move_to_end(note.identity)
        while len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)

    def _event(self, note: Note) -> JsonObject:
        now = self._clock.now()
        namespace = note.about.get("namespace") or "default"
        event: JsonObject = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{note.about['name']}.{random_text(16, _HEXADECIMAL)}",
                "namespace": namespace,
            },
            "involvedObject": note.about,
            "reason": note.reason,
            "message": note.message,
            "type": note.type,
            "reportingComponent": note.component,
            "reportingInstance": note.host,
        }
        if note.action:
            precise = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            return event | {
                "source": {},
                "firstTimestamp": None,
                "lastTimestamp": None,
                "eventTime": precise,
                "action": note.action,
            }
        source = {"component": note.component} | ({"host": note.host} if note.host else {})
        stamp = rfc3339(now)
        return event | {
            "source": source,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "eventTime": None,
        }


def reference_to(obj: JsonObject, *, field_path: str = "") -> JsonObject:
    """Return the ObjectReference by which an event names its object."""
    meta = obj["metadata"]
    reference: JsonObject = {"kind": obj["kind"], "apiVersion": obj["apiVersion"]}
    for key in ("namespace", "name", "uid", "resourceVersion"):
        if meta.get(key):
            reference[key] = meta[key]
    if field_path:
        reference["fieldPath"] = field_path
    return reference


class Recorder:
    """One component's voice."""

    def __init__(
        self, sink: EventSink, *, component: str, host: str = "", manager: str = ""
    ) -> None:
        self._sink = sink
        self._component = component
        self._host = host
        self._manager = manager or component

    def normal(
        self, obj: JsonObject, reason: str, message: str, *, field_path: str = "", action: str = ""
    ) -> None:
        """Tell something expected about the object."""
        self._record(obj, "Normal", reason, message, field_path, action)

    def warning(
        self, obj: JsonObject, reason: str, message: str, *, field_path: str = "", action: str = ""
    ) -> None:
        """Tell something about the object that may need attention."""
        self._record(obj, "Warning", reason, message, field_path, action)

    def _record(
        self,
        obj: JsonObject,
        kind: EventType,
        reason: str,
        message: str,
        field_path: str,
        action: str,
    ) -> None:
        self._sink.offer(
            Note(
                component=self._component,
                host=self._host,
                manager=self._manager,
                about=reference_to(obj, field_path=field_path),
                type=kind,
                reason=reason,
                message=message[:1024],
                action=action,
            )
        )

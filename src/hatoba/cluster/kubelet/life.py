"""The life of one container: what is known of it, and the rules that hold for all of it.

`starting` begins attempts, `containers` accompanies and ends them; both work on this state, and the
pod reads its view.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

from hatoba.cluster.catalog.images import Image
from hatoba.cluster.kubelet.attempts import Attempt, Ended, Started
from hatoba.cluster.kubelet.logs import last_words
from hatoba.cluster.kubelet.probes import Target
from hatoba.cluster.kubelet.programs import Assembly, ContainerPlace
from hatoba.cluster.kubelet.status import (
    ContainerView,
    Running,
    State,
    Terminated,
    Waiting,
    backoff_text,
)
from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.json import JsonObject

RunnerKind = Literal["init", "sidecar", "main"]
RunningNow = Callable[[], tuple[Attempt, Started] | None]
_RESET_SECONDS: Final = 600.0
_MESSAGE_BYTES: Final = 4096


class PodHost(Protocol):
    """What a runner needs of its pod."""

    @property
    def clock(self) -> Clock:
        """Time."""

    @property
    def label(self) -> str:
        """`name_namespace(uid)`, as messages name the pod."""

    @property
    def grace_seconds(self) -> float:
        """How long its containers may take to end."""

    def assemble(self, spec: JsonObject, image: Image, place: ContainerPlace) -> Assembly:
        """Return what a container is assembled from."""

    def find_image(self, reference: str) -> Image:
        """Look up an image; raises what the catalog raises."""

    def backoff(self, restarts: int) -> float:
        """Return the seconds before the next restart, after so many in a row."""

    def target(self, spec: JsonObject, running: RunningNow) -> Target:
        """Return what probes ask."""

    def normal(self, reason: str, message: str, spec: JsonObject) -> None:
        """Record an event about a container."""

    def warning(self, reason: str, message: str, spec: JsonObject) -> None:
        """Record an event about a container that may need attention."""

    def changed(self) -> None:
        """Take note that some container's view is another one."""

    async def until_changed(self, seconds: float) -> None:
        """Wait, less long when something that the pod refers to changes."""


@dataclass(slots=True, kw_only=True)
class ContainerLife:
    """One container's state."""

    host: PodHost
    spec: JsonObject
    kind: RunnerKind
    place: ContainerPlace
    policy: str
    state: State = field(default_factory=lambda: Waiting(reason="ContainerCreating"))
    last: Terminated | None = None
    is_ready: bool = False
    has_started: bool = False
    restarts: int = 0
    attempt: Attempt | None = None
    started: Started | None = None
    failures_in_row: int = 0
    started_once: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.spec["name"])

    @property
    def running(self) -> tuple[Attempt, Started] | None:
        """The attempt whose program runs now."""
        if isinstance(self.state, Running) and self.attempt and self.started:
            return self.attempt, self.started
        return None

    @property
    def is_over(self) -> bool:
        """Whether the restart policy leaves it ended."""
        if not isinstance(self.state, Terminated):
            return False
        if self.kind == "init" and self.state.exit_code == 0:
            return True
        return self.policy == "Never" or (self.policy == "OnFailure" and self.state.exit_code == 0)

    def view(self) -> ContainerView:
        """Return what the status shows."""
        started = self.started
        return ContainerView(
            name=self.name,
            state=self.state,
            last=self.last,
            is_ready=self.is_ready,
            has_started=self.has_started,
            restarts=self.restarts,
            container_id=started.container_id if started else "",
            image_id=f"catalog://{self.spec['image']}" if started else "",
        )

    def show(self, state: State) -> None:
        """Change the state and let the pod know."""
        self.state = state
        self.host.changed()

    def normal(self, reason: str, message: str) -> None:
        """Record an event."""
        self.host.normal(reason, message, self.spec)

    def warning(self, reason: str, message: str) -> None:
        """Record an event that may need attention."""
        self.host.warning(reason, message, self.spec)

    def passed_startup(self) -> None:
        """Take note that it has started, and is ready unless a probe has to say so."""
        self.has_started = True
        self.is_ready = "readinessProbe" not in self.spec and self.kind != "init"
        self.started_once.set()

    def record_end(self, attempt: Attempt, *, started: Started, ended: Ended) -> None:
        """Take note that the running program has ended."""
        if not isinstance(self.state, Running):
            return
        lived = ended.finished_at - started.started_at
        self.failures_in_row = 1 if lived > _RESET_SECONDS else self.failures_in_row + 1
        self.has_started = False
        self.is_ready = self.kind == "init" and ended.code == 0
        self.show(self.terminated(attempt, started=started, ended=ended))

    def terminated(self, attempt: Attempt, *, started: Started, ended: Ended) -> Terminated:
        """Return the state of an attempt that has ended."""
        return Terminated(
            exit_code=ended.code,
            signal=ended.signal,
            reason="Completed" if ended.code == 0 else "Error",
            started_at=_stamp(started.started_at),
            finished_at=_stamp(ended.finished_at),
            container_id=started.container_id,
            message=self._last_words(attempt, ended),
        )

    def _last_words(self, attempt: Attempt, ended: Ended) -> str:
        """Return the end of the log as termination message, where that was asked for."""
        if ended.code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            return last_words(attempt.log, limit=_MESSAGE_BYTES // 2)
        return ""

    async def back_off(self) -> None:
        """Wait before a restart: not at all before the first one."""
        seconds = self.host.backoff(self.failures_in_row - 1)
        if seconds <= 0:
            return
        label = self.host.label
        self.warning("BackOff", f"Back-off restarting failed container {self.name} in pod {label}")
        if isinstance(self.state, Terminated):
            self.last = self.state
        text = (
            f"back-off {backoff_text(seconds)} restarting failed container={self.name} pod={label}"
        )
        self.show(Waiting(reason="CrashLoopBackOff", message=text))
        await asyncio.sleep(seconds)


def _stamp(seconds: float) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


def running_since(started: Started) -> Running:
    """Return the state of a program that runs."""
    return Running(started_at=_stamp(started.started_at))

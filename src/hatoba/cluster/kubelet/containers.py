"""One container of a pod: attempts one after the other, with probes and back-off.

A runner decides nothing about its pod: the worker starts it, reads its view and ends it. It picks
up what an earlier cluster process left: a program that still runs is adopted, one that ended
meanwhile is judged by its record.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

import structlog

from hatoba.cluster.catalog.images import Image, ImageNameInvalid, ImageUnknown
from hatoba.cluster.kubelet.attempts import Attempt, Ended, Started, StartFailed, attempts_of
from hatoba.cluster.kubelet.environment import ConfigurationMissing
from hatoba.cluster.kubelet.logs import last_words
from hatoba.cluster.kubelet.mounts import MountUnusable
from hatoba.cluster.kubelet.probes import ProbeKind, Prober, Target
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

log = structlog.get_logger()

RunnerKind = Literal["init", "sidecar", "main"]
_KEPT_ATTEMPTS: Final = 2
_RESET_SECONDS: Final = 600.0
_RETRY_SECONDS: Final = 5.0
_LONGEST_RETRY: Final = 60.0
_MESSAGE_BYTES: Final = 4096
_KILLED_BY_PROBE: Final = "failed {kind} probe, will be restarted"


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

    def target(self, spec: JsonObject, runner: "ContainerRunner") -> Target:
        """Return what probes ask."""

    def normal(self, reason: str, message: str, spec: JsonObject) -> None:
        """Record an event about a container."""

    def warning(self, reason: str, message: str, spec: JsonObject) -> None:
        """Record an event about a container that may need attention."""

    def changed(self) -> None:
        """Take note that some container's view is another one."""

    async def until_changed(self, seconds: float) -> None:
        """Wait, less long when something that the pod refers to changes."""


@dataclass(slots=True)
class _Progress:
    """What changes while a container lives."""

    state: State
    last: Terminated | None = None
    is_ready: bool = False
    has_started: bool = False
    restarts: int = 0
    attempt: Attempt | None = None
    started: Started | None = None


class ContainerRunner:
    """Runs one container."""

    def __init__(
        self,
        host: PodHost,
        *,
        spec: JsonObject,
        kind: RunnerKind,
        place: ContainerPlace,
        policy: str,
    ) -> None:
        self._host = host
        self.spec = spec
        self.kind = kind
        self.place = place
        self._policy = "Always" if kind == "sidecar" else policy
        self._progress = _Progress(state=Waiting(reason="ContainerCreating"))
        self.started_once = asyncio.Event()
        self._is_stopping = False
        self._failures_in_row = 0

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.spec["name"])

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt."""
        return self._progress.attempt

    @property
    def running(self) -> tuple[Attempt, Started] | None:
        """The attempt whose program runs now."""
        now = self._progress
        if isinstance(now.state, Running) and now.attempt and now.started:
            return now.attempt, now.started
        return None

    def attempt_before(self) -> Attempt | None:
        """Return the attempt before the newest one, for `logs --previous`."""
        known = attempts_of(self.place.attempts)
        newest = self._progress.attempt
        older = [one for one in known if newest is not None and one.number < newest.number]
        return older[-1] if older else None

    def view(self) -> ContainerView:
        """Return what the status shows."""
        now = self._progress
        started = now.started
        return ContainerView(
            name=self.name,
            state=now.state,
            last=now.last,
            is_ready=now.is_ready,
            has_started=now.has_started,
            restarts=now.restarts,
            container_id=started.container_id if started else "",
            image_id=f"catalog://{self.spec['image']}" if started else "",
        )

    def wait_for(self, reason: str) -> None:
        """Show why it does not run yet."""
        if isinstance(self._progress.state, Waiting):
            self._progress.state = Waiting(reason=reason)

    def adopt(self, former: JsonObject | None) -> None:
        """Take over what an earlier cluster process started; `former` is the status it wrote."""
        known = attempts_of(self.place.attempts)
        if not known:
            return
        progress, newest = self._progress, known[-1]
        progress.attempt, progress.restarts = newest, newest.number
        for earlier in known[:-1]:
            if (started := earlier.started()) and (ended := earlier.ended()):
                progress.last = self._terminated(earlier, started, ended)
        started = newest.started()
        if started is None:
            return
        progress.started = started
        ended = newest.ended()
        if ended is not None:
            progress.state = self._terminated(newest, started, ended)
            progress.is_ready = self.kind == "init" and ended.code == 0
            return
        progress.state = _running(started)
        # Ready as before: a restart of the cluster must not take healthy pods out of service.
        progress.has_started = bool((former or {}).get("started"))
        progress.is_ready = bool((former or {}).get("ready"))
        if progress.has_started:
            self.started_once.set()

    async def run(self) -> bool:
        """Run until it has ended for good; tell whether it succeeded.

        Cancelling leaves the program running.
        """
        while not self._is_over():
            running = self.running
            if running is None:
                try:
                    running = await self._start()
                except NeverStarted:
                    return False
            await self._accompany(*running)
            if not self._is_over():
                await self._back_off()
        return self.view().has_succeeded

    async def stop(self, grace: float) -> None:
        """End the program: its stop signal, then, after `grace` seconds, the kill."""
        self._is_stopping = True
        running = self.running
        if running is None:
            return
        attempt, started = running
        self._host.normal("Killing", f"Stopping container {self.name}", self.spec)
        await self._end(attempt, started, grace=grace)

    async def _end(self, attempt: Attempt, started: Started, *, grace: float) -> None:
        ended = asyncio.create_task(attempt.wait(started, clock=self._host.clock))
        try:
            if grace > 0:
                attempt.send(started, attempt.stop_signal())
                with suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await asyncio.shield(ended)
            if not ended.done():
                attempt.kill(started)
            self._record_end(attempt, started, await ended)
        finally:
            ended.cancel()

    def _is_over(self) -> bool:
        """Tell whether the restart policy leaves it ended."""
        state = self._progress.state
        if not isinstance(state, Terminated):
            return False
        if self.kind == "init" and state.exit_code == 0:
            return True
        return self._policy == "Never" or (self._policy == "OnFailure" and state.exit_code == 0)

    async def _start(self) -> tuple[Attempt, Started]:
        """Start the program, trying again until its image and configuration are there."""
        pause = _RETRY_SECONDS
        while True:
            try:
                return await self._try_start()
            except ImageNameInvalid as error:
                self._host.warning("InspectFailed", error.message, self.spec)
                self._refuse("InvalidImageName", error.message)
            except ImageUnknown as error:
                await self._unknown_image(error.message, pause)
                pause = min(pause * 2, _LONGEST_RETRY)
                continue
            except (ConfigurationMissing, MountUnusable) as error:
                self._refuse("CreateContainerConfigError", error.message, event=error.message)
            except StartFailed as error:
                await self._failed_start(error.message)
                continue
            await self._host.until_changed(pause)

    def _refuse(self, reason: str, message: str, *, event: str = "") -> None:
        self._host.warning("Failed", f"Error: {event or reason}", self.spec)
        self._show(Waiting(reason=reason, message=message))

    async def _unknown_image(self, problem: str, pause: float) -> None:
        image = self.spec["image"]
        if self.spec.get("imagePullPolicy") == "Never":
            text = f'Container image "{image}" is not present with pull policy of Never'
            self._host.warning("ErrImageNeverPull", text, self.spec)
            self._refuse("ErrImageNeverPull", text)
            await self._host.until_changed(pause)
            return
        self._host.normal("Pulling", f'Pulling image "{image}"', self.spec)
        detail = f"rpc error: code = NotFound desc = {problem}"
        self._host.warning("Failed", f'Failed to pull image "{image}": {detail}', self.spec)
        self._refuse("ErrImagePull", detail)
        await asyncio.sleep(min(pause, 1.0))
        self._host.normal("BackOff", f'Back-off pulling image "{image}"', self.spec)
        self._refuse(
            "ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {detail}'
        )
        await self._host.until_changed(pause)

    async def _try_start(self) -> tuple[Attempt, Started]:
        image = self._host.find_image(self.spec["image"])
        name = self.spec["image"]
        present = f'Container image "{name}" already present on machine'
        self._host.normal("Pulled", present, self.spec)
        program = self._host.assemble(self.spec, image, self.place).prepare()
        progress = self._progress
        number = 0 if progress.attempt is None else progress.attempt.number + 1
        if isinstance(progress.state, Terminated):
            progress.last = progress.state
        attempt = Attempt(self.place.attempts / str(number), number)
        progress.attempt, progress.restarts, progress.started = attempt, number, None
        self._forget_old(number)
        self._host.normal("Created", f"Created container: {self.name}", self.spec)
        started = await attempt.start(program)
        self._host.normal("Started", f"Started container {self.name}", self.spec)
        progress.started = started
        if "startupProbe" not in self.spec:
            progress.has_started = True
            progress.is_ready = "readinessProbe" not in self.spec and self.kind != "init"
            self.started_once.set()
        self._show(_running(started))
        return attempt, started

    def _forget_old(self, number: int) -> None:
        for attempt in attempts_of(self.place.attempts):
            if attempt.number <= number - _KEPT_ATTEMPTS:
                attempt.forget()

    async def _failed_start(self, problem: str) -> None:
        text = f"unable to start container process: {problem}"
        self._host.warning("Failed", f"Error: {text}", self.spec)
        now = rfc3339(self._host.clock.now())
        terminated = Terminated(
            exit_code=128,
            reason="StartError",
            message=text,
            started_at="1970-01-01T00:00:00Z",
            finished_at=now,
            container_id="",
        )
        if self._policy == "Never":
            self._show(terminated)
            raise NeverStarted
        self._progress.last = terminated
        self._show(Waiting(reason="RunContainerError", message=text))
        await self._back_off()

    async def _accompany(self, attempt: Attempt, started: Started) -> None:
        """Probe the program until it has ended, and record how."""
        probes = asyncio.create_task(self._probe(attempt, started))
        try:
            ended = await attempt.wait(started, clock=self._host.clock)
        finally:
            probes.cancel()
            with suppress(asyncio.CancelledError):
                await probes
        self._record_end(attempt, started, ended)

    def _record_end(self, attempt: Attempt, started: Started, ended: Ended) -> None:
        progress = self._progress
        if not isinstance(progress.state, Running):
            return
        lived = ended.finished_at - started.started_at
        self._failures_in_row = 1 if lived > _RESET_SECONDS else self._failures_in_row + 1
        progress.has_started = False
        progress.is_ready = self.kind == "init" and ended.code == 0
        self._show(self._terminated(attempt, started, ended))

    async def _back_off(self) -> None:
        """Wait before a restart: not at all before the first one."""
        seconds = self._host.backoff(self._failures_in_row - 1)
        if seconds <= 0:
            return
        text = f"Back-off restarting failed container {self.name} in pod {self._host.label}"
        self._host.warning("BackOff", text, self.spec)
        if isinstance(self._progress.state, Terminated):
            self._progress.last = self._progress.state
        text = (
            f"back-off {backoff_text(seconds)} restarting failed "
            f"container={self.name} pod={self._host.label}"
        )
        self._show(Waiting(reason="CrashLoopBackOff", message=text))
        await asyncio.sleep(seconds)

    async def _probe(self, attempt: Attempt, started: Started) -> None:
        """Run the probes that the spec asks for: startup first, then the others together."""
        target = self._host.target(self.spec, self)

        def prober(kind: ProbeKind, passed: bool) -> Prober:  # noqa: FBT001
            return Prober(
                kind=kind,
                probe=self.spec[f"{kind.lower()}Probe"],
                target=target,
                passed=lambda: self._passed(kind),
                failed=lambda: self._failed(kind, attempt, started),
                told=self._told,
                has_passed=passed,
            )

        now = self._progress
        if "startupProbe" in self.spec and not now.has_started:
            await prober("Startup", passed=False).run()
        async with asyncio.TaskGroup() as group:
            if "readinessProbe" in self.spec:
                group.create_task(prober("Readiness", passed=now.is_ready).run())
            if "livenessProbe" in self.spec:
                group.create_task(prober("Liveness", passed=True).run())

    def _passed(self, kind: ProbeKind) -> None:
        progress = self._progress
        if kind == "Startup":
            progress.has_started = True
            progress.is_ready = "readinessProbe" not in self.spec and self.kind != "init"
            self.started_once.set()
        elif kind == "Readiness":
            progress.is_ready = True
        self._host.changed()

    def _failed(self, kind: ProbeKind, attempt: Attempt, started: Started) -> None:
        if kind == "Readiness":
            if self._progress.is_ready:
                self._progress.is_ready = False
                self._host.changed()
            return
        if self._is_stopping:
            return
        reason = _KILLED_BY_PROBE.format(kind=kind.lower())
        self._host.normal("Killing", f"Container {self.name} {reason}", self.spec)
        grace = self.spec.get(f"{kind.lower()}Probe", {}).get("terminationGracePeriodSeconds")
        seconds = self._host.grace_seconds if grace is None else float(grace)
        attempt.send(started, attempt.stop_signal())
        loop = asyncio.get_running_loop()
        # Nothing happens then if it has ended: the identity of the process is checked.
        loop.call_later(seconds, attempt.kill, started)

    def _told(self, kind: ProbeKind, reason: str) -> None:
        if not self._is_stopping:
            self._host.warning("Unhealthy", f"{kind} probe failed: {reason}", self.spec)

    def _show(self, state: State) -> None:
        self._progress.state = state
        self._host.changed()

    def _terminated(self, attempt: Attempt, started: Started, ended: Ended) -> Terminated:
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
        """Return the termination message: from its file, else, if asked for, from the log."""
        path = self.spec.get("terminationMessagePath") or "/dev/termination-log"
        file = self.place.root / path.lstrip("/")
        if file.is_file():
            return file.read_bytes()[-_MESSAGE_BYTES:].decode(errors="replace")
        if ended.code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            return last_words(attempt.log, limit=_MESSAGE_BYTES // 2)
        return ""


class NeverStarted(Exception):
    """A container that may not be restarted could not be executed."""


def _stamp(seconds: float) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


def _running(started: Started) -> Running:
    return Running(started_at=_stamp(started.started_at))


def views(runners: Sequence[ContainerRunner]) -> list[ContainerView]:
    """Return the views of several containers."""
    return [runner.view() for runner in runners]

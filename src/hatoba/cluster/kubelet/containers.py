"""One container of a pod: attempts one after the other, with probes and back-off.

A runner decides nothing about its pod: the worker starts it, reads its view and ends it. It picks
up what an earlier cluster process left: a program that still runs is adopted, one that ended
meanwhile is judged by its record.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from hatoba.cluster.kubelet.attempts import Attempt, Started, attempts_of
from hatoba.cluster.kubelet.life import ContainerLife, running_since
from hatoba.cluster.kubelet.probes import ProbeKind, Prober
from hatoba.cluster.kubelet.starting import NeverStarted, Starter
from hatoba.cluster.kubelet.status import ContainerView, Waiting
from hatoba.kernel.json import JsonObject

_KILLED_BY_PROBE: Final = "failed {kind} probe, will be restarted"


class ContainerRunner:
    """Runs one container."""

    def __init__(self, life: ContainerLife) -> None:
        self.life = life
        self.spec = life.spec
        self.kind = life.kind
        self._starter = Starter(life)
        self._is_stopping = False

    @property
    def name(self) -> str:
        """The container's name."""
        return self.life.name

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt."""
        return self.life.attempt

    @property
    def running(self) -> tuple[Attempt, Started] | None:
        """The attempt whose program runs now."""
        return self.life.running

    def attempt_before(self) -> Attempt | None:
        """Return the attempt before the newest one, for `logs --previous`."""
        newest = self.life.attempt
        known = attempts_of(self.life.place.attempts)
        older = [one for one in known if newest is not None and one.number < newest.number]
        return older[-1] if older else None

    def wait_for(self, reason: str) -> None:
        """Show why it does not run yet."""
        if isinstance(self.life.state, Waiting):
            self.life.state = Waiting(reason=reason)

    def adopt(self, former: JsonObject | None) -> None:
        """Take over what an earlier cluster process started; `former` is the status it wrote."""
        known = attempts_of(self.life.place.attempts)
        if not known:
            return
        life, newest = self.life, known[-1]
        life.attempt, life.restarts = newest, newest.number
        for earlier in known[:-1]:
            if (started := earlier.started()) and (ended := earlier.ended()):
                life.last = life.terminated(earlier, started=started, ended=ended)
        started = newest.started()
        if started is None:
            return
        life.started = started
        ended = newest.ended()
        if ended is not None:
            life.state = life.terminated(newest, started=started, ended=ended)
            life.is_ready = self.kind == "init" and ended.code == 0
            return
        life.state = running_since(started)
        # Ready as before: a restart of the cluster must not take healthy pods out of service.
        life.has_started = bool((former or {}).get("started"))
        life.is_ready = bool((former or {}).get("ready"))
        if life.has_started:
            life.started_once.set()

    async def run(self) -> bool:
        """Run until it has ended for good; tell whether it succeeded.

        Cancelling leaves the program running.
        """
        life = self.life
        while not life.is_over:
            running = life.running
            if running is None:
                try:
                    running = await self._starter.start()
                except NeverStarted:
                    return False
            await self._accompany(*running)
            if not life.is_over:
                await life.back_off()
        return life.view().has_succeeded

    async def stop(self, grace: float) -> None:
        """End the program: its stop signal, then, after `grace` seconds, the kill."""
        self._is_stopping = True
        running = self.running
        if running is None:
            return
        attempt, started = running
        self.life.normal("Killing", f"Stopping container {self.name}")
        ended = asyncio.create_task(attempt.wait(started, clock=self.life.host.clock))
        try:
            if grace > 0:
                attempt.send(started, attempt.stop_signal())
                with suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await asyncio.shield(ended)
            if not ended.done():
                attempt.kill(started)
            self.life.record_end(attempt, started=started, ended=await ended)
        finally:
            ended.cancel()

    async def _accompany(self, attempt: Attempt, started: Started) -> None:
        """Probe the program until it has ended, and record how."""
        probes = asyncio.create_task(self._probe(attempt, started))
        try:
            ended = await attempt.wait(started, clock=self.life.host.clock)
        finally:
            probes.cancel()
            with suppress(asyncio.CancelledError):
                await probes
        self.life.record_end(attempt, started=started, ended=ended)

    async def _probe(self, attempt: Attempt, started: Started) -> None:
        """Run the probes that the spec asks for: startup first, then the others together."""
        target = self.life.host.target(self.spec, lambda: self.running)

        def prober(kind: ProbeKind, *, passed: bool) -> Prober:
            return Prober(
                kind=kind,
                probe=self.spec[f"{kind.lower()}Probe"],
                target=target,
                passed=lambda: self._passed(kind),
                failed=lambda: self._failed(kind, attempt, started),
                told=self._told,
                has_passed=passed,
            )

        life = self.life
        if "startupProbe" in self.spec and not life.has_started:
            await prober("Startup", passed=False).run()
        async with asyncio.TaskGroup() as group:
            if "readinessProbe" in self.spec:
                group.create_task(prober("Readiness", passed=life.is_ready).run())
            if "livenessProbe" in self.spec:
                group.create_task(prober("Liveness", passed=True).run())

    def _passed(self, kind: ProbeKind) -> None:
        if kind == "Startup":
            self.life.passed_startup()
        elif kind == "Readiness":
            self.life.is_ready = True
        self.life.host.changed()

    def _failed(self, kind: ProbeKind, attempt: Attempt, started: Started) -> None:
        if kind == "Readiness":
            if self.life.is_ready:
                self.life.is_ready = False
                self.life.host.changed()
            return
        if self._is_stopping:
            return
        reason = _KILLED_BY_PROBE.format(kind=kind.lower())
        self.life.normal("Killing", f"Container {self.name} {reason}")
        grace = self.spec.get(f"{kind.lower()}Probe", {}).get("terminationGracePeriodSeconds")
        seconds = self.life.host.grace_seconds if grace is None else float(grace)
        attempt.send(started, attempt.stop_signal())
        loop = asyncio.get_running_loop()
        # Nothing happens then if it has ended: the identity of the process is checked.
        loop.call_later(seconds, attempt.kill, started)

    def _told(self, kind: ProbeKind, reason: str) -> None:
        if not self._is_stopping:
            self.life.warning("Unhealthy", f"{kind} probe failed: {reason}")


def views(runners: Sequence[ContainerRunner]) -> list[ContainerView]:
    """Return the views of several containers."""
    return [runner.life.view() for runner in runners]

"""The start of a container: image, configuration, program; and what is told when one is missing."""

import asyncio
from typing import Final

from hatoba.cluster.catalog.images import ImageNameInvalid, ImageUnknown
from hatoba.cluster.kubelet.attempts import Attempt, Started, StartFailed, attempts_of
from hatoba.cluster.kubelet.environment import ConfigurationMissing
from hatoba.cluster.kubelet.life import ContainerLife, running_since
from hatoba.cluster.kubelet.mounts import MountUnusable
from hatoba.cluster.kubelet.status import Terminated, Waiting
from hatoba.cluster.kubelet.volumes import VolumeUnavailable
from hatoba.kernel.clock import rfc3339

_KEPT_ATTEMPTS: Final = 2
_RETRY_SECONDS: Final = 5.0
_LONGEST_RETRY: Final = 60.0


class NeverStarted(Exception):
    """A container that may not be restarted could not be executed."""


class Starter:
    """Starts one container, trying again until its image and configuration are there."""

    def __init__(self, life: ContainerLife) -> None:
        self._life = life

    async def start(self) -> tuple[Attempt, Started]:
        """Start the program, however long that takes.

        Raises:
            NeverStarted: it cannot be executed, and may not be tried again.
        """
        life, pause = self._life, _RETRY_SECONDS
        while True:
            try:
                return await self._try()
            except ImageNameInvalid as error:
                life.warning("InspectFailed", error.message)
                self._refuse("InvalidImageName", error.message)
            except ImageUnknown as error:
                await self._unknown_image(error.message, pause)
                pause = min(pause * 2, _LONGEST_RETRY)
                continue
            except (ConfigurationMissing, MountUnusable, VolumeUnavailable) as error:
                self._refuse("CreateContainerConfigError", error.message, event=error.message)
            except StartFailed as error:
                await self._failed(error.message)
                continue
            await life.host.until_changed(pause)

    async def _try(self) -> tuple[Attempt, Started]:
        life, image_name = self._life, self._life.spec["image"]
        unfinished = await self._unfinished()
        if unfinished is not None:
            return unfinished
        image = life.host.find_image(image_name)
        life.normal("Pulled", f'Container image "{image_name}" already present on machine')
        program = life.host.assemble(life.spec, image, life.place).prepare()
        number = 0 if life.attempt is None else life.attempt.number + 1
        if isinstance(life.state, Terminated):
            life.last = life.state
        attempt = Attempt(life.place.attempts / str(number), number)
        life.attempt, life.restarts, life.started = attempt, number, None
        self._forget_old(number)
        life.normal("Created", f"Created container: {life.name}")
        started = await attempt.start(program)
        life.normal("Started", f"Started container {life.name}")
        return self._runs(attempt, started)

    async def _unfinished(self) -> tuple[Attempt, Started] | None:
        """Return what a cluster process that was killed had begun to start."""
        life = self._life
        if life.attempt is None or life.started is not None:
            return None
        started = await life.attempt.settled()
        return None if started is None else self._runs(life.attempt, started)

    def _runs(self, attempt: Attempt, started: Started) -> tuple[Attempt, Started]:
        life = self._life
        life.started = started
        if "startupProbe" not in life.spec:
            life.passed_startup()
        life.show(running_since(started))
        return attempt, started

    def _forget_old(self, number: int) -> None:
        for attempt in attempts_of(self._life.place.attempts):
            if attempt.number <= number - _KEPT_ATTEMPTS:
                attempt.forget()

    def _refuse(self, reason: str, message: str, *, event: str = "") -> None:
        self._life.warning("Failed", f"Error: {event or reason}")
        self._life.show(Waiting(reason=reason, message=message))

    async def _unknown_image(self, problem: str, pause: float) -> None:
        life, image = self._life, self._life.spec["image"]
        if life.spec.get("imagePullPolicy") == "Never":
            text = f'Container image "{image}" is not present with pull policy of Never'
            life.warning("ErrImageNeverPull", text)
            self._refuse("ErrImageNeverPull", text)
            await life.host.until_changed(pause)
            return
        life.normal("Pulling", f'Pulling image "{image}"')
        detail = f"rpc error: code = NotFound desc = {problem}"
        life.warning("Failed", f'Failed to pull image "{image}": {detail}')
        self._refuse("ErrImagePull", detail)
        await asyncio.sleep(min(pause, 1.0))
        life.normal("BackOff", f'Back-off pulling image "{image}"')
        self._refuse(
            "ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {detail}'
        )
        await life.host.until_changed(pause)

    async def _failed(self, problem: str) -> None:
        life = self._life
        text = f"unable to start container process: {problem}"
        life.warning("Failed", f"Error: {text}")
        life.failures_in_row += 1
        terminated = Terminated(
            exit_code=128,
            reason="StartError",
            message=text,
            started_at="1970-01-01T00:00:00Z",
            finished_at=rfc3339(life.host.clock.now()),
            container_id="",
        )
        if life.policy == "Never":
            life.show(terminated)
            raise NeverStarted
        life.last = terminated
        life.show(Waiting(reason="RunContainerError", message=text))
        await life.back_off()

"""One attempt to run a container: its directory, its shim, its end.

The directory survives everything: a cluster process that starts anew reads from it which programs
still run and how the others ended. `started.json`, `failed.json` and `exit.json` are written by
the shim (`shim.py` describes them).
"""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import structlog

from hatoba.cluster.home import write_private
from hatoba.cluster.kubelet import processes
from hatoba.cluster.kubelet.processes import ProcessId
from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

SHIM: Final = Path(__file__).with_name("shim.py")
LOG_LIMIT: Final = 10 << 20
_START_SECONDS: Final = 30.0
_SWEEPS: Final = 50
_SWEEP_PAUSE: Final = 0.05
_SCHEME: Final = "hatoba://"


class StartFailed(HatobaError):
    """The program could not be executed."""


@dataclass(slots=True, frozen=True, kw_only=True)
class ProgramSpec:
    """What the shim executes."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    uid: int | None = None
    gid: int | None = None
    stop_signal: int = signal.SIGTERM
    """Ends it in good order, however long that takes."""
    quick_signal: int = signal.SIGTERM
    """Ends it soon: the whole cluster stops."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Started:
    """A program that was executed."""

    shim: ProcessId
    program: ProcessId
    started_at: float

    @property
    def container_id(self) -> str:
        """The identity that the pod's status shows; it begins with the program's pid."""
        return f"{_SCHEME}{self.program.pid}-{self.program.start_time:x}"


def program_of(container_id: str) -> ProcessId | None:
    """Return the process that a container's identity names; None when it names none."""
    pid, _, start_time = container_id.removeprefix(_SCHEME).partition("-")
    try:
        return ProcessId(pid=int(pid), start_time=int(start_time, 16))
    except ValueError:
        return None


@dataclass(slots=True, frozen=True, kw_only=True)
class Ended:
    """How an attempt ended."""

    code: int
    signal: int
    finished_at: float


@dataclass(slots=True, frozen=True)
class Attempt:
    """The record of one attempt; `number` is the count of restarts before it."""

    directory: Path
    number: int

    @property
    def log(self) -> Path:
        """The log that the shim writes; its older part has the suffix `.1`."""
        return self.directory / "log"

    def launch(self, program: ProgramSpec) -> int:
        """Start the shim and return its pid; `started` tells when the program runs."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        spec = asdict(program) | {"log": str(self.log), "log_limit": LOG_LIMIT}
        write_private(self.directory / "spec.json", json.dumps(spec))
        with (self.directory / "shim.log").open("wb") as complaints:
            shim = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SHIM), str(self.directory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                start_new_session=True,
                cwd="/",
                env={},
            )
        # The kubelet reaps it itself (`ended`); Popen must not warn that nobody did.
        shim.returncode = 0
        return shim.pid

    async def start(self, program: ProgramSpec) -> Started:
        """Start the program.

        Raises:
            StartFailed: it could not be executed, or its shim could not.
        """
        pid = self.launch(program)
        shim = processes.identify(pid)
        async with asyncio.timeout(_START_SECONDS):
            pause = 0.005
            while (started := self.started()) is None:
                if (message := self._failure()) is not None:
                    processes.reap(pid)
                    raise StartFailed(message)
                if shim is None or not processes.is_alive(shim):
                    processes.reap(pid)
                    if (started := self.started()) is not None:
                        break
                    raise StartFailed(self._failure() or self._complaint())
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.1)
        return started

    async def settled(self) -> Started | None:
        """Return the program that somebody else's start of this attempt led to, None for none."""
        for _ in range(_SWEEPS):
            if (started := self.started()) is not None or self._failure() is not None:
                return started
            await asyncio.sleep(_SWEEP_PAUSE)
        return None

    def _complaint(self) -> str:
        text = (self.directory / "shim.log").read_text(errors="replace").strip()
        return text.rpartition("\n")[2] or "the container's parent process died"

    def _failure(self) -> str | None:
        record = self._read("failed.json")
        return None if record is None else str(record["message"])

    def started(self) -> Started | None:
        """Return the running or former program; None when it was never executed."""
        record = self._read("started.json")
        if record is None:
            return None
        return Started(
            shim=ProcessId(pid=record["shim"], start_time=record["shim_start_time"]),
            program=ProcessId(pid=record["pid"], start_time=record["start_time"]),
            started_at=record["started_at"],
        )

    def ended(self) -> Ended | None:
        """Return how it ended; None while it runs, or when nobody saw it end."""
        record = self._read("exit.json")
        if record is None:
            return None
        return Ended(
            code=record["code"], signal=record["signal"], finished_at=record["finished_at"]
        )

    async def wait(self, started: Started, *, clock: Clock) -> Ended:
        """Return when the program and everything below it has ended."""
        await processes.wait_ended(started.shim)
        processes.reap(started.shim.pid)
        ended = self.ended()
        if ended is None:
            # Without its shim nobody can tell how it ended; the kernel has killed it with the shim,
            # but not what it had started.
            self.kill(started)
            await processes.wait_ended(started.program)
            await self._sweep(started.program.pid)
            ended = Ended(code=137, signal=signal.SIGKILL, finished_at=clock.now().timestamp())
            write_private(self.directory / "exit.json", json.dumps(asdict(ended)))
        return ended

    def stop_signal(self) -> int:
        """Return the signal that ends the program in good order."""
        return int((self._read("spec.json") or {}).get("stop_signal", signal.SIGTERM))

    def quick_signal(self) -> int:
        """Return the signal that ends the program soon."""
        return int((self._read("spec.json") or {}).get("quick_signal", signal.SIGTERM))

    def send(self, started: Started, number: int) -> bool:
        """Send a signal to the program's first process; False when it is gone."""
        return processes.signal_process(started.program, number)

    def kill(self, started: Started) -> None:
        """Kill the first process; the shim sweeps up the others, or they are killed with it."""
        self.send(started, signal.SIGKILL)
        if not processes.is_alive(started.shim):
            processes.kill_session(started.program.pid)

    async def _sweep(self, leader: int) -> None:
        """Kill the processes of a session until none is left: they may be starting others."""
        for _ in range(_SWEEPS):
            if not processes.kill_session(leader):
                return
            await asyncio.sleep(_SWEEP_PAUSE)
        log.warning("container.leftovers", session=leader)

    def forget(self) -> None:
        """Remove the record and the log."""
        shutil.rmtree(self.directory)

    def _read(self, name: str) -> JsonObject | None:
        try:
            content: JsonObject = json.loads((self.directory / name).read_bytes())
        except FileNotFoundError:
            return None
        return content


def attempts_of(container: Path) -> list[Attempt]:
    """Return the attempts below a container's directory, oldest first."""
    if not container.is_dir():
        return []
    numbers = sorted(int(entry.name) for entry in container.iterdir() if entry.name.isdigit())
    return [Attempt(container / str(number), number) for number in numbers]


def living(pods: Path) -> Iterator[tuple[Attempt, Started]]:
    """Yield every attempt below the pods' directory whose program or shim still runs."""
    for path in sorted(pods.glob("*/containers/*/attempts/*/started.json")):
        attempt = Attempt(path.parent, int(path.parent.name))
        started = attempt.started()
        if started is not None and (
            processes.is_alive(started.shim) or processes.is_alive(started.program)
        ):
            yield attempt, started

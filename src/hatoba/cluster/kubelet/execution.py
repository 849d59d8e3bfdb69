"""Programs started inside a running container: `kubectl exec` and exec probes.

They get what the container's own program got (its record says what): environment, directory, user
and the rewriting of paths.
"""

import asyncio
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from hatoba.cluster.kubelet.attempts import Attempt
from hatoba.cluster.kubelet.mounts import Rewriter
from hatoba.cluster.node import ExecSession
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject

_CHUNK: Final = 1 << 15
_SHOWN_BYTES: Final = 10 << 10


class ExecutionFailed(HatobaError):
    """The program could not be started."""


def _mount_paths(root: Path) -> list[str]:
    """Return the mounts of a container: the links in its root directory."""
    found = []
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(directory) / name
            if path.is_symlink():
                found.append("/" + str(path.relative_to(root)))
    return found


def _user_of(attempt: Attempt) -> dict[str, Any]:
    """Return the user that the container's program runs as by now: launchers change theirs."""
    started = attempt.started()
    if started is None or os.geteuid() != 0:
        return {}
    info = Path(f"/proc/{started.program.pid}").stat()
    return {"user": info.st_uid, "group": info.st_gid, "extra_groups": []}


async def _spawn(attempt: Attempt, command: Sequence[str], *, stdin: bool) -> Process:
    spec: JsonObject = json.loads((attempt.directory / "spec.json").read_bytes())
    root = attempt.directory.parent.parent / "root"
    rewriter = Rewriter(root, _mount_paths(root))
    words = [rewriter.word(word) for word in command]
    user = _user_of(attempt)
    try:
        return await asyncio.create_subprocess_exec(
            *words,
            stdin=PIPE if stdin else DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=spec["env"],
            cwd=spec["cwd"],
            start_new_session=True,
            **user,
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ExecutionFailed(
            f'unable to start container process: exec: "{command[0]}": stat {command[0]}: {reason}'
        ) from error


async def run_captured(
    attempt: Attempt, command: Sequence[str], *, seconds: float
) -> tuple[int, bytes]:
    """Run a program in a container; return its exit code and what it said.

    Raises:
        TimeoutError: it took longer; it has been killed.
    """
    try:
        process = await _spawn(attempt, command, stdin=False)
    except ExecutionFailed as error:
        return 126, error.message.encode()
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
    finally:
        await _end(process)
    return process.returncode or 0, (out + err)[:_SHOWN_BYTES]


async def _end(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


class LocalExecSession(ExecSession):
    """A program of `kubectl exec`."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls, attempt: Attempt, command: Sequence[str], *, stdin: bool
    ) -> "LocalExecSession":
        """Start the program.

        Raises:
            ExecutionFailed: there is no such program.
        """
        return cls(await _spawn(attempt, command, stdin=stdin))

    @override
    async def write(self, data: bytes) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        # A program may end, or close its input, before it has read everything.
        with suppress(BrokenPipeError, ConnectionResetError):
            if data:
                pipe.write(data)
                await pipe.drain()
            else:
                pipe.close()

    @override
    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        chunks: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(16)

        async def pump(channel: int, reader: asyncio.StreamReader) -> None:
            while data := await reader.read(_CHUNK):
                await chunks.put((channel, data))
            await chunks.put((channel, b""))

        out, err = self._process.stdout, self._process.stderr
        assert out is not None
        assert err is not None
        tasks = [asyncio.create_task(pump(1, out)), asyncio.create_task(pump(2, err))]
        try:
            open_ones = len(tasks)
            while open_ones:
                channel, data = await chunks.get()
                if data:
                    yield channel, data
                else:
                    open_ones -= 1
        finally:
            for task in tasks:
                task.cancel()

    @override
    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    @override
    async def close(self) -> None:
        await _end(self._process)

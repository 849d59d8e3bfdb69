"""What /proc says about processes: identity, end, descent, use.

A process is identified by its pid and its start time, since pids are used again. All functions
read; only `signal_process` acts.
"""

import asyncio
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, frozen=True, kw_only=True)
class ProcessId:
    """One process for ever, not just until its pid is given to another one."""

    pid: int
    start_time: int


@dataclass(slots=True, frozen=True, kw_only=True)
class ProcessStat:
    """One line of /proc/<pid>/stat, as far as it matters here."""

    pid: int
    parent: int
    state: str
    cpu_ticks: int
    """User and system time of the process and of the children that it has waited for."""
    start_time: int


def read_stat(pid: int) -> ProcessStat | None:
    """Return what the process table says, None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()
    return ProcessStat(
        pid=pid,
        parent=int(fields[1]),
        state=fields[0].decode(),
        cpu_ticks=sum(int(value) for value in fields[11:15]),
        start_time=int(fields[19]),
    )


def identify(pid: int) -> ProcessId | None:
    """Return the identity of the process that has this pid now."""
    stat = read_stat(pid)
    return None if stat is None else ProcessId(pid=pid, start_time=stat.start_time)


def is_alive(process: ProcessId) -> bool:
    """Tell whether exactly this process still runs; a zombie does not."""
    stat = read_stat(process.pid)
    return stat is not None and stat.start_time == process.start_time and stat.state not in "ZX"


def signal_process(process: ProcessId, number: int) -> bool:
    """Send a signal to exactly this process; False when it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The descriptor was opened first: if the identity still fits now, it fits the descriptor.
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


async def wait_ended(process: ProcessId) -> None:
    """Return when the process has ended; its own parent's wait is not disturbed."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def tell() -> None:
        if not ended.done():
            ended.set_result(None)

    try:
        if not is_alive(process):
            return
        loop.add_reader(descriptor, tell)
        try:
            await ended
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)


def reap(pid: int) -> None:
    """Collect a child of ours that has ended; nothing when it is somebody else's."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def kill_session(leader: int) -> int:
    """Kill every process of a session; return how many there were."""
    found = 0
    for stat in snapshot().values():
        with suppress(ProcessLookupError, PermissionError):
            if stat.state not in "ZX" and os.getsid(stat.pid) == leader:
                os.kill(stat.pid, signal.SIGKILL)
                found += 1
    return found


def snapshot() -> dict[int, ProcessStat]:
    """Read the whole process table in one pass."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            stat = read_stat(int(entry.name))
            if stat is not None:
                found[stat.pid] = stat
    return found


def descend(table: dict[int, ProcessStat], roots: Iterable[int]) -> dict[int, list[ProcessStat]]:
    """Return for each root its living descendants, without itself."""
    children: dict[int, list[ProcessStat]] = {}
    for stat in table.values():
        children.setdefault(stat.parent, []).append(stat)
    result = {}
    for root in roots:
        below: list[ProcessStat] = []
        waiting = [root]
        while waiting:
            kin = children.get(waiting.pop(), [])
            below += kin
            waiting += [stat.pid for stat in kin]
        result[root] = below
    return result


def resident_bytes(pid: int) -> int:
    """Return the memory of a process, shared pages divided among those who share them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0

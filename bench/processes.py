"""What a tree of processes has used: CPU time and memory, read from /proc.

CPU time includes children that have ended: a parent that waited for them carries their time.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PARENT, _TIMES = 1, slice(11, 15)
"""Fields behind the name in /proc/PID/stat: the parent; utime, stime, cutime, cstime."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Memory:
    """Memory of some processes: `rss` counts shared pages once per process, `pss` once in all."""

    rss_bytes: int
    pss_bytes: int


def tree(roots: Iterable[int]) -> frozenset[int]:
    """Return the processes and all their living descendants."""
    children: dict[int, list[int]] = {}
    for pid in _processes():
        fields = _stat(pid)
        if fields is not None:
            children.setdefault(int(fields[_PARENT]), []).append(pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if _stat(pid) is not None]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting.extend(child for child in children.get(pid, []) if child not in found)
    return frozenset(found)


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the CPU time that the trees have used so far, ended children included."""
    roots = tuple(roots)
    while True:
        before = tree(roots)
        ticks = sum(_ticks(pid) for pid in before)
        # Who ended in between is counted twice or not at all: read again.
        if tree(roots) == before:
            return ticks / TICKS_PER_SECOND


def memory(roots: Iterable[int]) -> Memory:
    """Return the memory of the trees now."""
    rss = pss = 0
    for pid in tree(roots):
        rollup = _rollup(pid)
        rss += rollup.get("Rss", 0)
        pss += rollup.get("Pss", 0)
    return Memory(rss_bytes=rss, pss_bytes=pss)


def parse_stat(text: str) -> list[str]:
    """Return the fields behind the name, which may itself hold blanks and parentheses."""
    return text[text.rindex(")") + 2 :].split()


def parse_rollup(text: str) -> dict[str, int]:
    """Return the sizes of a smaps_rollup in bytes."""
    sizes = {}
    for line in text.splitlines()[1:]:
        name, _, rest = line.partition(":")
        number, _, unit = rest.strip().partition(" ")
        if unit == "kB":
            sizes[name] = int(number) * 1024
    return sizes


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def _ticks(pid: int) -> int:
    fields = _stat(pid)
    return 0 if fields is None else sum(int(field) for field in fields[_TIMES])


def _rollup(pid: int) -> dict[str, int]:
    try:
        return parse_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return {}

"""Watching memory while a load runs."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, TypeVar

from bench.model import BenchmarkFailed
from bench.processes import Memory, memory

INTERVAL_SECONDS: Final = 0.25
_T = TypeVar("_T")


@dataclass(slots=True, frozen=True, kw_only=True)
class Reading:
    """Memory at a moment of the run."""

    seconds: float
    memory: Memory


def watched(roots: Sequence[int], work: Callable[[], _T]) -> tuple[_T, list[Reading]]:
    """Do the work; return its result and the readings, oldest first."""
    readings: list[Reading] = []
    ended = threading.Event()
    started = time.monotonic()

    def watch() -> None:
        while not ended.is_set():
            used = memory(roots)
            readings.append(Reading(seconds=time.monotonic() - started, memory=used))
            ended.wait(INTERVAL_SECONDS)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        result = work()
    finally:
        ended.set()
        thread.join()
    return result, readings


def growth(values: Sequence[float]) -> float:
    """Return by which share the last quarter's median lies above the second quarter's.

    The first quarter is left out: caches and pools fill then.

    Raises:
        BenchmarkFailed: there are too few values.
    """
    quarter = len(values) // 4
    if quarter == 0:
        raise BenchmarkFailed("too few readings of memory")
    return median(values[-quarter:]) / median(values[quarter : 2 * quarter]) - 1

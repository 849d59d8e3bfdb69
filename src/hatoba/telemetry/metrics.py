"""Metrics of a process that forks: value files shared by all its workers.

`share_metrics` comes first in a command that serves, before any module that declares metrics is
imported: prometheus-client decides at declaration where a value lives.
"""

import fcntl
import os
import shutil
import tempfile
from atexit import register
from contextlib import suppress
from pathlib import Path
from typing import Final

_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX: Final = "hatoba-shared-metrics-"


def share_metrics() -> Path:
    """Keep metric values in files that all forked workers of this process share; idempotent.

    The directory is removed when the process that called this ends; what a process that was
    killed has left is removed by the next one of the same user.
    """
    # prometheus-client takes its directory from the environment and from nowhere else.
    if existing := os.environ.get(_VARIABLE):  # noqa: TID251
        return Path(existing)
    directory = _directory_of_ours()
    _remove_abandoned(directory.parent)
    os.environ[_VARIABLE] = str(directory)  # noqa: TID251
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(directory, ignore_errors=True)

    register(remove)
    _notice_forks()
    return directory


def _directory_of_ours() -> Path:
    """Make a directory that stays locked for as long as this process or a fork of it lives."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Never closed: forks share the lock, and it ends with the last of them.
        try:
            if _locked(directory) is not None and directory.exists():
                return directory
        except OSError:
            # A file system without such locks: nobody can lock it for its removal, either.
            return directory
        # Another process came in between, and took it for abandoned.


def _remove_abandoned(place: Path) -> None:
    """Remove directories of this user that no process holds."""
    for directory in place.glob(f"{_PREFIX}*"):
        # What cannot be locked is left alone; what is gone was removed by another one that starts.
        with suppress(OSError):
            if directory.lstat().st_uid != os.geteuid() or (lock := _locked(directory)) is None:
                continue
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)


def _locked(directory: Path) -> int | None:
    """Lock a directory; None when somebody else holds it, or it is none any more."""
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _notice_forks() -> None:
    """Let values learn of a fork when it happens, instead of asking for it at each count."""
    from prometheus_client import values  # noqa: PLC0415 -- must come after the variable is set

    process = [os.getpid()]
    os.register_at_fork(after_in_child=lambda: process.__setitem__(0, os.getpid()))
    values.ValueClass = values.MultiProcessValue(lambda: process[0])  # type: ignore[no-untyped-call]


def render_metrics() -> tuple[bytes, str]:
    """Return the exposition of all processes that share values, and its content type."""
    from prometheus_client import (  # noqa: PLC0415 -- must come after share_metrics
        CONTENT_TYPE_LATEST,
        REGISTRY,
        CollectorRegistry,
        generate_latest,
    )
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    directory = os.environ.get(_VARIABLE)  # noqa: TID251
    if directory is None:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def forget_process(pid: int) -> None:
    """Drop the live gauges of a worker that has ended; its counters stay counted."""
    if os.environ.get(_VARIABLE) is None:  # noqa: TID251
        return
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    with suppress(FileNotFoundError):
        mark_process_dead(pid)  # type: ignore[no-untyped-call]

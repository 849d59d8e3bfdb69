"""Everything of one volume with blobs into another one, so that it can be cut off anywhere.

Called by `hatoba registry copy-blobs` in the Jobs that move a registry's blobs to a volume of
another class. The source is only read, and may be served from meanwhile. What lies under a digest
in the target was hashed: while it was written, or, found there by a later attempt, by reading it
again. A file has its name only when all of it is on disk. Plain blocking code; knows no database.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from threading import Lock
from typing import Final

import structlog

from hatoba.kernel.digests import HEX_LENGTH, Digest
from hatoba.registry.backup.errors import (
    BlobsDamaged,
    CopyDiffers,
    CopyRunning,
    RoomMissing,
    VolumeUnusable,
)

log = structlog.get_logger()

SCRATCH: Final = ".hatoba-copying"
"""Files in the making, at the root of the target; gone when all is done."""
ENOUGH_BYTES: Final = 1 << 30
"""A pass that copied less is the last one of a first copy."""
MOST_PASSES: Final = 10
PARALLEL: Final = 4
"""So many files at once: most of the time of a small one is spent waiting for the disk."""
_CHUNK: Final = 1 << 20
_SHOWN: Final = 5
_PASSED_OVER: Final = frozenset({"lost+found", SCRATCH})
"""At a volume's root, what no registry has put there."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True, frozen=True, kw_only=True)
class Volumes:
    """Where everything is, and where it goes."""

    source: Path
    target: Path


@dataclass(slots=True, kw_only=True)
class Copied:
    """What a pass did."""

    files: int = 0
    """In the source, when it was looked at."""
    copied: int = 0
    bytes: int = 0
    """Of those that were copied."""
    removed: int = 0
    """Files of the target that the source has not any more."""
    damaged: list[str] = field(default_factory=list)
    """What could not be copied, each with the reason."""


@dataclass(slots=True, frozen=True, kw_only=True)
class _File:
    """A file of the source, by its path below the volume's root."""

    place: Path
    digest: Digest | None
    """What it is called by; None for what is no blob, such as an upload."""


def check_volumes(volumes: Volumes) -> int:
    """Try whether the target can have it all, and return how many bytes that takes.

    Raises:
        VolumeUnusable: one of them cannot be read or written, or both are the same.
        RoomMissing: there is less room than that.
    """
    _distinguish(volumes)
    needed = 0
    for one in _files(volumes.source):
        with suppress(FileNotFoundError):
            size = (volumes.source / one.place).stat().st_size
            needed += max(0, size - _size(volumes.target / one.place))
    probe = volumes.target / f"{SCRATCH}-probe"
    try:
        with probe.open("wb") as stream:
            stream.write(b"probe")
            os.fsync(stream.fileno())
        probe.unlink()
        found = os.statvfs(volumes.target)
    except OSError as error:
        raise VolumeUnusable(f"the new volume cannot be written: {error.strerror}") from error
    room = found.f_bavail * found.f_frsize
    if needed > room:
        raise RoomMissing(
            f"the blobs take {needed} bytes, and the new volume has room for {room}: ask for a "
            "larger one"
        )
    return needed


def fill(volumes: Volumes) -> Copied:
    """Copy what is there, beside a registry that serves, until little is left; return the sum.

    Raises:
        BlobsDamaged: everything else was copied; the message names what was not.
        VolumeUnusable, RoomMissing, CopyRunning: it could not be done.
    """
    done = Copied()
    with _alone(volumes) as scratch:
        for number in range(MOST_PASSES):
            one = _pass(volumes, scratch, proves=number == 0)
            done.files, done.damaged = one.files, one.damaged
            done.copied += one.copied
            done.bytes += one.bytes
            log.info("pass over the volume", files=one.files, copied=one.copied, bytes=one.bytes)
            if one.bytes < ENOUGH_BYTES:
                break
    _refuse_damage(done)
    return done


def settle(volumes: Volumes) -> Copied:
    """Copy the rest once nobody writes, and make both the same.

    What an earlier `fill` left is believed by its name and size.

    Raises:
        BlobsDamaged, CopyDiffers: they are not the same.
        VolumeUnusable, RoomMissing, CopyRunning: it could not be done.
    """
    with _alone(volumes) as scratch:
        done = _pass(volumes, scratch, proves=False)
        _refuse_damage(done)
        with _translated():
            done.removed = _remove_others(volumes)
            _compare(volumes)
            shutil.rmtree(scratch)
            _sync_directory(volumes.target)
    return done


def _pass(volumes: Volumes, scratch: Path, *, proves: bool) -> Copied:
    """Copy all files that the target lacks, and have them on disk with their names."""
    done = _Pass(volumes=volumes, scratch=scratch, proves=proves)
    with ThreadPoolExecutor(PARALLEL) as threads, _translated():
        waiting = []
        for one in _files(volumes.source):
            done.copied.files += 1
            waiting.append(threads.submit(done.bring, one))
            if len(waiting) >= PARALLEL * 16:
                waiting.pop(0).result()
        for task in waiting:
            task.result()
    for directory in sorted(done.changed):
        _sync_directory(directory)
    return done.copied


@dataclass(slots=True, kw_only=True)
class _Pass:
    """One walk over the source."""

    volumes: Volumes
    scratch: Path
    proves: bool
    """Whether a blob that is there already is read again."""
    copied: Copied = field(default_factory=Copied)
    changed: set[Path] = field(default_factory=set)
    """Directories in which names have appeared."""
    lock: Lock = field(default_factory=Lock)
    number: int = 0

    def bring(self, one: _File) -> None:
        """Copy a file, if it is not there; one that has gone meanwhile was not needed."""
        source, target = self.volumes.source / one.place, self.volumes.target / one.place
        try:
            with _opened(source) as handle:
                if self._is_there(one, os.fstat(handle), target):
                    return
                size = self._copy(one, handle, target)
        except FileNotFoundError:
            if source.exists():
                raise
        except _Unlike as fault:
            with self.lock:
                self.copied.damaged.append(f"{one.digest or one.place} ({fault})")
        else:
            with self.lock:
                self.copied.copied += 1
                self.copied.bytes += size

    def _is_there(self, one: _File, there: os.stat_result, target: Path) -> bool:
        try:
            here = target.stat()
        except FileNotFoundError:
            return False
        if here.st_size != there.st_size:
            return False
        if one.digest is None:
            return here.st_mtime_ns == there.st_mtime_ns
        return not self.proves or _digest_of(target, one.digest.algorithm) == one.digest.hex

    def _copy(self, one: _File, handle: int, target: Path) -> int:
        there = os.fstat(handle)
        with self.lock:
            self.number += 1
            temporary = self.scratch / str(self.number)
        try:
            size = _copy_bytes(handle, temporary, digest=one.digest)
            os.utime(temporary, ns=(there.st_atime_ns, there.st_mtime_ns))
            self._make(target.parent)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        with self.lock:
            self.changed.add(target.parent)
        return size

    def _make(self, directory: Path) -> None:
        """Make a directory; whoever contains a new one has to be synchronised, too."""
        if directory.is_dir():
            return
        self._make(directory.parent)
        directory.mkdir(exist_ok=True)
        with self.lock:
            self.changed.add(directory.parent)


class _Unlike(Exception):
    """A file of the source is not what it is called, or cannot be read."""


def _copy_bytes(handle: int, target: Path, *, digest: Digest | None) -> int:
    """Write all bytes of a file and have them on disk; return how many.

    Raises:
        _Unlike: they are not those of the digest.
    """
    hasher = hashlib.new(digest.algorithm) if digest is not None else None
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    output = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    size = 0
    try:
        while data := _read(handle):
            if hasher is not None:
                hasher.update(data)
            view = memoryview(data)
            while view:
                view = view[os.write(output, view) :]
            size += len(data)
        if hasher is not None and digest is not None and hasher.hexdigest() != digest.hex:
            raise _Unlike("its bytes are others")
        os.fsync(output)
    finally:
        os.close(output)
    return size


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, _CHUNK)
    except OSError as error:
        raise _Unlike(f"it cannot be read: {error.strerror}") from error


def _digest_of(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _remove_others(volumes: Volumes) -> int:
    """Remove what was copied and has gone from the source since."""
    removed = 0
    for one in _files(volumes.target):
        if not (volumes.source / one.place).exists():
            (volumes.target / one.place).unlink()
            removed += 1
    return removed


def _compare(volumes: Volumes) -> None:
    """Look at both again, name by name: whatever has a digest lies in both, in the same size."""
    for there, here in zip_longest(_blobs(volumes.source), _blobs(volumes.target)):
        if there != here:
            which = min(filter(None, (there, here)))
            raise CopyDiffers(f"the new volume differs from the old one at {'/'.join(which[0])}")


def _blobs(root: Path) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield path and size of what has a digest, in an order that is the same everywhere."""
    for one in _files(root):
        if one.digest is not None:
            yield one.place.parts, (root / one.place).stat().st_size


def _files(root: Path) -> Iterator[_File]:
    """Yield the files of a volume, directory by directory, in order."""
    with _translated():
        yield from _below(root, Path())


def _below(root: Path, place: Path) -> Iterator[_File]:
    try:
        found = sorted(os.scandir(root / place), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in found:
        inner = place / entry.name
        if place == Path() and entry.name in _PASSED_OVER:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _below(root, inner)
        elif entry.is_file(follow_symlinks=False):
            yield _File(place=inner, digest=_named(inner))
        elif entry.is_symlink():
            raise VolumeUnusable(f"{inner} is a link, and no registry makes one: move it by hand")


def _named(place: Path) -> Digest | None:
    """Return the digest that a file is called by, as in `registry/sha256/ab/<hex>`."""
    algorithm, shelf, name = ("", "", "", *place.parts)[-3:]
    if len(name) != HEX_LENGTH.get(algorithm) or shelf != name[:2]:
        return None
    return Digest(algorithm, name)


@contextmanager
def _alone(volumes: Volumes) -> Iterator[Path]:
    """Keep other copies away, and clear up after one that was ended; yield where files are made.

    Raises:
        CopyRunning: another copy into this volume is at work.
    """
    _distinguish(volumes)
    scratch = volumes.target / SCRATCH
    with _translated():
        scratch.mkdir(exist_ok=True)
        handle = os.open(scratch / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        with _translated():
            _lock(handle)
            for left in scratch.iterdir():
                if left.name != "lock":
                    left.unlink()
        yield scratch
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        # The kernel drops the lock with its process.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CopyRunning("another copy into the new volume is at work") from error


def _distinguish(volumes: Volumes) -> None:
    for name, path in (("old", volumes.source), ("new", volumes.target)):
        if not path.is_dir():
            raise VolumeUnusable(f"the {name} volume is not there: {path} is no directory")
    source, target = volumes.source.resolve(), volumes.target.resolve()
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise VolumeUnusable("the old and the new volume are the same, or one lies in the other")


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _Unlike(f"it cannot be read: {error.strerror}") from error
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise RoomMissing("the new volume is full: ask for a larger one") from error
        where = f" ({error.filename})" if error.filename else ""
        raise VolumeUnusable(f"a volume fails: {error.strerror}{where}") from error


def _refuse_damage(done: Copied) -> None:
    if done.damaged:
        raise BlobsDamaged(
            f"{len(done.damaged)} files of the old volume are damaged, all others are copied: "
            f"{_first(sorted(done.damaged))}: hatoba registry scrub --quarantine sets them aside "
            "and names the tags"
        )


def _first(wrong: list[str]) -> str:
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return ", ".join(wrong[:_SHOWN]) + more


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

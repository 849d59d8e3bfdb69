"""Where backups lie: a directory, or a bucket. A vault knows nothing of what it holds.

A file appears under its name whole and durable, or not at all. Both kinds of vault pass the same
tests.
"""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

from typing_extensions import override

from hatoba.registry.backup.errors import VaultMissing, VaultUnavailable
from hatoba.registry.blobs.bucket import Bucket, ObjectMissing, Part
from hatoba.registry.blobs.driver import READ_BYTES, StorageUnavailable

PART_BYTES: Final = 16 << 20
"""Parts of an object: ten thousand are allowed, which makes 160 GiB the largest file."""
_BEGUN: Final = ".begun-"


@dataclass(slots=True, frozen=True, kw_only=True)
class StoredFile:
    """A file as a listing shows it."""

    name: str
    size: int
    modified_at: datetime


class Vault(Protocol):
    """Files by name; names are relative paths."""

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a file, replacing one of the same name; return its size.

        Where `chunks` raises nothing appears.

        Raises:
            VaultUnavailable: there is no space left, or the place does not answer.
        """

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield the bytes of a file.

        Raises:
            VaultMissing: there is none.
        """

    def list_files(self, prefix: str) -> AsyncIterator[StoredFile]:
        """Yield the files whose name begins with `prefix`, in order."""

    async def delete(self, name: str) -> None:
        """Remove a file; idempotent."""

    async def sweep(self, *, before: datetime) -> int:
        """Drop what was begun before a moment and never finished; return how many."""


class DirectoryVault(Vault):
    """Files below a directory, which is made when something is written."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @override
    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        path = self._root / name
        temporary = path.with_name(f"{_BEGUN}{uuid4().hex}")
        with _translated(self._root):
            await asyncio.to_thread(_make_directories_blocking, path.parent, self._root)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            size = await self._write(handle, chunks)
            with _translated(self._root):
                await asyncio.to_thread(_publish_blocking, temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return size

    async def _write(self, handle: int, chunks: AsyncIterator[bytes]) -> int:
        size = 0
        try:
            async for data in chunks:
                with _translated(self._root):
                    await asyncio.to_thread(_write_blocking, handle, data)
                size += len(data)
            with _translated(self._root):
                await asyncio.to_thread(os.fsync, handle)
        finally:
            with _translated(self._root):
                os.close(handle)
        return size

    @override
    async def read(self, name: str) -> AsyncIterator[bytes]:
        with _translated(self._root):
            try:
                handle = os.open(self._root / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise VaultMissing(f"{name} is not in {self._root}") from error
        try:
            while True:
                with _translated(self._root):
                    data = await asyncio.to_thread(os.read, handle, READ_BYTES)
                if not data:
                    return
                yield data
        finally:
            os.close(handle)

    @override
    async def list_files(self, prefix: str) -> AsyncIterator[StoredFile]:
        with _translated(self._root):
            found = await asyncio.to_thread(_listed_blocking, self._root, prefix)
        for one in found:
            yield one

    @override
    async def delete(self, name: str) -> None:
        path = self._root / name
        with _translated(self._root):
            path.unlink(missing_ok=True)
            try:
                path.parent.rmdir()
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.ENOENT}:
                    raise

    @override
    async def sweep(self, *, before: datetime) -> int:
        with _translated(self._root):
            return await asyncio.to_thread(_sweep_blocking, self._root, before)


class BucketVault(Vault):
    """Objects of a bucket below a prefix."""

    def __init__(self, bucket: Bucket, *, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @override
    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        key, waiting, size = self._prefix + name, bytearray(), 0
        upload: str | None = None
        parts: list[Part] = []
        try:
            async for data in chunks:
                waiting += data
                size += len(data)
                while len(waiting) > PART_BYTES:
                    upload = upload or await self._begin(key)
                    parts.append(await self._part(key, upload, parts, waiting))
                    del waiting[:PART_BYTES]
            with _from_storage(name):
                if upload is None:
                    await self._bucket.put(key, bytes(waiting))
                    return size
                parts.append(await self._part(key, upload, parts, waiting))
                await self._bucket.complete_multipart(key, upload, parts)
        except BaseException:
            if upload is not None:
                with suppress(StorageUnavailable):  # `sweep` finds it later
                    await self._bucket.abort_multipart(key, upload)
            raise
        return size

    async def _begin(self, key: str) -> str:
        with _from_storage(key):
            return await self._bucket.begin_multipart(key)

    async def _part(self, key: str, upload: str, parts: list[Part], waiting: bytearray) -> Part:
        # Not the chunks' errors: they are the registry's storage, not ours.
        content = bytes(waiting[:PART_BYTES])
        with _from_storage(key):
            return await self._bucket.put_part(key, upload, number=len(parts) + 1, content=content)

    @override
    async def read(self, name: str) -> AsyncIterator[bytes]:
        key = self._prefix + name
        with _from_storage(name):
            size = await self._bucket.size(key)
            async for data in self._bucket.read(key, start=0, end=size):
                yield data

    @override
    async def list_files(self, prefix: str) -> AsyncIterator[StoredFile]:
        with _from_storage(prefix):
            async for found in self._bucket.list_objects(self._prefix + prefix):
                yield StoredFile(
                    name=found.key.removeprefix(self._prefix),
                    size=found.size,
                    modified_at=found.modified_at,
                )

    @override
    async def delete(self, name: str) -> None:
        with _from_storage(name):
            await self._bucket.delete(self._prefix + name)

    @override
    async def sweep(self, *, before: datetime) -> int:
        swept = 0
        with _from_storage("uploads"):
            async for begun in self._bucket.list_multiparts(self._prefix):
                if begun.begun_at < before:
                    await self._bucket.abort_multipart(begun.key, begun.upload_id)
                    swept += 1
        return swept


@contextmanager
def _translated(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise VaultUnavailable(f"no space left for backups in {root}") from error
        raise VaultUnavailable(f"{root} cannot be used for backups: {error.strerror}") from error


@contextmanager
def _from_storage(name: str) -> Iterator[None]:
    try:
        yield
    except ObjectMissing as error:
        raise VaultMissing(f"{name} is not in the bucket of backups") from error
    except StorageUnavailable as error:
        raise VaultUnavailable(f"the bucket of backups cannot be used: {error}") from error


def _make_directories_blocking(directory: Path, root: Path) -> None:
    """Make what is missing of a path, each level durable before the next."""
    if directory.is_dir():
        return
    if directory not in {root, directory.parent}:
        _make_directories_blocking(directory.parent, root)
    directory.mkdir(mode=0o700, parents=directory == root, exist_ok=True)
    _sync_directory_blocking(directory.parent)


def _write_blocking(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _publish_blocking(temporary: Path, path: Path) -> None:
    temporary.replace(path)
    _sync_directory_blocking(path.parent)


def _sync_directory_blocking(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files_blocking(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            try:
                yield path, path.stat()
            except FileNotFoundError:
                continue


def _listed_blocking(root: Path, prefix: str) -> list[StoredFile]:
    # Whole directories of the prefix are left out at once: blobs are many.
    top = root / prefix.rpartition("/")[0]
    found = [
        StoredFile(
            name=str(path.relative_to(root)),
            size=stat.st_size,
            modified_at=datetime.fromtimestamp(stat.st_mtime, UTC),
        )
        for path, stat in _files_blocking(top)
        if not path.name.startswith(_BEGUN)
    ]
    return sorted((one for one in found if one.name.startswith(prefix)), key=lambda one: one.name)


def _sweep_blocking(root: Path, before: datetime) -> int:
    swept = 0
    for path, stat in list(_files_blocking(root)):
        if path.name.startswith(_BEGUN) and stat.st_mtime < before.timestamp():
            path.unlink(missing_ok=True)
            swept += 1
    return swept

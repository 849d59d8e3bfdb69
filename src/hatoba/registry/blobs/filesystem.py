"""Blobs as files: `sha256/ab/<hex>` below a directory, as Quay lays them out.

An upload is `uploads/<id>`; committing it is fsync, rename, fsync of the directory. The bytes are
on disk before anybody is told so. Several processes may share the directory.
"""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

from typing_extensions import override

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import (
    READ_BYTES,
    BlobDriver,
    BlobMissing,
    BlobReader,
    BlobStat,
    StorageUnavailable,
    UploadMissing,
    UploadWriter,
)

_INLINE_BYTES: Final = 64 << 10
"""Reads up to this size are done at once: a thread would cost more than the page cache does."""


class FileWriter(UploadWriter):
    """An upload's file, open for appending."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @override
    async def write(self, data: bytes | memoryview) -> None:
        with _translated():
            await asyncio.to_thread(_write_blocking, self._handle, data)


class FileReader(BlobReader):
    """A blob's file, open for reading."""

    def __init__(self, handle: int, size: int) -> None:
        self._handle = handle
        self._size = size

    @property
    @override
    def size(self) -> int:
        return self._size

    @override
    async def read(self, *, start: int, end: int) -> AsyncIterator[bytes]:
        position = start
        while position < end:
            wanted = min(READ_BYTES, end - position)
            with _translated():
                if wanted <= _INLINE_BYTES:
                    data = os.pread(self._handle, wanted, position)
                else:
                    data = await asyncio.to_thread(os.pread, self._handle, wanted, position)
            if not data:
                raise StorageUnavailable(f"a blob ends at {position}, before {end}")
            position += len(data)
            yield data


class FilesystemBlobs(BlobDriver):
    """The driver `LocalStorage`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._uploads = directory / "uploads"

    @override
    @asynccontextmanager
    async def append(self, upload: str, *, offset: int) -> AsyncIterator[UploadWriter]:
        with _translated():
            handle = await asyncio.to_thread(self._open_upload_blocking, upload, offset)
        try:
            yield FileWriter(handle)
            with _translated():
                await asyncio.to_thread(os.fdatasync, handle)
        finally:
            os.close(handle)

    @override
    async def read_upload(self, upload: str) -> AsyncIterator[bytes]:
        with _translated():
            handle = self._open(self._upload_path(upload), UploadMissing(f"no upload {upload}"))
        try:
            reader = FileReader(handle, os.fstat(handle).st_size)
            async for data in reader.read(start=0, end=reader.size):
                yield data
        finally:
            os.close(handle)

    @override
    async def commit(self, upload: str, *, digest: Digest, size: int) -> None:
        with _translated():
            await asyncio.to_thread(self._commit_blocking, upload, digest, size)

    @override
    async def discard(self, upload: str) -> None:
        with _translated():
            await asyncio.to_thread(self._upload_path(upload).unlink, missing_ok=True)

    @override
    async def stat(self, digest: Digest) -> BlobStat:
        try:
            with _translated():
                return BlobStat(digest=digest, size=self._blob_path(digest).stat().st_size)
        except FileNotFoundError as error:
            raise BlobMissing(f"no bytes of {digest}") from error

    @override
    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        with _translated():
            handle = self._open(self._blob_path(digest), BlobMissing(f"no bytes of {digest}"))
        try:
            yield FileReader(handle, os.fstat(handle).st_size)
        finally:
            os.close(handle)

    @override
    async def delete(self, digest: Digest) -> None:
        with _translated():
            await asyncio.to_thread(self._blob_path(digest).unlink, missing_ok=True)

    @override
    async def check(self) -> None:
        with _translated():
            await asyncio.to_thread(self._check_blocking)

    def _upload_path(self, upload: str) -> Path:
        # Ids are made by us; whatever could climb out of the directory is not one of them.
        if not upload.replace("-", "").isalnum():
            raise UploadMissing("no such upload")
        return self._uploads / upload

    def _blob_path(self, digest: Digest) -> Path:
        return self._directory / digest.algorithm / digest.hex[:2] / digest.hex

    @staticmethod
    def _open(path: Path, missing: Exception) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise missing from error

    def _open_upload_blocking(self, upload: str, offset: int) -> int:
        path = self._upload_path(upload)
        flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT if offset == 0 else 0)
        if offset == 0:
            self._uploads.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, flags, 0o640)
        except FileNotFoundError as error:
            raise UploadMissing(f"no upload {upload}") from error
        try:
            if os.fstat(handle).st_size < offset:
                raise UploadMissing(f"upload {upload} is shorter than {offset}")  # noqa: TRY301
            os.ftruncate(handle, offset)
            os.lseek(handle, offset, os.SEEK_SET)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _commit_blocking(self, upload: str, digest: Digest, size: int) -> None:
        source, target = self._upload_path(upload), self._blob_path(digest)
        handle = self._open(source, UploadMissing(f"no upload {upload}"))
        try:
            if os.fstat(handle).st_size != size:
                raise UploadMissing(f"upload {upload} does not have {size} bytes")
            os.fsync(handle)
        finally:
            os.close(handle)
        if target.exists() and target.stat().st_size == size:
            source.unlink()
            return
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            for made in (target.parent.parent, self._directory):
                _sync_directory(made)
        source.replace(target)
        _sync_directory(target.parent)

    def _check_blocking(self) -> None:
        probe = self._uploads / f"_verify-{uuid4()}"
        self._uploads.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"verify")
            if probe.read_bytes() != b"verify":
                raise StorageUnavailable("the storage does not return what was written")
        finally:
            probe.unlink(missing_ok=True)


def _write_blocking(handle: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_UNAVAILABLE: Final = {
    errno.ENOSPC: "the blob storage is full",
    errno.EDQUOT: "the blob storage is full",
    errno.EROFS: "the blob storage is read-only",
}


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        message = _UNAVAILABLE.get(error.errno or 0, f"the blob storage fails: {error.strerror}")
        raise StorageUnavailable(message) from error

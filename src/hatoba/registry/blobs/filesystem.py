"""Blobs as files: `sha256/ab/<hex>` below a directory, as Quay lays them out.

An upload is `uploads/<id>`; committing it is fsync, rename, fsync of the directory. The bytes are
on disk before anybody is told so. Bytes that turned out not to be what they are called lie in
`damaged/sha256/<hex>`. Several processes may share the directory.
"""

import asyncio
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Final
from uuid import uuid4

from typing_extensions import override

from hatoba.kernel.digests import HEX_LENGTH, Digest, Hasher
from hatoba.registry.blobs.driver import (
    READ_BYTES,
    BlobDriver,
    BlobMissing,
    BlobReader,
    BlobStat,
    FilePart,
    StorageUnavailable,
    UploadBegun,
    UploadBusy,
    UploadMissing,
    UploadWriter,
    WholeUpload,
)
from hatoba.registry.blobs.flushing import Flusher

SYNCED: Final = '{"synced": true}'
"""The state of an upload whose bytes were made durable here: Quay's own are not."""
_INLINE_BYTES: Final = 64 << 10
"""Reads up to this size are done at once: a thread would cost more than the page cache does."""


class FileWriter(UploadWriter):
    """An upload's file, open and locked."""

    def __init__(self, handle: int, path: Path, blobs: "FilesystemBlobs") -> None:
        self._handle = handle
        self._path = path
        self._blobs = blobs
        # A request may be cancelled while a thread still works for it; closed under that thread,
        # the number could be another upload's file by the time it is written to.
        self._using = Lock()
        self._is_closed = False
        self._flushing = blobs.flusher.flushing(path)
        self._is_durable = False
        """Whether all bytes are known to be on disk."""

    def close_blocking(self) -> None:
        """Close the file once no thread works on it any more."""
        with self._using:
            self._is_closed = True
            os.close(self._handle)

    @override
    async def begin(self, offset: int, state: str | None = None) -> None:
        with _translated():
            size = os.fstat(self._handle).st_size
            if size < offset:
                raise UploadMissing(f"the upload is shorter than {offset}")
            self._is_durable = size == offset and state == SYNCED
            if size > offset:
                os.ftruncate(self._handle, offset)
            os.lseek(self._handle, offset, os.SEEK_SET)

    @override
    async def write(self, data: bytes | memoryview) -> None:
        with _translated():
            await asyncio.to_thread(self._write_blocking, data)

    @override
    async def take(self, parts: Sequence[bytes], hasher: Hasher) -> None:
        with _translated():
            await asyncio.to_thread(self._take_blocking, parts, hasher)
        self._flushing.written(sum(map(len, parts)))

    @override
    async def sync(self) -> str | None:
        with _translated():
            await asyncio.to_thread(self._sync_blocking)
        return SYNCED

    @override
    async def read(self) -> AsyncIterator[bytes]:
        reader = FileReader(self._handle, os.fstat(self._handle).st_size)
        async for data in reader.read(start=0, end=reader.size):
            yield data

    @override
    async def prepare(self, digest: Digest) -> None:
        # Committing syncs, too; little is done sooner than a thread is reached.
        if not self._is_durable and os.fstat(self._handle).st_size > READ_BYTES:
            await self.sync()

    @override
    async def commit(self, digest: Digest) -> None:
        with _translated():
            await asyncio.to_thread(self._commit_blocking, self._blobs.blob_path(digest))

    def _write_blocking(self, data: bytes | memoryview) -> None:
        self._is_durable = False
        view = memoryview(data)
        while view:
            with self._in_use():
                view = view[os.write(self._handle, view) :]

    def _take_blocking(self, parts: Sequence[bytes], hasher: Hasher) -> None:
        for part in parts:
            self._write_blocking(part)
            hasher.update(part)

    def _sync_blocking(self) -> None:
        with self._in_use():
            os.fdatasync(self._handle)
            self._is_durable = True

    def _commit_blocking(self, target: Path) -> None:
        with self._in_use():
            if not self._is_durable:
                os.fdatasync(self._handle)
            self._blobs.move_blocking(self._path, target)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._using:
            if self._is_closed:
                raise UploadMissing("the upload was given up")
            yield


class NewFile(WholeUpload):
    """An upload that is written, and made durable, by one visit of a thread."""

    def __init__(self, path: Path, content: bytes, blobs: "FilesystemBlobs") -> None:
        self._path = path
        self._content = content
        self._blobs = blobs
        self._handle: int | None = None
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(None, self._write_blocking)

    @override
    async def commit(self, digest: Digest) -> None:
        with _translated():
            # A request may be cancelled; the thread goes on, and its file must not be lost.
            await asyncio.shield(self._writing)
            target = self._blobs.blob_path(digest)
            await asyncio.to_thread(self._blobs.move_blocking, self._path, target)

    async def close(self) -> None:
        """Give the file back once the thread is done with it, whatever came of that."""
        self._writing.add_done_callback(self._give_back)
        await asyncio.wait([self._writing])

    def _give_back(self, writing: "asyncio.Future[None]") -> None:
        if not writing.cancelled():
            writing.exception()  # whoever committed has seen it; nobody else has to
        if self._handle is not None:
            os.close(self._handle)

    def _write_blocking(self) -> None:
        try:
            self._handle = _open_locked_blocking(self._path, os.O_EXCL)
        except FileExistsError as error:
            raise UploadBegun("there is something of this upload already") from error
        try:
            _write_all_blocking(self._handle, self._content)
            os.fsync(self._handle)
        except OSError:
            # On a full disk, a part that nobody goes on with would take others' room for days.
            self._path.unlink(missing_ok=True)
            raise


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

    @override
    async def parts(self, *, start: int, end: int) -> AsyncIterator[bytes | FilePart]:
        if end - start > _INLINE_BYTES:
            yield FilePart(reader=self, handle=self._handle, start=start, end=end)
            return
        async for data in self.read(start=start, end=end):
            yield data


class FilesystemBlobs(BlobDriver):
    """The driver `LocalStorage`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._uploads = directory / "uploads"
        self._durable: set[Path] = set()
        """Directories of blobs that are known to be on disk."""
        self.flusher = Flusher()

    @override
    @asynccontextmanager
    async def upload(self, upload: str) -> AsyncIterator[UploadWriter]:
        path = self._upload_path(upload)
        with _translated():
            handle = await asyncio.to_thread(_open_locked_blocking, path)
        writer = FileWriter(handle, path, self)
        try:
            yield writer
        finally:
            writer.close_blocking()

    @override
    @asynccontextmanager
    async def upload_whole(self, upload: str, content: bytes) -> AsyncIterator[WholeUpload]:
        file = NewFile(self._upload_path(upload), content, self)
        try:
            yield file
        finally:
            await file.close()

    @override
    async def discard(self, upload: str) -> None:
        with _translated():
            await asyncio.to_thread(self._upload_path(upload).unlink, missing_ok=True)

    @override
    async def sweep_uploads(self, *, before: datetime) -> int:
        with _translated():
            return await asyncio.to_thread(self._sweep_blocking, before.timestamp())

    @override
    async def list_blobs(self, *, after: Digest | None = None) -> AsyncIterator[BlobStat]:
        for algorithm in sorted(HEX_LENGTH):
            if after is not None and algorithm < after.algorithm:
                continue
            first = after.hex if after is not None and algorithm == after.algorithm else ""
            root = self._directory / algorithm
            with _translated():
                shelves = await asyncio.to_thread(_names_blocking, root)
            for shelf in shelves:
                if shelf < first[:2]:
                    continue
                with _translated():
                    found = await asyncio.to_thread(_sizes_blocking, root / shelf)
                for name, size in found:
                    if name > first and len(name) == HEX_LENGTH[algorithm]:
                        yield BlobStat(digest=Digest(algorithm, name), size=size)

    @override
    async def direct_url(self, digest: Digest) -> str | None:
        return None

    @override
    async def stat(self, digest: Digest) -> BlobStat:
        try:
            with _translated():
                return BlobStat(digest=digest, size=self.blob_path(digest).stat().st_size)
        except FileNotFoundError as error:
            raise BlobMissing(f"no bytes of {digest}") from error

    @override
    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        with _translated():
            handle = self._open(self.blob_path(digest), BlobMissing(f"no bytes of {digest}"))
        try:
            yield FileReader(handle, os.fstat(handle).st_size)
        finally:
            os.close(handle)

    @override
    async def delete(self, digest: Digest) -> None:
        with _translated():
            await asyncio.to_thread(self.blob_path(digest).unlink, missing_ok=True)

    @override
    async def set_aside(self, digest: Digest) -> None:
        try:
            with _translated():
                await asyncio.to_thread(self._set_aside_blocking, digest)
        except FileNotFoundError as error:
            raise BlobMissing(f"no bytes of {digest}") from error

    @override
    async def check(self) -> None:
        with _translated():
            await asyncio.to_thread(self._check_blocking)

    def _upload_path(self, upload: str) -> Path:
        # Ids are made by us; whatever could climb out of the directory is not one of them.
        if not upload.replace("-", "").isalnum():
            raise UploadMissing("no such upload")
        return self._uploads / upload

    def blob_path(self, digest: Digest) -> Path:
        """Return where the bytes of a digest lie."""
        return self._directory.joinpath(digest.algorithm, digest.hex[:2], digest.hex)

    @staticmethod
    def _open(path: Path, missing: Exception) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise missing from error

    def _sweep_blocking(self, before: float) -> int:
        swept = 0
        for name in _names_blocking(self._uploads):
            path = self._uploads / name
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except (FileNotFoundError, IsADirectoryError):
                continue
            try:
                if os.fstat(handle).st_mtime < before and _is_free(handle):
                    path.unlink(missing_ok=True)
                    swept += 1
            finally:
                os.close(handle)
        return swept

    def make_directory_blocking(self, directory: Path) -> None:
        """Make a directory of blobs and all its neighbours, durably.

        All at once: one by one, each would cost the push that comes first two more fsyncs. One
        that is there may have been made by another process, which has not come to its fsync yet;
        one fsync of the parent is enough for all that are there before it.
        """
        if directory in self._durable and directory.is_dir():
            return
        root = directory.parent
        root.mkdir(parents=True, exist_ok=True)
        shelves = [root / f"{number:02x}" for number in range(256)]
        for shelf in shelves:
            with suppress(FileExistsError):
                shelf.mkdir()
        for parent in (root, root.parent):
            _sync_directory(parent)
        self._durable.update(shelves)

    def move_blocking(self, source: Path, target: Path) -> None:
        """Move the synchronised file of an upload to where its blob lies, durably."""
        self.make_directory_blocking(target.parent)
        try:
            source.replace(target)
        except FileNotFoundError as error:
            raise UploadMissing("the upload was cancelled meanwhile") from error
        _sync_directory(target.parent)

    def _set_aside_blocking(self, digest: Digest) -> None:
        source = self.blob_path(digest)
        target = self._directory / "damaged" / digest.algorithm / digest.hex
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        _sync_directory(target.parent)
        _sync_directory(source.parent)

    def _check_blocking(self) -> None:
        probe = self._uploads / f"_verify-{uuid4()}"
        self._uploads.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"verify")
            if probe.read_bytes() != b"verify":
                raise StorageUnavailable("the storage does not return what was written")
        finally:
            probe.unlink(missing_ok=True)


def _open_locked_blocking(path: Path, flags: int = 0) -> int:
    flags |= os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o640)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, flags, 0o640)
    try:
        # The kernel drops the lock with its process, so a killed worker blocks nobody.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise UploadBusy("another request is writing to this upload") from error
    return handle


def _write_all_blocking(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def _is_free(handle: int) -> bool:
    """Tell whether nobody writes; a file of the past that is written to is none of the past."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names_blocking(directory: Path) -> list[str]:
    """Return the names in a directory, sorted; none where it does not exist."""
    try:
        return sorted(path.name for path in directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sizes_blocking(directory: Path) -> list[tuple[str, int]]:
    """Return names and sizes of the files in a directory, sorted by name."""
    sizes = []
    for name in _names_blocking(directory):
        try:
            sizes.append((name, (directory / name).stat().st_size))
        except FileNotFoundError:
            continue
    return sizes


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

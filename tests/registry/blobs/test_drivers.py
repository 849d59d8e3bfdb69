"""All drivers against the suite, and what only the filesystem promises."""

import asyncio
import os
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest
from tests.azure_storage import azure_location, azure_parameters
from tests.object_storage import bucket_location, google_parameters
from tests.object_storage import parameters as storage_parameters
from tests.registry.blobs import google
from tests.registry.blobs.faulty import faulty
from tests.suites import blobs as suite
from tests.swift_storage import swift_location, swift_parameters
from tests.torture.disks import filled, small_disk

from hatoba.kernel.clock import SystemClock
from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.azure_opening import open_azure
from hatoba.registry.blobs.driver import StorageUnavailable, UploadBegun, UploadMissing
from hatoba.registry.blobs.filesystem import FilesystemBlobs
from hatoba.registry.blobs.layered import LayeredBlobs
from hatoba.registry.blobs.memory import MemoryBlobs
from hatoba.registry.blobs.s3_opening import open_bucket
from hatoba.registry.blobs.swift_opening import open_swift

pytestmark = pytest.mark.anyio


ACCENTS: dict[str, dict[str, object]] = {
    "s3": {},
    "s3 without copies": {"server_side_assembly": False},
    "s3 signature 2": {"signature_version": "s3"},
    "s3 checksums": {"checksums": True, "maximum_chunk_size_mb": 5},
}
# http://key:secret@host:port/bucket: proves that a storage is one that blobs can be kept in.
ANOTHER = os.environ.get("HATOBA_TEST_S3")


@asynccontextmanager
async def bucket_driver(given, tmp_path):
    location = bucket_location("RadosGWStorage", given)
    async with open_bucket(location, directory=tmp_path) as driver:
        yield driver


@asynccontextmanager
async def google_driver(storage, tmp_path):
    async with faulty(storage.url) as proxy:
        proxy.refuses = google.refusal
        given = google_parameters(proxy.port, storage.new_bucket())
        async with open_bucket(
            bucket_location("GoogleCloudStorage", given), directory=tmp_path
        ) as d:
            yield d


def another_storage(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    return {
        "hostname": parts.hostname,
        "port": parts.port,
        "is_secure": parts.scheme == "https",
        "access_key": unquote(parts.username or ""),
        "secret_key": unquote(parts.password or ""),
        "bucket_name": parts.path.strip("/"),
        "storage_path": f"/test/{uuid4()}",
    }


@pytest.fixture(
    params=[
        "filesystem",
        "memory",
        "layered",
        "google",
        "azure",
        "swift",
        *ACCENTS,
        *(f"another {accent}" for accent in ACCENTS if ANOTHER),
    ]
)
async def driver(request, tmp_path):
    match request.param:
        case "filesystem":
            yield FilesystemBlobs(tmp_path)
        case "memory":
            yield MemoryBlobs()
        case "layered":
            yield LayeredBlobs([FilesystemBlobs(tmp_path), MemoryBlobs()])
        case "google":
            storage = request.getfixturevalue("object_storage")
            async with google_driver(storage, tmp_path) as opened:
                yield opened
        case "azure":
            emulator = request.getfixturevalue("azure")
            given = azure_parameters(emulator.port, await emulator.new_container())
            async with open_azure(azure_location(given), directory=tmp_path) as opened:
                yield opened
        case "swift":
            server = request.getfixturevalue("swift")
            given = swift_parameters(server.port, server.new_container())
            async with open_swift(swift_location(given), directory=tmp_path) as opened:
                yield opened
        case accent if accent in ACCENTS:
            storage = request.getfixturevalue("object_storage")
            given = storage_parameters(storage, storage.new_bucket(), **ACCENTS[accent])
            async with bucket_driver(given, tmp_path) as opened:
                yield opened
        case another:
            accent = ACCENTS[another.removeprefix("another ")]
            async with bucket_driver(another_storage(ANOTHER) | accent, tmp_path) as opened:
                yield opened


@pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__)
async def test_suite(check, driver) -> None:
    await check(driver)


async def test_files_lie_where_quay_keeps_them(tmp_path: Path) -> None:
    digest = await suite.put(FilesystemBlobs(tmp_path), b"x")
    assert (tmp_path / "sha256" / digest.hex[:2] / digest.hex).read_bytes() == b"x"
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.parametrize("upload", ["../x", "a/b", "", ".", "..", "a\0b"])
async def test_an_id_cannot_leave_the_directory(tmp_path: Path, upload: str) -> None:
    with pytest.raises(UploadMissing):
        async with FilesystemBlobs(tmp_path).upload(upload):
            pass


async def test_a_storage_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    driver = FilesystemBlobs(tmp_path / "file")
    with pytest.raises(StorageUnavailable):
        await driver.check()
    with pytest.raises(StorageUnavailable):
        await suite.put(driver, b"x")


async def test_a_writer_that_outlives_its_upload_writes_nowhere(tmp_path: Path) -> None:
    # A cancelled request leaves its thread behind, and the file's number goes to the next file.
    async with FilesystemBlobs(tmp_path).upload("one") as left_behind:
        pass
    async with FilesystemBlobs(tmp_path).upload("two") as writer:
        with pytest.raises(UploadMissing):
            await left_behind.write(b"stray")
        assert [part async for part in writer.read()] == []


async def test_a_whole_upload_that_is_discarded_becomes_no_blob(tmp_path: Path) -> None:
    driver = FilesystemBlobs(tmp_path)
    async with driver.upload_whole("one", b"whole") as writer:
        while not (tmp_path / "uploads" / "one").exists():  # noqa: ASYNC110 -- a thread makes it
            await asyncio.sleep(0)
        await driver.discard("one")
        with pytest.raises(UploadMissing):
            await writer.commit(Digest.of(b"whole"))


async def test_a_whole_upload_that_is_not_committed_leaves_a_file_for_the_next(
    tmp_path: Path,
) -> None:
    driver = FilesystemBlobs(tmp_path)
    async with driver.upload_whole("one", b"whole"):
        pass
    async with driver.upload("one") as writer:
        assert [part async for part in writer.read()] == [b"whole"]
        await writer.begin(0)


async def test_a_whole_upload_that_finds_the_disk_full_leaves_nothing(tmp_path: Path) -> None:
    content = b"x" * 65536
    with small_disk(tmp_path / "storage", size=4 << 20) as disk:
        driver = FilesystemBlobs(disk)
        (disk / "uploads").mkdir()
        with filled(disk), pytest.raises(StorageUnavailable, match="full"):
            async with driver.upload_whole("one", content) as whole:
                await whole.commit(Digest.of(content))
        assert list((disk / "uploads").iterdir()) == []
        async with driver.upload_whole("one", content) as whole:
            await whole.commit(Digest.of(content))


async def test_a_whole_upload_waits_for_no_other_writer(tmp_path: Path) -> None:
    driver = FilesystemBlobs(tmp_path)
    async with driver.upload("one"):
        with pytest.raises(UploadBegun):
            async with driver.upload_whole("one", b"whole") as writer:
                await writer.commit(Digest.of(b"whole"))


async def test_a_truncated_file_is_an_error_not_a_short_answer(tmp_path: Path) -> None:
    driver = FilesystemBlobs(tmp_path)
    digest = await suite.put(driver, b"0123456789")
    async with driver.open(digest) as reader:
        (tmp_path / "sha256" / digest.hex[:2] / digest.hex).write_bytes(b"0123")
        with pytest.raises(StorageUnavailable):
            _ = [part async for part in reader.read(start=0, end=10)]


def test_digest_paths_differ_by_algorithm() -> None:
    assert Digest.of(b"a").hex != Digest.of(b"a", "sha512").hex


async def test_other_files_are_no_blobs(tmp_path: Path) -> None:
    driver = FilesystemBlobs(tmp_path)
    digest = await suite.put(driver, b"x")
    (tmp_path / "sha256" / digest.hex[:2] / "zz-left-by-somebody").write_bytes(b"?")
    (tmp_path / "sha256" / ".snapshot").mkdir()
    assert [blob.digest async for blob in driver.list_blobs()] == [digest]


async def test_a_sweep_leaves_an_upload_that_is_written_to(tmp_path: Path) -> None:
    driver = FilesystemBlobs(tmp_path)
    later = SystemClock().now() + timedelta(hours=1)
    async with driver.upload("one") as writer:
        await writer.begin(0)
        await writer.write(b"abc")
        assert await driver.sweep_uploads(before=later) == 0
        await writer.commit(Digest.of(b"abc"))
    assert (await driver.stat(Digest.of(b"abc"))).size == 3

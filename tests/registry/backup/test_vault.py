"""Both kinds of vault: a file is there whole or not at all."""

import os
import stat
from datetime import UTC, datetime, timedelta

import pytest
from tests.object_storage import ACCESS_KEY, SECRET_KEY
from tests.torture.disks import small_disk

from hatoba.registry.backup.errors import VaultMissing, VaultUnavailable
from hatoba.registry.backup.opening import VaultAddress, VaultMalformed, open_vault
from hatoba.registry.backup.vault import PART_BYTES, DirectoryVault

pytestmark = pytest.mark.anyio
LATER = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture(params=["directory", "bucket"])
async def vault(request, tmp_path):
    if request.param == "directory":
        address, keys = VaultAddress(text=f"{tmp_path}/vault"), {}
    else:
        storage = request.getfixturevalue("object_storage")
        address = VaultAddress(text=f"s3://{storage.new_bucket()}/some/place", endpoint=storage.url)
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    async with open_vault(address, environment=keys) as opened:
        yield opened


async def chunks(*parts: bytes, then: Exception | None = None):
    for part in parts:
        yield part
    if then is not None:
        raise then


async def content(vault, name: str) -> bytes:
    return b"".join([data async for data in vault.read(name)])


async def names(vault, prefix="") -> list[str]:
    return [found.name async for found in vault.list_files(prefix)]


async def test_what_was_put_is_read_and_listed(vault):
    assert await vault.put("a/b/c", chunks(b"one", b"two")) == 6
    await vault.put("a/d", chunks())
    assert await content(vault, "a/b/c") == b"onetwo"
    assert await content(vault, "a/d") == b""
    found = [one async for one in vault.list_files("a/b/")]
    assert [(one.name, one.size) for one in found] == [("a/b/c", 6)]
    assert abs(found[0].modified_at - datetime.now(UTC)) < timedelta(hours=1)
    assert await names(vault) == ["a/b/c", "a/d"]


async def test_a_file_of_several_parts_is_put_together(vault):
    part = os.urandom(PART_BYTES // 2 + 1)
    await vault.put("large", chunks(part, part, part))
    assert await content(vault, "large") == part * 3


async def test_a_file_is_replaced(vault):
    await vault.put("a", chunks(b"one"))
    await vault.put("a", chunks(b"two"))
    assert await content(vault, "a") == b"two"


@pytest.mark.parametrize("before", [b"x", b"x" * (PART_BYTES + 1)], ids=["small", "large"])
async def test_a_stream_that_fails_leaves_nothing(vault, before):
    with pytest.raises(ZeroDivisionError):
        await vault.put("a/b", chunks(before, then=ZeroDivisionError()))
    assert await names(vault) == []
    assert await vault.sweep(before=LATER) == 0
    with pytest.raises(VaultMissing):
        await content(vault, "a/b")


async def test_deleting_is_idempotent(vault):
    await vault.put("a/b", chunks(b"x"))
    await vault.delete("a/b")
    await vault.delete("a/b")
    assert await names(vault) == []


async def test_an_empty_vault_has_no_files(vault):
    assert await names(vault, "backups/") == []
    assert await vault.sweep(before=LATER) == 0


async def test_what_a_killed_process_began_is_swept_once_it_is_old(tmp_path):
    vault = DirectoryVault(tmp_path)
    (tmp_path / "blobs").mkdir()
    begun = tmp_path / "blobs" / ".begun-0123"
    begun.write_bytes(b"x")
    assert await names(vault) == []
    assert await vault.sweep(before=datetime.now(UTC) - timedelta(days=1)) == 0
    assert begun.exists()
    assert await vault.sweep(before=LATER) == 1
    assert not begun.exists()


async def test_files_are_for_their_owner_alone(tmp_path):
    await DirectoryVault(tmp_path / "v").put("a/b", chunks(b"x"))
    assert stat.S_IMODE((tmp_path / "v/a/b").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "v").stat().st_mode) == 0o700


async def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    with small_disk(tmp_path / "disk", size=1 << 20) as disk:
        vault = DirectoryVault(disk)
        with pytest.raises(VaultUnavailable, match=f"no space left for backups in {disk}"):
            await vault.put("a", chunks(b"x" * (2 << 20)))
        assert await names(vault) == []
        assert await vault.put("a", chunks(b"x" * 1000)) == 1000


async def test_a_bucket_that_is_not_there_is_said(object_storage):
    address = VaultAddress(text="s3://nobody/x", endpoint=object_storage.url)
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    async with open_vault(address, environment=keys) as vault:
        with pytest.raises(VaultUnavailable, match="bucket of backups cannot be used"):
            await vault.put("a", chunks(b"x"))


@pytest.mark.parametrize("text", ["s3://", "gs://bucket/x", "s3:///x", "s3://b/x?y=z"])
async def test_an_address_that_is_none_is_refused(text):
    opened = open_vault(VaultAddress(text=text), environment={})
    with pytest.raises(VaultMalformed):
        async with opened:
            pass

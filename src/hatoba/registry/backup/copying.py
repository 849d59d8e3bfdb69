"""Blobs into a vault and out of it again; nothing is believed that was not hashed."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from hatoba.kernel.digests import Digest
from hatoba.kernel.ids import new_uuid
from hatoba.registry.backup.errors import BackupDamaged
from hatoba.registry.backup.sealing import BackupKey, seal, unseal
from hatoba.registry.backup.vault import Vault
from hatoba.registry.blobs.driver import BlobDriver, BlobMissing, BlobReader

Item = TypeVar("Item")


class BlobCorrupt(BackupDamaged):
    """Bytes do not have the digest that they are called by."""


def blob_name(digest: Digest, *, key: BackupKey) -> str:
    """Return the file of a blob. Its name tells nobody but the holder of the key which it is."""
    hidden = key.hidden(str(digest))
    return f"blobs/{hidden[:2]}/{hidden}"


async def proven(chunks: AsyncIterator[bytes], *, digest: Digest) -> AsyncIterator[bytes]:
    """Yield the bytes, and fail at their end where they are not those of the digest.

    Raises:
        BlobCorrupt: they are others.
    """
    hasher = hashlib.new(digest.algorithm)
    async for data in chunks:
        hasher.update(data)
        yield data
    if hasher.hexdigest() != digest.hex:
        raise BlobCorrupt(f"the bytes of {digest} are others")


async def store_blob(
    digest: Digest, *, blobs: BlobDriver, vault: Vault, key: BackupKey
) -> int | None:
    """Copy a blob into a vault and return its size; None where the registry has lost it.

    Nothing appears in the vault unless all bytes are proven.
    """
    name = blob_name(digest, key=key)
    try:
        async with blobs.open(digest) as reader:
            plain = proven(_whole(reader), digest=digest)
            await vault.put(name, seal(plain, key=key, name=name))
            return reader.size
    except (BlobMissing, BlobCorrupt):
        return None


async def _whole(reader: BlobReader) -> AsyncIterator[bytes]:
    async for data in reader.read(start=0, end=reader.size):
        yield data


def plain_blob(digest: Digest, *, vault: Vault, key: BackupKey) -> AsyncIterator[bytes]:
    """Yield the proven bytes of a blob in a vault.

    Raises:
        VaultMissing, KeyWrong, SealBroken, BlobCorrupt: they cannot be had.
    """
    name = blob_name(digest, key=key)
    return proven(unseal(vault.read(name), key=key, name=name), digest=digest)


async def bring_back(digest: Digest, *, blobs: BlobDriver, vault: Vault, key: BackupKey) -> None:
    """Copy a blob out of a vault into the registry's storage; one that is there stays."""
    try:
        await blobs.stat(digest)
    except BlobMissing:
        upload = new_uuid()
    else:
        return
    try:
        async with blobs.upload(upload) as writer:
            await writer.begin(0)
            async for data in plain_blob(digest, vault=vault, key=key):
                await writer.write(data)
            await writer.prepare(digest)
            await writer.commit(digest)
    except BaseException:
        await blobs.discard(upload)
        raise


async def for_each(
    items: Iterable[Item], do: Callable[[Item], Awaitable[None]], *, parallel: int
) -> None:
    """Do something with all items, some at a time; the first failure ends the rest."""
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await do(item)

    workers = [asyncio.ensure_future(work()) for _ in range(parallel)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

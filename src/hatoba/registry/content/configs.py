"""Reading an image's configuration, which is small, into memory."""

from typing import Final

from hatoba.kernel.digests import Digest, MalformedDigest
from hatoba.registry.blobs.driver import BlobDriver, BlobMissing
from hatoba.registry.content.tagging import ConfigReader

MAXIMUM_CONFIG_BYTES: Final = 4 << 20


def config_reader(blobs: BlobDriver) -> ConfigReader:
    """Return the reading of configurations from a blob storage."""

    async def read(digest: str) -> bytes | None:
        try:
            async with blobs.open(Digest.parse(digest)) as blob:
                if blob.size > MAXIMUM_CONFIG_BYTES:
                    return None
                chunks = [chunk async for chunk in blob.read(start=0, end=blob.size)]
        except (BlobMissing, MalformedDigest):
            return None
        return b"".join(chunks)

    return read

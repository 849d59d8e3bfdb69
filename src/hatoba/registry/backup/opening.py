"""Addresses of vaults: a directory, or `s3://bucket/prefix` with the keys of the environment."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hatoba.config.schema.storage import BucketLocation, BucketOptions
from hatoba.kernel.errors import InvalidInput
from hatoba.registry.backup.errors import KeyMalformed
from hatoba.registry.backup.sealing import BackupKey
from hatoba.registry.backup.vault import BucketVault, DirectoryVault, Vault

S3: Final = "s3"
_LARGEST_KEY_FILE: Final = 4096


class VaultMalformed(InvalidInput):
    """The address of a vault cannot be understood."""


@dataclass(slots=True, frozen=True, kw_only=True)
class VaultAddress:
    """Where a vault is."""

    text: str
    endpoint: str | None = None
    region: str | None = None


@asynccontextmanager
async def open_vault(
    address: VaultAddress, *, environment: Mapping[str, str]
) -> AsyncIterator[Vault]:
    """Open a vault; nothing is asked of it yet.

    Raises:
        VaultMalformed: the address cannot be understood.
    """
    if "://" not in address.text:
        yield DirectoryVault(Path(address.text).absolute())
        return
    parts = urlsplit(address.text)
    if parts.scheme != S3 or not parts.netloc or parts.query or parts.fragment:
        raise VaultMalformed(f"{address.text!r} is neither a directory nor s3://bucket/prefix")
    # The library is large, and most vaults of a laptop are directories.
    from hatoba.registry.blobs.s3_opening import open_plain_bucket  # noqa: PLC0415 -- see above

    location = BucketLocation(
        bucket=parts.netloc,
        prefix=parts.path.strip("/"),
        endpoint_url=address.endpoint,
        region=address.region,
        access_key=environment.get("AWS_ACCESS_KEY_ID"),
        secret_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        options=BucketOptions(),
    )
    async with open_plain_bucket(location) as bucket:
        yield BucketVault(bucket, prefix=location.prefix)


def read_key(path: Path) -> BackupKey:
    """Read the key of a vault from a file.

    Raises:
        KeyMalformed: the file cannot be read, or holds no key.
    """
    try:
        with path.open("rb") as stream:
            return BackupKey.parse(stream.read(_LARGEST_KEY_FILE).decode())
    except OSError as error:
        raise KeyMalformed(f"the key cannot be read: {error.strerror}: {path}") from error
    except UnicodeDecodeError as error:
        raise KeyMalformed(f"{path} holds no key; `hatoba backup key` makes one") from error

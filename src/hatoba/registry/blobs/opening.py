"""Configuration -> blob driver; what the composition root calls.

The S3 library is large, so it is imported only where a bucket is configured: `warm` does that in
the supervisor, before workers are forked, so that they share its memory.
"""

# ruff: noqa: PLC0415 -- see above

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from hatoba.config.loader import Configuration, data_directory
from hatoba.config.schema import QuayConfig
from hatoba.config.schema.containers import AzureLocation
from hatoba.config.schema.storage import DirectoryLocation, Location
from hatoba.config.schema.swift import SwiftLocation
from hatoba.kernel.errors import InvalidInput
from hatoba.registry.blobs.driver import BlobDriver
from hatoba.registry.blobs.filesystem import FilesystemBlobs
from hatoba.registry.blobs.layered import LayeredBlobs


class StorageMissing(InvalidInput):
    """The configuration names no place for blobs."""


@asynccontextmanager
async def open_blobs(configuration: Configuration) -> AsyncIterator[BlobDriver]:
    """Open every location; the first is written to, the others are read from.

    Raises:
        StorageMissing: no location is configured.
        KeyUnusable: the private key of a CloudFront distribution cannot be read.
        AuthorityUnusable: a file of authorities cannot be read.
    """
    settings = configuration.settings
    written_location(settings)
    async with AsyncExitStack() as stack:
        layers = [
            await _open(stack, location, configuration=configuration)
            for location in settings.storage_locations.values()
        ]
        yield layers[0] if len(layers) == 1 else LayeredBlobs(layers)


async def _open(
    stack: AsyncExitStack, location: Location, *, configuration: Configuration
) -> BlobDriver:
    if isinstance(location, DirectoryLocation):
        return FilesystemBlobs(data_directory() / location.path)
    directory = configuration.directory
    direct = not configuration.settings.feature_proxy_storage
    opened: AbstractAsyncContextManager[BlobDriver]
    if isinstance(location, AzureLocation):
        from hatoba.registry.blobs.azure_opening import open_azure

        opened = open_azure(location, directory=directory, sends_clients_there=direct)
    elif isinstance(location, SwiftLocation):
        from hatoba.registry.blobs.swift_opening import open_swift

        opened = open_swift(location, directory=directory, sends_clients_there=direct)
    else:
        from hatoba.registry.blobs.s3_opening import open_bucket

        opened = open_bucket(location, directory=directory, sends_clients_there=direct)
    return await stack.enter_async_context(opened)


def written_location(settings: QuayConfig) -> tuple[str, Location]:
    """Return the name of the location that blobs are written to, and what it is.

    Raises:
        StorageMissing: no location is configured.
    """
    for name, location in settings.storage_locations.items():
        return name, location
    raise StorageMissing("DISTRIBUTED_STORAGE_CONFIG names no location")


def disk_of(settings: QuayConfig) -> Path:
    """Return the directory on whose disk blobs lie; the data directory where they lie elsewhere."""
    _, location = written_location(settings)
    if isinstance(location, DirectoryLocation):
        return data_directory() / location.path
    return data_directory()


def warm(configuration: Configuration) -> None:
    """Import and prepare what `open_blobs` takes long for; call it before any event loop runs."""

    async def prepare() -> None:
        async with open_blobs(configuration):
            return

    asyncio.run(prepare())

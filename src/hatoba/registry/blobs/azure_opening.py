"""Location of an Azure container -> driver, and who signs its links."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from hatoba.config.schema.containers import AzureLocation
from hatoba.kernel.clock import Clock, SystemClock
from hatoba.registry.blobs.azure import AzureContainer, explain
from hatoba.registry.blobs.azure_signing import SharedKey, SharedToken
from hatoba.registry.blobs.bucket import Patience, Sleep
from hatoba.registry.blobs.bucket_blobs import BucketBlobs, SignUrl
from hatoba.registry.blobs.exchange import Credentials, Exchange, open_storage_session
from hatoba.registry.blobs.pieces import Layout


@asynccontextmanager
async def open_azure(
    location: AzureLocation,
    *,
    directory: Path,
    sends_clients_there: bool = True,
    sleep: Sleep = asyncio.sleep,
    clock: Clock | None = None,
) -> AsyncIterator[BucketBlobs]:
    """Open a container; nothing is asked of it yet.

    Without the account's key nobody can sign a link, so bytes go through the registry.
    """
    options, clock = location.options, clock or SystemClock()
    url = f"{location.endpoint_url}/{location.container}"
    credentials: Credentials
    if location.account_key is None:
        token = (location.sas_token or "").lstrip("?")
        credentials, source_query, signer = SharedToken(token=token), f"?{token}", None
    else:
        key = SharedKey(account=location.account, key=location.account_key, clock=clock)
        credentials, source_query, signer = key, "", key
    async with open_storage_session(options, directory=directory) as session:
        exchange = Exchange(
            session,
            credentials=credentials,
            patience=Patience(attempts=options.attempts, sleep=sleep),
            explain=explain,
        )
        container = AzureContainer(
            exchange, url=url, source_url=lambda key: f"{url}/{quote(key)}{source_query}"
        )
        yield BucketBlobs(
            container,
            layout=Layout(
                prefix=f"{location.prefix}/" if location.prefix else "",
                part_bytes=options.minimum_chunk_size_mb << 20,
                copy_bytes=options.minimum_chunk_size_mb << 20,
                joins=False,
            ),
            sign_url=_signer(signer, location) if sends_clients_there and signer else None,
        )


def _signer(key: SharedKey, location: AzureLocation) -> SignUrl:
    lifetime = timedelta(seconds=location.options.link_expiry_seconds)
    base = location.options.public_endpoint_url or location.endpoint_url

    async def sign(name: str) -> str:
        query = key.link(container=location.container, name=name, lifetime=lifetime)
        return f"{base.rstrip('/')}/{location.container}/{quote(name)}?{query}"

    return sign

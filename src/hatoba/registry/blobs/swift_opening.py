"""Location of a Swift container -> driver, and who signs its links."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from hatoba.config.schema.swift import SwiftLocation
from hatoba.kernel.clock import Clock, SystemClock
from hatoba.registry.blobs.bucket import Patience, Sleep
from hatoba.registry.blobs.bucket_blobs import BucketBlobs, SignUrl
from hatoba.registry.blobs.exchange import Exchange, open_storage_session
from hatoba.registry.blobs.pieces import Layout
from hatoba.registry.blobs.swift import SwiftContainer, explain
from hatoba.registry.blobs.swift_accounts import Account, SwiftUser


@asynccontextmanager
async def open_swift(
    location: SwiftLocation,
    *,
    directory: Path,
    sends_clients_there: bool = True,
    sleep: Sleep = asyncio.sleep,
    clock: Clock | None = None,
) -> AsyncIterator[BucketBlobs]:
    """Open a container; nothing is asked of it yet.

    Without a key for links bytes go through the registry.
    """
    options = location.options
    async with open_storage_session(options, directory=directory) as session:
        patience = Patience(attempts=options.attempts, sleep=sleep)
        user = SwiftUser(location, session=session)
        container = SwiftContainer(
            Exchange(session, credentials=user, patience=patience, explain=explain),
            container=location.container,
            prefix=location.prefix,
            largest_object_bytes=options.maximum_chunk_size_mb << 20,
        )
        key = location.temp_url_key if sends_clients_there else None
        yield BucketBlobs(
            container,
            layout=Layout(
                prefix=location.prefix,
                part_bytes=options.minimum_chunk_size_mb << 20,
                copy_bytes=options.maximum_chunk_size_mb << 20,
                joins=False,
            ),
            sign_url=None
            if key is None
            else _signer(
                location,
                ask=partial(patience.call, "authenticate", user.account),
                key=key,
                clock=clock or SystemClock(),
            ),
        )


def _signer(
    location: SwiftLocation, *, ask: Callable[[], Awaitable[Account]], key: str, clock: Clock
) -> SignUrl:
    """Return what makes links. Swift documentation, "Temporary URL middleware"."""
    options = location.options
    lifetime = timedelta(seconds=options.link_expiry_seconds)

    async def sign(name: str) -> str:
        account = (await ask()).url
        until = int((clock.now() + lifetime).timestamp())
        path = f"{urlsplit(account).path}/{quote(location.container)}/{quote(name)}"
        text = f"GET\n{until}\n{unquote(path)}"
        signature = hmac.digest(key.encode(), text.encode(), options.temp_url_digest).hex()
        base = options.public_endpoint_url or account.removesuffix(urlsplit(account).path)
        query = f"temp_url_sig={signature}&temp_url_expires={until}"
        return f"{base.rstrip('/')}{path}?{query}"

    return sign

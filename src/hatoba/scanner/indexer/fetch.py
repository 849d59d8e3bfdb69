"""Get a layer: over HTTP, to a temporary file, proven to be what its digest names."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog
from multidict import CIMultiDict

from hatoba.kernel.digests import Digest
from hatoba.net.http import RETRIED_STATUSES
from hatoba.net.retries import pause_before
from hatoba.scanner.indexer.errors import LayerMismatch, LayerTooLarge, LayerUnreachable
from hatoba.scanner.metrics import LAYER_BYTES
from hatoba.scanner.models import Layer

ATTEMPTS: Final = 3
CHUNK_BYTES: Final = 1 << 20
MAXIMUM_LAYER_BYTES: Final = 20 << 30
LONGEST_SECONDS: Final = 540
"""Below the 600 s for which Quay waits for an index report."""

log = structlog.get_logger()


class LayerFetcher:
    """Fetches layers with one HTTP session."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        limit: int = MAXIMUM_LAYER_BYTES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._session = session
        self._limit = limit
        self._sleep = sleep

    async def fetch(self, layer: Layer, *, digest: Digest, to: Path) -> None:
        """Write a layer to a file.

        Raises:
            LayerUnreachable: the URI cannot be used, refuses, or does not answer in time.
            LayerMismatch: other bytes than the digest names.
            LayerTooLarge: more bytes than are taken.
        """
        if urlsplit(layer.uri).scheme not in {"http", "https"}:
            raise LayerUnreachable(f"layer {digest} has a URI that is neither http nor https")
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                for attempt in range(1, ATTEMPTS):
                    if await self._try(layer, digest=digest, to=to, is_last=False):
                        return
                    await self._sleep(pause_before(attempt))
                await self._try(layer, digest=digest, to=to, is_last=True)
        except TimeoutError as error:
            raise LayerUnreachable(
                f"layer {digest} did not arrive within {LONGEST_SECONDS} seconds"
            ) from error

    async def _try(self, layer: Layer, *, digest: Digest, to: Path, is_last: bool) -> bool:
        """Fetch once; False when it failed in a way that may pass."""
        headers = CIMultiDict(
            (name, value) for name, values in (layer.headers or {}).items() for value in values
        )
        try:
            async with self._session.get(layer.uri, headers=headers) as response:
                if response.status in RETRIED_STATUSES and not is_last:
                    return False
                if response.status != 200:
                    raise LayerUnreachable(
                        f"layer {digest}: its registry answered {response.status}"
                    )
                await self._receive(response, digest=digest, to=to)
                return True
        except (aiohttp.ClientError, OSError) as error:
            # Not the error's text: it may hold the URI, and with it a signature.
            log.info("layer fetch failed", digest=str(digest), reason=type(error).__name__)
            if not is_last:
                return False
            raise LayerUnreachable(
                f"layer {digest} cannot be fetched: {type(error).__name__}"
            ) from error

    async def _receive(self, response: aiohttp.ClientResponse, *, digest: Digest, to: Path) -> None:
        hasher = hashlib.new(digest.algorithm)
        size = 0
        with to.open("wb") as file:
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                size += len(chunk)
                if size > self._limit:
                    raise LayerTooLarge(f"layer {digest} has more than {self._limit} bytes")
                hasher.update(chunk)
                file.write(chunk)
        LAYER_BYTES.inc(size)
        if hasher.hexdigest() != digest.hex:
            raise LayerMismatch(f"layer {digest}: the bytes fetched have another digest")

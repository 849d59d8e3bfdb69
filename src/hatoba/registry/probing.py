"""`hatoba registry probe`: do the neighbours that a configuration names answer, and how not.

The operator runs this as a Job before it rolls out a registry whose database, Redis, storage or
scanner is somebody else's: with the registry's own drivers, from where its pods will run. The last
line is what a person reads in the status of the QuayRegistry, so it names what is wrong in full.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from hatoba.config.loader import Configuration
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.errors import HatobaError
from hatoba.net.authorities import trusted_authorities
from hatoba.registry.blobs.opening import open_blobs
from hatoba.registry.scanning.client import ClairScanner
from hatoba.sql.engine import open_database

DEADLINE_SECONDS: Final = 30.0
"""For all attempts of a driver, so that it is its words that are told, not this limit."""


async def probe(configuration: Configuration, parts: Iterable[str]) -> dict[str, str]:
    """Ask each part; return part -> what is wrong, nothing for those that work."""
    wanted = list(parts)
    answers = await asyncio.gather(*(_ask(PROBES[part], configuration) for part in wanted))
    return {part: fault for part, fault in zip(wanted, answers, strict=True) if fault}


async def _ask(question: Callable[[Configuration], Awaitable[None]], found: Configuration) -> str:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await question(found)
    except TimeoutError:
        return f"no answer within {DEADLINE_SECONDS:.0f} s"
    except HatobaError as error:
        cause = _cause(error)
        return f"{error.message}{f' ({_words(cause)})' if cause is not None else ''}"
    except (RedisError, SQLAlchemyError, OSError) as error:
        return _words(error)
    return ""


def _cause(error: BaseException) -> BaseException | None:
    """Return what an error comes from.

    Of calls that is why nobody was reached, which names a host and no path that may be signed.
    """
    found = error.__cause__
    while found is not None and not isinstance(found, aiohttp.ClientConnectorError):
        found = found.__cause__
    return found or error.__cause__


def _words(error: BaseException) -> str:
    """Return the first line of an error: further ones repeat statements."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


async def _postgres(configuration: Configuration) -> None:
    settings = configuration.settings
    database = open_database(settings.db_uri, connection_arguments=settings.db_connection_args)
    try:
        async with database.read() as connection:
            await connection.execute(text("SELECT 1"))
    finally:
        await database.close()


async def _redis(configuration: Configuration) -> None:
    settings = configuration.settings
    for server in filter(None, (settings.user_events_redis, settings.buildlogs_redis)):
        client = Redis(
            host=server.host,
            port=server.port,
            password=server.password,
            db=server.db,
            ssl=server.ssl,
        )
        try:
            await client.ping()
        finally:
            await client.aclose()


async def _storage(configuration: Configuration) -> None:
    async with open_blobs(configuration) as blobs:
        await blobs.check()


async def _scanner(configuration: Configuration) -> None:
    settings = configuration.settings
    if not settings.security_scanner_v4_endpoint:
        return
    scanner = ClairScanner.connect(
        endpoint=settings.security_scanner_v4_endpoint,
        psk=settings.security_scanner_v4_psk,
        clock=SystemClock(),
        tls=trusted_authorities(configuration.directory),
    )
    await scanner.state()


PROBES: Final[Mapping[str, Callable[[Configuration], Awaitable[None]]]] = {
    "postgres": _postgres,
    "redis": _redis,
    "objectstorage": _storage,
    "clair": _scanner,
}
"""By component of a QuayRegistry."""

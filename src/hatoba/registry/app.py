"""The composition root of the registry: configuration -> services -> ASGI application.

Nothing is built anywhere else. `serve_application` and `serve_duties` are what the supervisor
runs in its workers, after the fork.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.types import ASGIApp

from hatoba.config.loader import Configuration
from hatoba.config.schema import QuayConfig
from hatoba.kernel.clock import Clock, SystemClock
from hatoba.registry.access import store as access_store
from hatoba.registry.accounts.matches import SharedMatches
from hatoba.registry.accounts.secrets import derive_key
from hatoba.registry.api.app import api_routes
from hatoba.registry.blobs.driver import BlobDriver
from hatoba.registry.blobs.opening import disk_of, open_blobs, written_location
from hatoba.registry.content.backfill import Backfill
from hatoba.registry.content.catalog import Catalog, Reach
from hatoba.registry.content.configs import config_reader
from hatoba.registry.content.holdings import Holdings
from hatoba.registry.content.invalidation import (
    CHANGED,
    DELETED,
    announce_change,
    follow_changes,
)
from hatoba.registry.content.ledger_prepared import open_ledger
from hatoba.registry.content.listings import Listings
from hatoba.registry.content.manifests import Manifests
from hatoba.registry.content.models import CACHE_SECONDS, ContentPolicy
from hatoba.registry.content.resolver import PreparedTagResolver, SqlTagResolver, TagResolver
from hatoba.registry.content.shelf import Shelf, make_caches
from hatoba.registry.content.upload_ids import UploadIds
from hatoba.registry.content.uploads import Uploads
from hatoba.registry.db.lookups import load_lookups
from hatoba.registry.db.standing import require_schema
from hatoba.registry.db.tables.hatoba import leases
from hatoba.registry.health import Check, Health
from hatoba.registry.pools import TAGS, share
from hatoba.registry.retention.models import RetentionPolicy, ScrubMode, ScrubPolicy
from hatoba.registry.retention.scrub import Scrubber
from hatoba.registry.retention.service import Collector
from hatoba.registry.rooms import Rooms, open_rooms
from hatoba.registry.v2.app import V2Application
from hatoba.registry.v2.services import V2Services, V2Settings
from hatoba.registry.web.desk import TokenDesk
from hatoba.registry.web.routes import open_sessions, web_routes
from hatoba.serving.asgi import Application, Message, Receive, Scope, Send, answer
from hatoba.sql.clock import DatabaseClock
from hatoba.sql.engine import Database, open_database
from hatoba.sql.leases import Leases
from hatoba.sql.prepared import BY_INDEX, Questions, open_questions

log = structlog.get_logger()

FLUSH_SECONDS: Final = 1.0
"""Between two writings of audit rows: what a process that is killed loses of them."""
LARGEST_PAGE: Final = 100
UNCHANGING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
SQLITE_CACHE_SECONDS: Final = 5.0
"""Without NOTIFY other processes learn of a deletion by the age of what they remember alone."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Services:
    """Everything that the edges and duties of one process use."""

    settings: QuayConfig
    clock: Clock
    database: Database
    blobs: BlobDriver
    rooms: Rooms
    shelf: Shelf
    manifests: Manifests
    uploads: Uploads
    holdings: Holdings
    backfill: Backfill
    listings: Listings
    catalog: Catalog
    collector: Collector
    scrubber: Scrubber
    health: Health


@asynccontextmanager
async def open_services(
    configuration: Configuration,
    *,
    clock: Clock | None = None,
    is_draining: Callable[[], bool] = lambda: False,
    matches: SharedMatches | None = None,
) -> AsyncIterator[Services]:
    """Connect and build; on leaving, write what waits and close everything.

    `matches` is what the workers of one parent share of the passwords that they compared.

    Raises:
        StorageMissing: no location is configured.
        DatabaseNotMigrated: tables are missing.
        DatabaseUnavailable: the database does not answer.
    """
    settings = configuration.settings
    async with AsyncExitStack() as stack:
        rooms, shelf = await _open_shelf(stack, configuration, clock=clock, matches=matches)
        resolver = await _resolver(stack, shelf.database, clock=shelf.clock)
        # Runs last but for the database's closing: what waits must be written before that.
        stack.push_async_callback(rooms.audit.flush)
        await stack.enter_async_context(_background(_flush_forever(rooms)))
        if shelf.database.is_postgresql:
            forget = {DELETED: shelf.caches.clear, CHANGED: rooms.issued.clear}
            following = follow_changes(shelf.database, forget)
            await stack.enter_async_context(_background(following))
        yield Services(
            settings=settings,
            clock=shelf.clock,
            database=shelf.database,
            blobs=shelf.blobs,
            rooms=rooms,
            shelf=shelf,
            manifests=Manifests(shelf=shelf, resolver=resolver),
            uploads=Uploads(shelf=shelf),
            holdings=Holdings(shelf=shelf),
            backfill=Backfill(shelf=shelf),
            listings=Listings(shelf=shelf),
            catalog=_catalog(shelf, settings),
            collector=_collector(shelf, settings),
            scrubber=_scrubber(shelf, settings),
            health=_health(shelf, rooms, is_draining=is_draining),
        )


async def _common_clock(stack: AsyncExitStack, database: Database) -> Clock:
    """Return the clock that all replicas share; SQLite's are on one machine."""
    local = SystemClock()
    if not database.is_postgresql:
        return local
    clock = DatabaseClock(local)
    await clock.ask(database)
    await stack.enter_async_context(_background(clock.follow(database)))
    return clock


async def _open_shelf(
    stack: AsyncExitStack,
    configuration: Configuration,
    *,
    clock: Clock | None,
    matches: SharedMatches | None,
) -> tuple[Rooms, Shelf]:
    settings = configuration.settings
    location, _ = written_location(settings)
    pools = share(settings.database_connections)
    database = open_database(
        settings.db_uri,
        pool_size=pools.rest,
        overflow=0,
        connection_arguments=settings.db_connection_args,
    )
    stack.push_async_callback(database.close)
    await require_schema(database)
    if clock is None:
        clock = await _common_clock(stack, database)
    lookups = await load_lookups(database)
    blobs = await stack.enter_async_context(open_blobs(configuration))
    rooms = open_rooms(
        settings,
        database=database,
        lookups=lookups,
        clock=clock,
        read_config=config_reader(blobs),
        matches=matches,
        directory=configuration.directory,
    )
    policy = _policy(settings, location=location, is_postgresql=database.is_postgresql)
    ledger = await stack.enter_async_context(
        open_ledger(database, audit=rooms.audit, location=policy.location, connections=pools.pushes)
    )
    shelf = Shelf(
        database=database,
        blobs=blobs,
        lookups=lookups,
        audit=rooms.audit,
        clock=clock,
        caches=make_caches(clock, lifetime_seconds=policy.cache_seconds),
        ledger=ledger,
        upload_ids=UploadIds.of_secret(derive_key(settings.secret_key)),
        policy=policy,
        questions=await _questions(stack, database, connections=pools.lists),
    )
    return rooms, shelf


async def _questions(
    stack: AsyncExitStack, database: Database, *, connections: int
) -> Questions | None:
    if not database.is_postgresql:
        return None
    return await stack.enter_async_context(open_questions(database, connections=connections))


def _health(shelf: Shelf, rooms: Rooms, *, is_draining: Callable[[], bool]) -> Health:
    return Health(
        database=shelf.database,
        blobs=shelf.blobs,
        keys=rooms.keys,
        clock=shelf.clock,
        data_directory=disk_of(rooms.settings),
        is_draining=is_draining,
        redis=_redis_check(rooms.settings),
        scanner=None if rooms.scanning is None else rooms.scanning.is_reachable,
    )


def make_application(services: Services) -> Application:
    """Return the ASGI application of a worker: `/v2` and probes at once, the rest by Starlette."""
    rooms, settings = services.rooms, services.settings
    v2 = V2Application(services=_v2_services(services))
    offers_initialize = settings.feature_user_initialize
    rest = Starlette(
        routes=[*api_routes(offers_initialize=offers_initialize), *web_routes()],
    )
    rest.state.rooms = rooms
    rest.state.sessions = open_sessions(rooms)
    rest.state.services = services
    return _dispatcher(services, v2=v2, rest=rest)


def _dispatcher(services: Services, *, v2: V2Application, rest: ASGIApp) -> Application:
    health, desk = services.health, TokenDesk(rooms=services.rooms, rest=rest)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == "/v2/auth":
            await desk(scope, receive, send)
        elif path.startswith("/v2/"):
            await v2(scope, receive, send)
        elif path.startswith("/health") or path == "/status":
            await health(scope, receive, send)
        elif path == "/v2":
            await _redirect(send, location=b"/v2/")
        elif path in {"/_internal_ping", "/v1/_ping", "/v1/_internal_ping"}:
            await answer(send, status=200, body=b"true")
        elif scope["method"] in UNCHANGING:
            await rest(scope, receive, send)
        else:
            await rest(scope, receive, _telling(services, scope, send))

    return dispatch


def _telling(services: Services, scope: Scope, send: Send) -> Send:
    """Tell of a change before its caller is answered: what he asks next has to know of it."""

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            await _tell_of_change(services, was_deletion=scope["method"] == "DELETE")
        await send(message)

    return telling


async def _tell_of_change(services: Services, *, was_deletion: bool) -> None:
    """Forget what a call of the API may have made untrue, here and in other processes."""
    services.rooms.issued.clear()
    channels = [CHANGED]
    if was_deletion:
        services.shelf.caches.clear()
        channels.append(DELETED)
    await announce_change(services.database, *channels)


async def _redirect(send: Send, *, location: bytes) -> None:
    headers = [(b"location", location), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 308, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _v2_services(services: Services) -> V2Services:
    settings = services.settings
    return V2Services(
        settings=V2Settings(
            hostname=settings.server_hostname,
            scheme=settings.preferred_url_scheme,
            library=settings.library_namespace if settings.feature_library_support else None,
            page_size=max(settings.v2_pagination_size, LARGEST_PAGE),
            maximum_manifest_bytes=settings.maximum_manifest_size,
            maximum_ranges=settings.maximum_ranges_per_request,
            accepts_pushes=not settings.disable_pushes,
            is_readonly=settings.registry_state != "normal",
            allows_anonymous=settings.feature_anonymous_access,
            offers_referrers=settings.feature_referrers_api,
        ),
        verifier=services.rooms.verifier,
        manifests=services.manifests,
        uploads=services.uploads,
        holdings=services.holdings,
        listings=services.listings,
        catalog=services.catalog,
    )


def _policy(settings: QuayConfig, *, location: str, is_postgresql: bool) -> ContentPolicy:
    return ContentPolicy(
        hold_lifetime=timedelta(seconds=settings.push_temp_tag_expiration_sec),
        upload_lifetime=settings.upload_lifetime,
        sweep_margin=settings.upload_sweep_margin,
        maximum_blob_bytes=settings.maximum_layer_bytes,
        maximum_manifest_bytes=settings.maximum_manifest_size,
        location=location,
        cache_seconds=CACHE_SECONDS if is_postgresql else SQLITE_CACHE_SECONDS,
    )


async def _resolver(stack: AsyncExitStack, database: Database, *, clock: Clock) -> TagResolver:
    if not database.is_postgresql:
        return SqlTagResolver(database=database, clock=clock)
    # One connection: those who wait for it are asked for together.
    questions = await stack.enter_async_context(
        open_questions(database, connections=TAGS, preparation=BY_INDEX)
    )
    return PreparedTagResolver(questions=questions, clock=clock)


def _collector(shelf: Shelf, settings: QuayConfig) -> Collector:
    batch = settings.garbage_collection_batch
    policy = RetentionPolicy(
        quarantine=settings.garbage_collection_quarantine,
        tags_per_batch=batch,
        manifests_per_batch=2 * batch,
    )
    return Collector(shelf=shelf, policy=policy)


def _scrubber(shelf: Shelf, settings: QuayConfig) -> Scrubber:
    policy = ScrubPolicy(
        mode=ScrubMode(settings.storage_scrub_mode),
        bytes_per_second=settings.storage_scrub_rate,
        orphan_grace=settings.storage_scrub_orphan_grace,
        interval=settings.storage_scrub_interval,
    )
    holding = Leases(database=shelf.database, table=leases, clock=shelf.clock)
    return Scrubber(shelf=shelf, leases=holding, policy=policy)


def _catalog(shelf: Shelf, settings: QuayConfig) -> Catalog:
    async def reach(account_id: int) -> Reach:
        async with shelf.database.read() as connection:
            found = await access_store.reach_of(connection, account_id=account_id)
        return Reach(namespaces=found.administered, repositories=found.repositories)

    return Catalog(shelf=shelf, reach=reach, shows_public=settings.feature_public_catalog)


def _redis_check(settings: QuayConfig) -> Check:
    server = settings.user_events_redis or settings.buildlogs_redis

    async def check() -> bool:
        if server is None:
            return True
        client = Redis(
            host=server.host,
            port=server.port,
            password=server.password,
            db=server.db,
            ssl=server.ssl,
            socket_timeout=2,
            socket_connect_timeout=2,
        )
        try:
            return bool(await client.ping())
        except RedisError:
            return False
        finally:
            await client.aclose()

    return check


async def _flush_forever(rooms: Rooms) -> None:
    """Write audit rows of pulls every second; the last ones are written on leaving."""
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        try:
            await rooms.audit.flush()
        except Exception:
            log.exception("audit rows could not be written")


@asynccontextmanager
async def _background(coroutine: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

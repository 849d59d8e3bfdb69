"""Composition root: settings to services, services to the application and the duties.

Nothing is built anywhere else. `serving` calls the factories in the processes it forks.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hatoba.kernel.clock import Clock, SystemClock
from hatoba.kernel.errors import HatobaError
from hatoba.net.http import HttpClient, open_session
from hatoba.scanner.api.answers import on_crash, on_error
from hatoba.scanner.api.indexer import IndexerApi
from hatoba.scanner.api.matcher import MatcherApi
from hatoba.scanner.authentication import TokenVerifier
from hatoba.scanner.indexer.fetch import LayerFetcher
from hatoba.scanner.indexer.service import Indexer
from hatoba.scanner.indexer.store import IndexStore
from hatoba.scanner.matcher.service import Matcher
from hatoba.scanner.matcher.store import AdvisoryStore
from hatoba.scanner.settings import ScannerSettings
from hatoba.scanner.tables import LEASES
from hatoba.scanner.updaters.service import UpdateService
from hatoba.scanner.updaters.sources import SETS, configured_updaters
from hatoba.scanner.updaters.store import UpdateStore
from hatoba.serving.asgi import Application, Receive, Scope, Send
from hatoba.sql.engine import Database, open_database
from hatoba.sql.leases import Leases

OPEN_PATHS: Final = frozenset({"/robots.txt"})

log = structlog.get_logger()


@dataclass(slots=True, frozen=True, kw_only=True)
class Services:
    """Everything that a process of the scanner works with."""

    indexer: Indexer
    matcher: Matcher
    updates: UpdateStore
    updating: UpdateService
    verifier: TokenVerifier


@contextlib.asynccontextmanager
async def open_services(
    settings: ScannerSettings, *, clock: Clock | None = None
) -> AsyncIterator[Services]:
    """Open databases and sessions, and close them at the end."""
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        opened: dict[str, Database] = {}
        for uri in (settings.indexer.connstring, settings.matcher.connstring):
            if uri not in opened:
                opened[uri] = open_database(uri)
                stack.push_async_callback(opened[uri].close)
        indexing = opened[settings.indexer.connstring]
        matching = opened[settings.matcher.connstring]
        # Layers lie where the registry says, inside the cluster: private addresses are its own.
        session = await stack.enter_async_context(open_session(allow_private=True))
        updates = UpdateStore(matching, clock=clock)
        yield Services(
            indexer=Indexer(
                store=IndexStore(indexing, clock=clock),
                fetcher=LayerFetcher(session),
                leases=Leases(database=indexing, table=LEASES, clock=clock),
                clock=clock,
                layer_concurrency=settings.indexer.layer_scan_concurrency,
                request_limit=settings.indexer.index_report_request_concurrency,
            ),
            matcher=Matcher(advisories=AdvisoryStore(matching)),
            updates=updates,
            updating=UpdateService(
                store=updates,
                leases=Leases(database=matching, table=LEASES, clock=clock),
                clock=clock,
                updaters=configured_updaters(_updater_sets(settings), HttpClient(session=session)),
                period=settings.matcher.period,
                retention=settings.matcher.update_retention,
            ),
            verifier=TokenVerifier(psk=settings.auth.psk, clock=clock),
        )


def _updater_sets(settings: ScannerSettings) -> dict[str, dict[str, Any]]:
    """Return the configuration of each set that is to run; unknown ones are told once."""
    if settings.matcher.disable_updaters:
        return {}
    wanted = SETS if settings.updaters.sets is None else settings.updaters.sets
    for name in wanted:
        if name not in SETS:
            log.warning("updater set is not supported", set=name)
    return {name: settings.updaters.config.get(name, {}) for name in wanted if name in SETS}


def make_application(services: Services, settings: ScannerSettings) -> Application:
    """Build the ASGI application."""
    matcher = MatcherApi(
        indexer=services.indexer,
        matcher=services.matcher,
        updates=services.updates,
        cache_age=settings.matcher.cache_age,
    )
    routes = [
        *IndexerApi(services.indexer).routes(),
        *matcher.routes(),
        Route("/robots.txt", _robots, methods=["GET"]),
    ]
    inner = Starlette(
        routes=routes,
        exception_handlers={
            HatobaError: on_error,
            HTTPException: on_error,
            Exception: on_crash,
        },
    )
    # "/indexer/.../index_report/" is another path than without the slash, as with Clair.
    inner.router.redirect_slashes = False
    return _guarded(inner, services.verifier)


def _guarded(inner: Starlette, verifier: TokenVerifier) -> Application:
    """Let nobody past without a token, whatever the path: unknown paths tell nothing either."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            request = Request(scope)
            try:
                verifier.check(request.headers.get("authorization", ""))
            except HatobaError as error:
                response = await on_error(request, error)
                await response(scope, receive, send)
                return
        await inner(scope, receive, send)

    return guarded


async def _robots(_request: Request) -> Response:
    return PlainTextResponse("User-agent: *\nDisallow: /\n")

"""The routes of /api/v1, put together from the tables of the resources.

`api_routes` is mounted by the composition root. A path that no row has is answered in the API's
own shape; a path that differs by its last slash is redirected, as in Quay.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hatoba.registry.api import (
    application,
    apptoken,
    label,
    logs,
    manifest,
    mirror,
    organization,
    permission,
    prototype,
    repository,
    robot,
    security,
    signin,
    starred,
    superuser,
    tag,
    team,
    user,
)
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.call import Row, serve
from hatoba.registry.api.initialize import initialize
from hatoba.registry.api.problems import problem
from hatoba.registry.rooms import Rooms

ROWS: Final[tuple[Row, ...]] = (
    *user.ROWS,
    *starred.ROWS,
    *apptoken.ROWS,
    *superuser.ROWS,
    *signin.ROWS,
    *organization.ROWS,
    *team.ROWS,
    *robot.ROWS,
    *prototype.ROWS,
    *application.ROWS,
    *mirror.ROWS,
    *logs.ROWS,
    *permission.ROWS,
    *tag.ROWS,
    *security.ROWS,
    *label.ROWS,
    *manifest.ROWS,
    *repository.ROWS,
    *repository.LAST_ROWS,
)
CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS, POST, DELETE, PUT",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Requested-With",
}


def api_routes(*, offers_initialize: bool) -> list[BaseRoute]:
    """Return the routes; the application's state needs `rooms` and `sessions`."""
    routes = [Route(row.path, _endpoint(row), methods=[row.method]) for row in ROWS]
    if offers_initialize:
        routes.insert(0, Route("/user/initialize", initialize, methods=["POST"]))
    return [Mount("/api/v1", app=Api(tuple(routes)))]


def _endpoint(row: Row) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await serve(row, request)

    return endpoint


@dataclass(slots=True, frozen=True)
class Api:
    """Finds the route of a request; every answer carries the headers that browsers ask for."""

    routes: tuple[Route, ...]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request (ASGI)."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(CORS)
            await send(message)

        app = self._choose(scope)
        await app(scope, receive, send_with_headers)

    def _choose(self, scope: Scope) -> ASGIApp:
        if scope["method"] == "OPTIONS":
            return JsonAnswer(None)
        other_method = False
        for route in self.routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                return route.handle
            other_method = other_method or match is Match.PARTIAL
        if other_method:
            message = "The method is not allowed for the requested URL."
            return JsonAnswer({"message": message}, status_code=405)
        return self._redirect(scope) or self._nothing_here(scope)

    def _redirect(self, scope: Scope) -> Response | None:
        """Return the way to the same path with a slash, where that is a route."""
        if scope["path"].endswith("/"):
            return None
        slashed = {**scope, "path": scope["path"] + "/"}
        if all(route.matches(slashed)[0] is Match.NONE for route in self.routes):
            return None
        return RedirectResponse(Request(slashed).url, status_code=308)

    @staticmethod
    def _nothing_here(scope: Scope) -> Response:
        rooms: Rooms = scope["app"].state.rooms
        settings = rooms.settings
        return problem(
            base_url=f"{settings.preferred_url_scheme}://{settings.server_hostname}",
            status=404,
            kind="not_found",
            detail="Not Found",
        )

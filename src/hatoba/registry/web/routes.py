"""The routes of this edge: the token service, CSRF tokens, the public configuration."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hatoba.registry.accounts.secrets import derive_key
from hatoba.registry.rooms import Rooms
from hatoba.registry.web.auth import issue_token
from hatoba.registry.web.sessions import Sessions


def open_sessions(rooms: Rooms) -> Sessions:
    """Return the sessions that SECRET_KEY signs."""
    settings = rooms.settings
    return Sessions(
        key=derive_key(settings.secret_key),
        clock=rooms.clock,
        lifetime=settings.session_timeout,
        # A browser that came by HTTPS must not tell its session to anybody without.
        is_secure=settings.session_cookie_secure or settings.preferred_url_scheme == "https",
    )


async def csrf_token(request: Request) -> Response:
    """Quay: GET /csrf_token."""
    sessions: Sessions = request.app.state.sessions
    session = sessions.guard(sessions.read(request))
    response = JSONResponse({"csrf_token": session.csrf_token})
    sessions.write(response, session)
    return response


SHOWN_KEYS = (
    "authentication_type",
    "avatar_kind",
    "registry_title",
    "registry_title_short",
    "server_hostname",
    "preferred_url_scheme",
    "enterprise_logo_url",
    "registry_state",
    "library_namespace",
    "default_tag_expiration",
    "tag_expiration_options",
    "testing",
)


async def public_configuration(request: Request) -> Response:
    """Quay: GET /config: what the console needs to know; never a secret."""
    rooms: Rooms = request.app.state.rooms
    values = rooms.settings.model_dump(mode="json")
    features = {
        name.removeprefix("feature_").upper(): value
        for name, value in values.items()
        if name.startswith("feature_")
    }
    config = {name.upper(): values[name] for name in SHOWN_KEYS}
    body = {
        "config": config,
        "features": features,
        "oauth": {},
        "external_login": [],
        "registry_state": values["registry_state"],
    }
    return JSONResponse(body)


def web_routes() -> list[BaseRoute]:
    """Return the routes; the application's state needs `rooms` and `sessions`."""
    return [
        Route("/v2/auth", issue_token, methods=["GET"]),
        Route("/csrf_token", csrf_token, methods=["GET"]),
        Route("/config", public_configuration, methods=["GET"]),
    ]

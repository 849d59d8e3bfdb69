"""One call of /api/v1: who asks, whether he may, what is answered.

A row of a route table says method, path, what the caller needs, and which handler serves it; there
is no other way to add a route, so that none can be open by omission. The order of checks is Quay's:
forged request, anonymous access, browser rule, permission; then the handler, which reads its body.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeVar

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hatoba.kernel.clock import milliseconds
from hatoba.kernel.errors import HatobaError, RateLimited
from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.kernel.text import is_storable
from hatoba.registry.access.errors import AuthenticationRequired, PermissionDenied
from hatoba.registry.access.models import Identity, Role
from hatoba.registry.access.scopes import Scope
from hatoba.registry.access.service import RepositoryFacts
from hatoba.registry.accounts.errors import TooManyLogins
from hatoba.registry.accounts.models import Account
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.bodies import parse_body, read_body
from hatoba.registry.api.problems import (
    BadParameter,
    FreshLoginRequired,
    HiddenNotFound,
    PlainBadRequest,
    answer,
)
from hatoba.registry.repositories.models import Repository
from hatoba.registry.rooms import Rooms
from hatoba.registry.web.identify import identify
from hatoba.registry.web.sessions import Session, Sessions

Body = TypeVar("Body")
log = structlog.get_logger()

LARGEST_NUMBER = (1 << 31) - 1
"""The largest number in a query: what PostgreSQL's integers hold."""
READ_ONLY_MESSAGE = (
    "System is currently read-only. Pulls will succeed but all write operations are currently"
    " suspended."
)


class Needs(Enum):
    """What a caller needs for a route."""

    NOTHING = auto()
    SIGNED_IN = auto()
    """An account, with any scope."""
    USER_READ = auto()
    USER_ADMIN = auto()
    SUPERUSER = auto()
    ORG_ADMIN = auto()
    """Administration of the organization in the path."""
    ORG_MEMBER = auto()
    """Membership in the organization in the path."""
    ORG_ANY = auto()
    """The organization in the path exists; the handler shows more to members."""
    REPO_READ = auto()
    REPO_WRITE = auto()
    REPO_ADMIN = auto()


ROLE_NEEDED = {
    Needs.REPO_READ: Role.READ,
    Needs.REPO_WRITE: Role.WRITE,
    Needs.REPO_ADMIN: Role.ADMIN,
}
SCOPE_NEEDED = {Needs.USER_READ: Scope.READ_USER, Needs.USER_ADMIN: Scope.ADMIN_USER}


@dataclass(slots=True, kw_only=True)
class Call:
    """A request with everything that a handler needs."""

    request: Request
    rooms: Rooms
    sessions: Sessions
    session: Session
    identity: Identity
    by_token: bool
    """The caller sent a valid OAuth token, so no browser can have been tricked into this."""
    _organization: Account | None = None
    _repository: Repository | None = None
    role: Role = Role.NONE
    """The caller's role in the repository of the path."""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def account(self) -> Account:
        """The account that calls; only for routes that need one."""
        if self.identity.account is None:
            raise AuthenticationRequired
        return self.identity.account

    @property
    def organization(self) -> Account:
        """The organization of the path; only for ORG_* routes."""
        assert self._organization is not None, "the route's row asks for no organization"
        return self._organization

    @property
    def repository(self) -> Repository:
        """The repository of the path; only for REPO_* routes."""
        assert self._repository is not None, "the route's row asks for no repository"
        return self._repository

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a query parameter that is true or false."""
        text = self.request.query_params.get(name)
        if text is None:
            return default
        return text.lower() in {"true", "1", "on", "yes", "t", ""}

    def number(self, name: str, *, default: int, help_text: str) -> int:
        """Return a query parameter that is a number.

        Raises:
            BadParameter: it is none.
        """
        text = self.request.query_params.get(name)
        if text is None:
            return default
        try:
            number = int(text)
        except ValueError as error:
            raise BadParameter(name=name, help_text=help_text) from error
        if abs(number) > LARGEST_NUMBER:
            raise BadParameter(name=name, help_text=help_text)
        return number

    async def body(self, into: type[Body]) -> Body:
        """Return the JSON body."""
        raw = await read_body(self.request)
        content_type = self.request.headers.get("content-type", "")
        return parse_body(raw, content_type=content_type, into=into)

    async def optional_body(self, into: type[Body]) -> Body:
        """Return the JSON body; an empty object where none was sent."""
        raw = await read_body(self.request)
        if not raw:
            return parse_body(b"{}", content_type="application/json", into=into)
        content_type = self.request.headers.get("content-type", "")
        return parse_body(raw, content_type=content_type, into=into)

    def require_fresh_login(self) -> None:
        """Do nothing for a token or a login of the last minutes.

        Raises:
            FreshLoginRequired: the login is older than FRESH_LOGIN_TIMEOUT.
        """
        if self.by_token:
            return
        age = milliseconds(self.rooms.clock.now()) / 1000 - self.session.login_time
        if age > self.rooms.settings.fresh_login_timeout.total_seconds():
            raise FreshLoginRequired


Handler = Callable[[Call], Awaitable[Response | JsonValue]]


@dataclass(slots=True, frozen=True)
class Row:
    """One route. The path is below /api/v1."""

    method: str
    path: str
    handler: Handler
    needs: Needs
    open_without_login: bool = False
    """Served although FEATURE_ANONYMOUS_ACCESS is off."""
    is_login: bool = False
    """Served although the registry is read-only."""
    is_fresh: bool = False
    """Needs a login of the last minutes."""
    takes_basic: bool = False
    """Accepts image clients' credentials, too."""


async def serve(row: Row, request: Request) -> Response:
    """Answer a request by a row of the table."""
    rooms: Rooms = request.app.state.rooms
    sessions: Sessions = request.app.state.sessions
    base_url = f"{rooms.settings.preferred_url_scheme}://{rooms.settings.server_hostname}"
    try:
        identity, session, by_token = await identify(
            request, rooms=rooms, sessions=sessions, takes_basic=row.takes_basic
        )
        call = Call(
            request=request,
            rooms=rooms,
            sessions=sessions,
            session=session,
            identity=identity,
            by_token=by_token,
        )
        refusal = _refuse(call, row)
        if refusal is not None:
            return refusal
        _check_texts(request)
        await _permit(call, row)
        if row.is_fresh:
            call.require_fresh_login()
        result = await row.handler(call)
    except TooManyLogins as error:
        return PlainTextResponse(
            error.message, status_code=429, headers={"Retry-After": str(error.retry_after_seconds)}
        )
    except HatobaError as error:
        extra: JsonObject | None = None
        if isinstance(error, AuthenticationRequired) and row.path == "/user/":
            extra = {"session_required": False}
        if not isinstance(error, RateLimited):
            log.debug("call refused", path=request.url.path, reason=type(error).__name__)
        return answer(error, base_url=base_url, extra=extra)
    return result if isinstance(result, Response) else JsonAnswer(result)


def _check_texts(request: Request) -> None:
    """Do nothing where path and query can be looked up in the database.

    Raises:
        HiddenNotFound, BadParameter: they hold what no name can.
    """
    if not is_storable(request.scope["path"]):
        raise HiddenNotFound("No name holds such a character")
    for name, value in request.query_params.multi_items():
        if not is_storable(value):
            raise BadParameter(name=name, help_text="Texts must be Unicode without NUL")


def _refuse(call: Call, row: Row) -> Response | None:
    """Return the answer to a call that is refused before anything is looked at."""
    request, settings = call.request, call.rooms.settings
    changes = request.method not in {"GET", "HEAD", "OPTIONS"}
    if changes and not call.by_token and not call.sessions.accepts(request, call.session):
        message = "CSRF token was invalid or missing."
        if call.identity.account is not None:
            message += f" (authorized: user {call.identity.account.username})"
        return _old_refusal(message, status=403)
    if (
        not settings.feature_anonymous_access
        and call.identity.is_anonymous
        and not row.open_without_login
    ):
        return _old_refusal("Anonymous access is not allowed", status=401)
    if settings.browser_api_calls_xhr_only and not changes and _is_bare_browser(request):
        return _old_refusal(
            "API calls must be invoked with an X-Requested-With header if called from a browser",
            status=400,
        )
    if changes and settings.registry_state == "readonly" and not row.is_login:
        return JsonAnswer({"message": READ_ONLY_MESSAGE, "is_readonly": True}, status_code=503)
    return None


def _is_bare_browser(request: Request) -> bool:
    if request.headers.get("x-requested-with", "").lower() == "xmlhttprequest":
        return False
    agent = request.headers.get("user-agent", "")
    return any(name in agent for name in ("Mozilla/", "Opera/", "Chrome/", "Safari/"))


def _old_refusal(message: str, *, status: int) -> Response:
    """Return Quay's oldest shape: JSON that says it is HTML."""
    return Response(
        json.dumps({"error": message}),
        status_code=status,
        headers={"Content-Type": "text/html; charset=utf-8"},
    )


async def _permit(call: Call, row: Row) -> None:
    """Do nothing when the caller may; find what the path names on the way.

    Raises:
        AuthenticationRequired, PermissionDenied, HiddenNotFound: he may not.
    """
    needs = row.needs
    if needs is Needs.NOTHING:
        return
    if needs in ROLE_NEEDED:
        await _permit_repository(call, ROLE_NEEDED[needs])
        return
    if needs in {Needs.ORG_ADMIN, Needs.ORG_MEMBER, Needs.ORG_ANY}:
        await _permit_organization(call, needs)
        return
    account = call.identity.account
    if account is None:
        raise AuthenticationRequired
    if needs in SCOPE_NEEDED and (account.is_robot or not call.identity.has(SCOPE_NEEDED[needs])):
        # Who may not see himself is nobody to this route.
        raise AuthenticationRequired if needs is Needs.USER_READ else PermissionDenied
    if needs is Needs.SUPERUSER and not call.rooms.access.has_superpower(call.identity):
        raise PermissionDenied


def _denied(call: Call) -> HatobaError:
    return AuthenticationRequired() if call.identity.is_anonymous else PermissionDenied()


async def _permit_organization(call: Call, needs: Needs) -> None:
    organization = await call.rooms.organizations.find(call.path("org"))
    if needs is Needs.ORG_ANY:
        if organization is None:
            raise HiddenNotFound("There is no such organization")
        call._organization = organization  # noqa: SLF001 -- filled in by its own module only
        return
    if organization is None:
        raise _denied(call)
    access = call.rooms.access
    allowed = await access.administers(call.identity, organization)
    if not allowed and needs is Needs.ORG_MEMBER:
        allowed = await access.belongs_to(call.identity, organization)
    if not allowed:
        raise _denied(call)
    call._organization = organization  # noqa: SLF001 -- as above


async def _permit_repository(call: Call, needed: Role) -> None:
    namespace_name, _, name = call.path("repository").partition("/")
    if not name:
        raise HiddenNotFound("A repository has a namespace and a name")
    rooms = call.rooms
    repository = await rooms.repositories.find(namespace_name, name)
    if repository is not None:
        facts = RepositoryFacts(
            id=repository.id, namespace=repository.namespace, is_public=repository.is_public
        )
    else:
        namespace = await rooms.users.find_any(namespace_name)
        if namespace is None:
            raise _denied(call)
        facts = RepositoryFacts(id=None, namespace=namespace)
    role = await rooms.access.role_in(call.identity, facts)
    if role < needed:
        raise _denied(call)
    if repository is None:
        raise HiddenNotFound("There is no such repository")
    call._repository = repository  # noqa: SLF001 -- filled in by its own module only
    call.role = role


def no_content() -> Response:
    """Return 204."""
    return Response(status_code=204)


def reject(message: str) -> HatobaError:
    """Return the error that is answered with 400 `{"message": ...}`."""
    return PlainBadRequest(message)

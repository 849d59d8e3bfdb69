"""GET /v2/auth: registry tokens for image clients.

Spec: Distribution, "Token Authentication Specification"; Quay's answers: a scope that is not
permitted is not an error but a token with fewer actions; a push into a repository that does not
exist creates it, where the caller may.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from hatoba.config.schema import QuayConfig
from hatoba.kernel.errors import InvalidInput, Unauthenticated, Unavailable, Unsupported
from hatoba.registry.access.issued import IssuedToken
from hatoba.registry.access.models import ANONYMOUS, Identity, Role
from hatoba.registry.access.scopes import Scope
from hatoba.registry.access.service import RepositoryFacts
from hatoba.registry.access.tokens import Grant
from hatoba.registry.accounts.errors import (
    AccountExists,
    InvalidAccountName,
    InvalidCredentials,
    TooManyLogins,
    UsernameUnavailable,
)
from hatoba.registry.accounts.models import Account
from hatoba.registry.audit.models import Entry
from hatoba.registry.content.models import RepositoryState
from hatoba.registry.repositories.errors import RepositoryExists
from hatoba.registry.repositories.models import Repository
from hatoba.registry.repositories.policy import check_repository_name
from hatoba.registry.rooms import Rooms
from hatoba.registry.v2.messages import JSON_TYPE
from hatoba.registry.web.desk import question_of
from hatoba.registry.web.identify import client_address, identity_of, parse_basic

_SCOPE = re.compile(
    r"repository:((?:[.a-zA-Z0-9_:-]+/)*[.a-zA-Z0-9_-]+):((?:[a-z]+|\*)(?:,(?:[a-z]+|\*))*)"
)
# Distribution, "Token Scope Documentation": other types of resources, and classes of repositories.
_OTHER_SCOPE = re.compile(
    r"(?!repository:)[a-z0-9]+(?:\([a-z0-9]+\))?:[^: ]+:(?:[a-z]+|\*)(?:,[a-z]+)*"
)
MAXIMUM_SCOPES: Final = 100
"""Scopes of one token; each costs questions to the database, before anybody is known."""
UNAUTHORIZED: Final = "access to the requested resource is not authorized"


class MalformedScope(InvalidInput):
    """A scope that cannot be read."""


class MalformedScopeName(InvalidInput):
    """A scope with a name that no repository can have."""


class NamespaceDisabled(Unsupported):
    """The namespace of a scope has been disabled."""


_REFUSALS: Final = {
    MalformedScopeName: (400, "NAME_INVALID"),
    InvalidInput: (400, "INVALID_REQUEST"),
    Unauthenticated: (401, "UNAUTHORIZED"),
    NamespaceDisabled: (405, "DENIED"),
    Unavailable: (503, "UNAVAILABLE"),
}


@dataclass(slots=True, frozen=True, kw_only=True)
class WantedScope:
    """What a client asks for. `shown` is the name as it was asked for."""

    shown: str
    namespace: str
    name: str
    actions: frozenset[str]


def parse_scope(text: str, *, rooms: Rooms) -> WantedScope | None:
    """Read one scope; None for a resource that no token grants anything in, as the catalog.

    Actions that do not exist here (`delete`) are read, and never granted.

    Raises:
        MalformedScope, MalformedScopeName: it cannot be read.
    """
    match = _SCOPE.fullmatch(text)
    if match is None:
        if _OTHER_SCOPE.fullmatch(text) is not None:
            return None
        raise MalformedScope(f"Unable to decode repository and actions: {text}")
    shown, settings = match.group(1), rooms.settings
    path = shown.removeprefix(f"{settings.server_hostname}/")
    namespace, slash, name = path.partition("/")
    if not slash:
        if not settings.feature_library_support:
            raise MalformedScopeName(f"Invalid repository name: {shown}")
        namespace, name = settings.library_namespace, path
    try:
        check_repository_name(name, allow_slashes=settings.feature_extended_repository_names)
        check_repository_name(namespace, allow_slashes=False)
    except InvalidInput as error:
        raise MalformedScopeName(f"Invalid repository name: {path}") from error
    return WantedScope(
        shown=shown,
        namespace=namespace,
        name=name,
        actions=frozenset(match.group(2).split(",")),
    )


async def issue_token(request: Request) -> Response:
    """Answer GET /v2/auth."""
    rooms: Rooms = request.app.state.rooms
    generation, began = rooms.issued.generation, rooms.clock.now()
    try:
        identity, grants = await _decide(request, rooms)
        audience = request.query_params.get("service")
        token = await rooms.issuer.issue(
            identity, audience=audience, grants=grants, decided_at=began
        )
    except TooManyLogins as error:
        headers = {"Retry-After": str(error.retry_after_seconds)}
        return PlainTextResponse(error.message, status_code=429, headers=headers)
    except tuple(_REFUSALS) as error:
        status, code = next(form for kind, form in _REFUSALS.items() if isinstance(error, kind))
        body = {"errors": [{"code": code, "detail": {}, "message": error.message}]}
        wait = error.retry_after_seconds
        headers = {} if wait is None else {"Retry-After": str(wait)}
        return JSONResponse(body, status_code=status, headers=headers)
    issued = IssuedToken(
        body=_answer_body(token, issued_at=began, lifetime=rooms.issuer.lifetime),
        login=_login(request, rooms, identity),
    )
    rooms.issued.put(question_of(request.scope), issued, generation=generation)
    return Response(issued.body, media_type=JSON_TYPE)


def _answer_body(token: str, *, issued_at: datetime, lifetime: timedelta) -> bytes:
    """Return what a client needs to know when to ask anew, also where it is told this later.

    Spec: Distribution, "Token Authentication Specification": without `expires_in` a client takes
    60 seconds, without `issued_at` it counts from when it was answered.
    """
    body = {
        "token": token,
        "expires_in": int(lifetime.total_seconds()),
        "issued_at": issued_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return json.dumps(body, separators=(",", ":")).encode()


async def _decide(request: Request, rooms: Rooms) -> tuple[Identity, list[Grant]]:
    header = request.headers.get("authorization")
    # OAuth 2 (RFC 6749 3.3) separates scopes by spaces; docker repeats the parameter.
    texts = [text for value in request.query_params.getlist("scope") for text in value.split()]
    identity = await _identify(request, rooms, header)
    anonymous_may = bool(texts) and rooms.settings.feature_anonymous_access
    if identity.is_anonymous and not anonymous_may:
        raise InvalidCredentials(UNAUTHORIZED)
    if len(texts) > MAXIMUM_SCOPES:
        raise MalformedScope(f"more than {MAXIMUM_SCOPES} scopes")
    wanted = [parse_scope(text, rooms=rooms) for text in texts]
    return identity, [await _grant(rooms, identity, scope) for scope in wanted if scope]


async def _identify(request: Request, rooms: Rooms, header: str | None) -> Identity:
    ip = client_address(request)
    if not header:
        return Identity(ip=ip)
    username, password = parse_basic(header)
    recognised = await rooms.credentials.check_basic(username=username, password=password)
    identity = identity_of(recognised, ip=ip)
    login = _login(request, rooms, identity)
    if login is not None:
        rooms.audit.remember(login)
    return identity


def _login(request: Request, rooms: Rooms, identity: Identity) -> Entry | None:
    """Return the audit row of a login, if there is to be one."""
    if identity.credential == ANONYMOUS.credential or not rooms.settings.action_log_audit_logins:
        return None
    return Entry(
        kind="login_success",
        actor=identity.actor,
        namespace_id=identity.actor.account_id,
        metadata={
            "kind": identity.credential,
            "type": "v2auth",
            "useragent": request.headers.get("user-agent", "")[:255],
        },
    )


async def _grant(rooms: Rooms, identity: Identity, wanted: WantedScope) -> Grant:
    """Return which of the wanted actions are allowed; creates a repository that is pushed to."""
    repository = await rooms.repositories.find(wanted.namespace, wanted.name)
    namespace = (
        repository.namespace
        if repository is not None
        else await rooms.users.find_any(wanted.namespace)
    )
    if namespace is None and "push" in wanted.actions:
        namespace = await _create_namespace(rooms, identity, wanted)
    if namespace is None or namespace.is_robot:
        return Grant(name=wanted.shown, actions=())
    if not namespace.enabled:
        raise NamespaceDisabled(
            f"Namespace {namespace.username} has been disabled. Please contact a system"
            " administrator."
        )
    if repository is None and "push" in wanted.actions:
        repository = await _create(rooms, identity, namespace, wanted)
    facts = RepositoryFacts(
        id=None if repository is None else repository.id,
        namespace=namespace,
        is_public=repository is not None and repository.is_public,
    )
    role = await rooms.access.role_in(identity, facts)
    actions = []
    wants_push = "push" in wanted.actions and role >= Role.WRITE
    if wants_push and await _takes_pushes(rooms, identity, repository):
        actions.append("push")
    if "pull" in wanted.actions and role >= Role.READ:
        actions.append("pull")
    if "*" in wanted.actions and role >= Role.ADMIN:
        actions.append("*")
    return Grant(name=wanted.shown, actions=tuple(actions))


async def _takes_pushes(rooms: Rooms, identity: Identity, repository: Repository | None) -> bool:
    """Say whether a repository takes pushes at all, or from the robot of its mirror alone.

    That the whole registry takes none is for the push itself to say, with the reason.
    """
    if repository is None:
        return False
    if repository.state is RepositoryState.MIRROR and identity.account is not None:
        return await rooms.repositories.mirror_robot_id(repository) == identity.account.id
    return repository.state is RepositoryState.NORMAL


async def _create_namespace(
    rooms: Rooms, identity: Identity, wanted: WantedScope
) -> Account | None:
    """Make the organization that is pushed to, where that is offered and the caller may.

    Spec: Quay, CREATE_NAMESPACE_ON_PUSH. He may who may make organizations over the API.
    """
    account, settings = identity.account, rooms.settings
    if not settings.create_namespace_on_push or not _takes_changes(settings):
        return None
    if account is None or account.is_robot or not identity.has(Scope.ADMIN_USER):
        return None
    if settings.feature_superusers_org_creation_only and not rooms.access.has_superpower(identity):
        return None
    local, at, domain = (account.email or "").partition("@")
    email = f"{local}+{wanted.namespace}@{domain}" if at else None
    try:
        return await rooms.organizations.create(
            name=wanted.namespace, email=email, owner=account, actor=identity.actor
        )
    except AccountExists:
        return await rooms.users.find_any(wanted.namespace)
    except (InvalidAccountName, UsernameUnavailable):
        # A name that no organization can have is one that nobody can push to.
        return None


def _takes_changes(settings: QuayConfig) -> bool:
    return not settings.disable_pushes and settings.registry_state != "readonly"


async def _create(
    rooms: Rooms, identity: Identity, namespace: Account, wanted: WantedScope
) -> Repository | None:
    account, settings = identity.account, rooms.settings
    if account is None or not _takes_changes(settings):
        return None
    if not await rooms.access.can_create_in(identity, namespace):
        return None
    try:
        return await rooms.repositories.create(
            namespace=namespace,
            name=wanted.name,
            is_public=not settings.create_private_repo_on_push,
            description=None,
            creator=account,
            actor=identity.actor,
        )
    except RepositoryExists:
        return await rooms.repositories.get(wanted.namespace, wanted.name)

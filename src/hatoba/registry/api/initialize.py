"""POST /api/v1/user/initialize: the first user, while there is none.

Spec: Quay API; the walkthrough's section 3. Refusals have the shape `{"message": ...}`. No token
against forgery is asked for: there is nobody yet who could be tricked.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hatoba.kernel.errors import Conflict, InvalidInput
from hatoba.kernel.json import JsonObject
from hatoba.registry.access.scopes import FIRST_TOKEN_SCOPES
from hatoba.registry.accounts.errors import NonEmptyDatabase
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.bodies import parse_body, read_body
from hatoba.registry.api.problems import BodyTooLarge, UnsupportedBody
from hatoba.registry.audit.models import Actor
from hatoba.registry.rooms import Rooms
from hatoba.registry.web.identify import client_address
from hatoba.registry.web.sessions import Sessions


class FirstUserIn(msgspec.Struct):
    """Body."""

    username: str
    password: str
    email: str | None = None
    access_token: bool = False


async def initialize(request: Request) -> Response:
    """Create the first user; with `access_token`, a token that holds every scope."""
    rooms: Rooms = request.app.state.rooms
    sessions: Sessions = request.app.state.sessions
    try:
        wanted = parse_body(
            await read_body(request),
            content_type=request.headers.get("content-type", ""),
            into=FirstUserIn,
        )
        await rooms.users.require_empty()
    except (InvalidInput, NonEmptyDatabase, BodyTooLarge) as error:
        status = {UnsupportedBody: 415, BodyTooLarge: 413}.get(type(error), 400)
        return JsonAnswer({"message": error.message}, status_code=status)
    try:
        account = await rooms.users.create_first(
            username=wanted.username,
            password=wanted.password,
            email=wanted.email,
            actor=Actor(ip=client_address(request)),
        )
    except NonEmptyDatabase as error:
        return JsonAnswer({"message": error.message}, status_code=400)
    except (InvalidInput, Conflict) as error:
        message = f"Failed to initialize user: {error.message}"
        return JsonAnswer({"message": message}, status_code=400)
    body: JsonObject = {}
    if wanted.access_token:
        body["access_token"] = await rooms.applications.issue_first_token(
            account, scopes=FIRST_TOKEN_SCOPES
        )
    body["email"] = account.email
    body["encrypted_password"] = rooms.passwords.encrypt(wanted.password)
    body["username"] = account.username
    response = JsonAnswer(body)
    sessions.write(response, sessions.log_in(account.uuid), tell_token=True)
    return response

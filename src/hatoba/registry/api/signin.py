"""Signing in and out with a browser: /signin, /signin/verify, /signout."""

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from hatoba.registry.accounts.errors import InvalidCredentials
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.call import Call, Needs, Row
from hatoba.registry.api.problems import HiddenNotFound
from hatoba.registry.web.sessions import Session


class SignInIn(msgspec.Struct):
    """Body of POST /signin."""

    username: str
    password: str
    invite_code: str | UnsetType = UNSET


class VerifyIn(msgspec.Struct):
    """Body of POST /signin/verify."""

    password: str


async def sign_in(call: Call) -> Response:
    """Quay API: POST /api/v1/signin."""
    if not call.rooms.settings.feature_direct_login:
        raise HiddenNotFound("Signing in by password is off")
    wanted = await call.body(SignInIn)
    try:
        account = await call.rooms.credentials.check_password(
            username=wanted.username, password=wanted.password
        )
    except InvalidCredentials as error:
        body = {
            "needsEmailVerification": False,
            "invalidCredentials": True,
            "message": error.message,
        }
        return JsonAnswer(body, status_code=403)
    response = JsonAnswer({"success": True})
    call.sessions.write(response, call.sessions.log_in(account.uuid), tell_token=True)
    return response


async def verify(call: Call) -> Response:
    """Quay API: POST /api/v1/signin/verify: makes the login fresh again."""
    wanted = await call.body(VerifyIn)
    try:
        account = await call.rooms.credentials.check_password(
            username=call.account.username, password=wanted.password
        )
    except InvalidCredentials as error:
        body = {"message": error.message, "invalidCredentials": True}
        return JsonAnswer(body, status_code=403)
    response = JsonAnswer({"success": True})
    call.sessions.write(response, call.sessions.log_in(account.uuid), tell_token=True)
    return response


async def sign_out(call: Call) -> Response:
    """Quay API: POST /api/v1/signout: ends every session of the account."""
    if call.identity.account is not None:
        await call.rooms.users.end_sessions(call.identity.account)
    response = JsonAnswer({"success": True})
    call.sessions.write(response, Session())
    return response


ROWS = (
    Row("POST", "/signin", sign_in, Needs.NOTHING, open_without_login=True, is_login=True),
    Row("POST", "/signin/verify", verify, Needs.USER_ADMIN, is_login=True),
    Row("POST", "/signout", sign_out, Needs.NOTHING, open_without_login=True, is_login=True),
)

"""Application-specific tokens: /user/apptoken."""

import msgspec
from starlette.responses import Response

from hatoba.kernel.json import JsonValue
from hatoba.registry.api.call import Call, Needs, Row, no_content
from hatoba.registry.api.views import app_token_view


class AppTokenIn(msgspec.Struct):
    """Body of POST /user/apptoken."""

    title: str


async def list_app_tokens(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/user/apptoken."""
    only_expiring = call.flag("expiring") if "expiring" in call.request.query_params else None
    tokens = await call.rooms.app_tokens.list_tokens(call.account)
    if only_expiring:
        tokens = [token for token in tokens if token.expiration is not None]
    return {
        "tokens": [app_token_view(token, with_code=False) for token in tokens],
        "only_expiring": only_expiring,
    }


async def create_app_token(call: Call) -> JsonValue:
    """Quay API: POST /api/v1/user/apptoken."""
    wanted = await call.body(AppTokenIn)
    token = await call.rooms.app_tokens.create(
        call.account, title=wanted.title, actor=call.identity.actor
    )
    return {"token": app_token_view(token, with_code=True)}


async def show_app_token(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/user/apptoken/<uuid>."""
    token = await call.rooms.app_tokens.get(call.account, uuid=call.path("uuid"))
    return {"token": app_token_view(token, with_code=True)}


async def delete_app_token(call: Call) -> Response:
    """Quay API: DELETE /api/v1/user/apptoken/<uuid>."""
    await call.rooms.app_tokens.revoke(
        call.account, uuid=call.path("uuid"), actor=call.identity.actor
    )
    return no_content()


ROWS = (
    Row("GET", "/user/apptoken", list_app_tokens, Needs.USER_ADMIN),
    Row("POST", "/user/apptoken", create_app_token, Needs.USER_ADMIN, is_fresh=True),
    Row("GET", "/user/apptoken/{uuid}", show_app_token, Needs.USER_ADMIN, is_fresh=True),
    Row("DELETE", "/user/apptoken/{uuid}", delete_app_token, Needs.USER_ADMIN, is_fresh=True),
)

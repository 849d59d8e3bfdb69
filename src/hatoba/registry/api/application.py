"""OAuth applications: /organization/<org>/applications and /app/<client id>."""

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.accounts.models import OAuthApplication
from hatoba.registry.api.call import Call, Needs, Row, no_content
from hatoba.registry.api.problems import BadRequest

RESERVED = "__quay_bootstrap_app"


class ApplicationIn(msgspec.Struct):
    """Body of POST /organization/<org>/applications."""

    name: str
    redirect_uri: str | UnsetType = UNSET
    application_uri: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    avatar_email: str | UnsetType | None = UNSET


class ChangeApplicationIn(msgspec.Struct):
    """Body of PUT /organization/<org>/applications/<client id>."""

    name: str
    redirect_uri: str
    application_uri: str
    description: str | UnsetType = UNSET
    avatar_email: str | UnsetType | None = UNSET


def _values(wanted: ApplicationIn | ChangeApplicationIn) -> JsonObject:
    values = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    given = {name: value for name, value in values.items() if value is not UNSET}
    if "avatar_email" in given:
        given["gravatar_email"] = given.pop("avatar_email")
    return given


def _view(application: OAuthApplication) -> JsonObject:
    return {
        "name": application.name,
        "description": application.description,
        "application_uri": application.application_uri,
        "client_id": application.client_id,
        "client_secret": application.client_secret,
        "redirect_uri": application.redirect_uri,
        "avatar_email": application.avatar_email,
    }


async def list_applications(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/organization/<org>/applications."""
    found = await call.rooms.applications.list_applications(call.organization)
    return {"applications": [_view(application) for application in found]}


async def create_application(call: Call) -> JsonValue:
    """Quay API: POST /api/v1/organization/<org>/applications."""
    wanted = await call.body(ApplicationIn)
    if wanted.name == RESERVED:
        raise BadRequest("Application name is reserved for bootstrap token provisioning")
    application = await call.rooms.applications.create(
        call.organization, values=_values(wanted), actor=call.identity.actor
    )
    return _view(application)


async def show_application(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/organization/<org>/applications/<client id>."""
    application = await call.rooms.applications.get(
        call.organization, client_id=call.path("client_id")
    )
    return _view(application)


async def change_application(call: Call) -> JsonValue:
    """Quay API: PUT /api/v1/organization/<org>/applications/<client id>."""
    wanted = await call.body(ChangeApplicationIn)
    application = await call.rooms.applications.change(
        call.organization,
        client_id=call.path("client_id"),
        values=_values(wanted),
        actor=call.identity.actor,
    )
    return _view(application)


async def delete_application(call: Call) -> Response:
    """Quay API: DELETE /api/v1/organization/<org>/applications/<client id>."""
    await call.rooms.applications.delete(
        call.organization, client_id=call.path("client_id"), actor=call.identity.actor
    )
    return no_content()


async def reset_secret(call: Call) -> JsonValue:
    """Quay API: POST /api/v1/organization/<org>/applications/<client id>/resetclientsecret."""
    application = await call.rooms.applications.reset_secret(
        call.organization, client_id=call.path("client_id"), actor=call.identity.actor
    )
    return _view(application)


_ALL = "/organization/{org}/applications"
_ONE = f"{_ALL}/{{client_id}}"
_ADMIN = Needs.ORG_ADMIN

ROWS = (
    Row("GET", _ALL, list_applications, _ADMIN),
    Row("POST", _ALL, create_application, _ADMIN),
    Row("GET", _ONE, show_application, _ADMIN),
    Row("PUT", _ONE, change_application, _ADMIN),
    Row("DELETE", _ONE, delete_application, _ADMIN),
    Row("POST", f"{_ONE}/resetclientsecret", reset_secret, _ADMIN),
)

"""Default permissions: /organization/<org>/prototypes."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.accounts.models import Account
from hatoba.registry.api.call import Call, Needs, Row, no_content
from hatoba.registry.api.problems import BadRequest
from hatoba.registry.api.views import account_avatar, team_avatar
from hatoba.registry.repositories.errors import PrototypeRefused
from hatoba.registry.repositories.models import Prototype

RoleName = Literal["read", "write", "admin"]


class NamedIn(msgspec.Struct):
    """An account by name."""

    name: str


class DelegateIn(msgspec.Struct):
    """An account or a team by name."""

    name: str
    kind: Literal["user", "team"]


class PrototypeIn(msgspec.Struct):
    """Body of POST /organization/<org>/prototypes."""

    role: RoleName
    delegate: DelegateIn
    activating_user: NamedIn | UnsetType | None = UNSET


class RoleIn(msgspec.Struct):
    """Body with a role."""

    role: RoleName


async def _view(call: Call, prototype: Prototype, members: set[int]) -> JsonObject:
    def person(account: Account) -> JsonObject:
        return {
            "name": account.username,
            "is_robot": account.is_robot,
            "kind": "user",
            "is_org_member": account.id in members
            or (account.is_robot and account.owner_name == call.organization.username),
            "avatar": account_avatar(account),
        }

    delegate: JsonObject | None = None
    if prototype.delegate is not None:
        delegate = person(prototype.delegate)
    elif prototype.delegate_team is not None:
        name = prototype.delegate_team
        delegate = {"name": name, "kind": "team", "avatar": team_avatar(name)}
    return {
        "activating_user": None if prototype.activating is None else person(prototype.activating),
        "delegate": delegate,
        "role": prototype.role,
        "id": prototype.uuid,
    }


async def _members(call: Call, *prototypes: Prototype) -> set[int]:
    named = [who for one in prototypes for who in (one.activating, one.delegate) if who is not None]
    return await call.rooms.prototypes.members_among(call.organization, accounts=named)


async def list_prototypes(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/organization/<org>/prototypes."""
    found = await call.rooms.prototypes.list_prototypes(call.organization)
    members = await _members(call, *found)
    return {"prototypes": [await _view(call, item, members) for item in found]}


async def create_prototype(call: Call) -> JsonValue:
    """Quay API: POST /api/v1/organization/<org>/prototypes."""
    wanted = await call.body(PrototypeIn)
    is_user = wanted.delegate.kind == "user"
    try:
        prototype = await call.rooms.prototypes.create(
            call.organization,
            role=wanted.role,
            activating=wanted.activating_user.name
            if isinstance(wanted.activating_user, NamedIn)
            else None,
            delegate_user=wanted.delegate.name if is_user else None,
            delegate_team=None if is_user else wanted.delegate.name,
            actor=call.identity.actor,
        )
    except PrototypeRefused as error:
        raise BadRequest(error.message) from error
    return await _view(call, prototype, await _members(call, prototype))


async def change_prototype(call: Call) -> JsonValue:
    """Quay API: PUT /api/v1/organization/<org>/prototypes/<id>."""
    wanted = await call.body(RoleIn)
    prototype = await call.rooms.prototypes.change(
        call.organization,
        uuid=call.path("prototype"),
        role=wanted.role,
        actor=call.identity.actor,
    )
    return await _view(call, prototype, await _members(call, prototype))


async def delete_prototype(call: Call) -> Response:
    """Quay API: DELETE /api/v1/organization/<org>/prototypes/<id>."""
    await call.rooms.prototypes.delete(
        call.organization, uuid=call.path("prototype"), actor=call.identity.actor
    )
    return no_content()


_ALL = "/organization/{org}/prototypes"
_ONE = f"{_ALL}/{{prototype}}"

ROWS = (
    Row("GET", _ALL, list_prototypes, Needs.ORG_ADMIN),
    Row("POST", _ALL, create_prototype, Needs.ORG_ADMIN),
    Row("PUT", _ONE, change_prototype, Needs.ORG_ADMIN),
    Row("DELETE", _ONE, delete_prototype, Needs.ORG_ADMIN),
)

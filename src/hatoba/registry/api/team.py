"""Teams: /organization/<org>/team/..."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.access.errors import PermissionDenied
from hatoba.registry.accounts.models import Account, Team
from hatoba.registry.api.call import Call, Needs, Row, no_content
from hatoba.registry.api.problems import BadRequest, HiddenNotFound
from hatoba.registry.api.views import team_avatar, team_member_view


class TeamIn(msgspec.Struct):
    """Body of PUT /organization/<org>/team/<team>."""

    role: Literal["member", "creator", "admin"]
    description: str | UnsetType = UNSET


async def put_team(call: Call) -> JsonValue:
    """Quay API: PUT /api/v1/organization/<org>/team/<team>."""
    wanted = await call.body(TeamIn)
    description = None if wanted.description is UNSET else wanted.description
    team, is_new = await call.rooms.teams.put(
        call.organization,
        name=call.path("team"),
        role=wanted.role,
        description=description,
        actor=call.identity.actor,
    )
    return {
        "name": team.name,
        "description": team.description,
        "can_view": True,
        "role": team.role,
        "avatar": team_avatar(team.name),
        "new_team": is_new,
    }


async def delete_team(call: Call) -> Response:
    """Quay API: DELETE /api/v1/organization/<org>/team/<team>."""
    await call.rooms.teams.delete(
        call.organization, name=call.path("team"), actor=call.identity.actor
    )
    return no_content()


async def _team(call: Call) -> Team:
    team = await call.rooms.teams.find(call.organization, name=call.path("team"))
    if team is None:
        raise HiddenNotFound("There is no such team")
    return team


async def list_members(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/organization/<org>/team/<team>/members, for the team's members too."""
    rooms, organization = call.rooms, call.organization
    is_admin = await rooms.access.administers(call.identity, organization)
    team = await rooms.teams.find(organization, name=call.path("team"))
    if team is None and is_admin:
        raise HiddenNotFound("There is no such team")
    if team is None or not (
        is_admin or await rooms.teams.has_member(team, account_id=call.account.id)
    ):
        raise PermissionDenied
    members = await rooms.teams.members(team)
    return {
        "name": team.name,
        "members": [team_member_view(member) for member in members],
        "can_edit": is_admin,
    }


async def _member(call: Call) -> Account:
    account = await call.rooms.users.find_any(call.path("member"))
    if account is None or account.is_organization:
        raise BadRequest("Unknown user")
    return account


async def add_member(call: Call) -> JsonValue:
    """Quay API: PUT /api/v1/organization/<org>/team/<team>/members/<member>."""
    team = await _team(call)
    account = await _member(call)
    await call.rooms.teams.add_member(
        call.organization, team=team, account=account, actor=call.identity.actor
    )
    return team_member_view(account)


async def remove_member(call: Call) -> Response:
    """Quay API: DELETE /api/v1/organization/<org>/team/<team>/members/<member>."""
    team = await _team(call)
    account = await _member(call)
    await call.rooms.teams.remove_member(
        call.organization, team=team, account=account, actor=call.identity.actor
    )
    return no_content()


async def list_permissions(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/organization/<org>/team/<team>/permissions."""
    grants = await call.rooms.teams.grants(await _team(call))
    return {"permissions": [grant_view(name, public, role) for name, public, role in grants]}


def grant_view(name: str, is_public: bool, role: str) -> JsonObject:  # noqa: FBT001 -- a tuple's parts
    """Return a role in a repository, as lists of a team's or robot's permissions show it."""
    return {"repository": {"name": name, "is_public": is_public}, "role": role}


_TEAM = "/organization/{org}/team/{team}"

ROWS = (
    Row("PUT", _TEAM, put_team, Needs.ORG_ADMIN),
    Row("DELETE", _TEAM, delete_team, Needs.ORG_ADMIN),
    Row("GET", f"{_TEAM}/members", list_members, Needs.ORG_MEMBER),
    Row("PUT", f"{_TEAM}/members/{{member}}", add_member, Needs.ORG_ADMIN),
    Row("DELETE", f"{_TEAM}/members/{{member}}", remove_member, Needs.ORG_ADMIN),
    Row("GET", f"{_TEAM}/permissions", list_permissions, Needs.ORG_ADMIN),
)

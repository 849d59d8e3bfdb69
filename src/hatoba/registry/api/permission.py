"""Permissions in a repository: /repository/<repository>/permissions/..."""

from collections.abc import Awaitable
from typing import TypeVar

from starlette.responses import Response

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.api.call import Call, Needs, Row, no_content, reject
from hatoba.registry.api.problems import BadRequest
from hatoba.registry.api.prototype import RoleIn
from hatoba.registry.api.views import account_avatar, team_avatar
from hatoba.registry.repositories.errors import GrantRefused, GrantUnknown
from hatoba.registry.repositories.models import TeamGrant, UserGrant

Result = TypeVar("Result")


def _user_view(call: Call, grant: UserGrant) -> JsonObject:
    view: JsonObject = {
        "role": grant.role,
        "name": grant.account.username,
        "is_robot": grant.account.is_robot,
        "avatar": account_avatar(grant.account),
    }
    if call.repository.namespace.is_organization:
        view["is_org_member"] = grant.is_member
    return view


def _team_view(grant: TeamGrant) -> JsonObject:
    return {
        "role": grant.role,
        "name": grant.team_name,
        "avatar": team_avatar(grant.team_name),
    }


async def _changing(work: Awaitable[Result]) -> Result:
    try:
        return await work
    except GrantRefused as error:
        raise BadRequest(error.message) from error


async def _reading(work: Awaitable[Result]) -> Result:
    try:
        return await work
    except GrantUnknown as error:
        raise reject(error.message) from error


async def list_users(call: Call) -> JsonValue:
    """Quay API: GET .../permissions/user/."""
    grants = await call.rooms.permissions.users(call.repository)
    return {"permissions": {grant.account.username: _user_view(call, grant) for grant in grants}}


async def show_user(call: Call) -> JsonValue:
    """Quay API: GET .../permissions/user/<name>."""
    work = call.rooms.permissions.user(call.repository, username=call.path("username"))
    return _user_view(call, await _reading(work))


async def list_roles(call: Call) -> JsonValue:
    """Quay API: GET .../permissions/user/<name>/transitive."""
    roles = await call.rooms.permissions.roles_of(call.repository, username=call.path("username"))
    return {"permissions": [{"role": role} for role in roles]}


async def set_user(call: Call) -> JsonValue:
    """Quay API: PUT .../permissions/user/<name>."""
    wanted = await call.body(RoleIn)
    work = call.rooms.permissions.set_user(
        call.repository,
        username=call.path("username"),
        role=wanted.role,
        actor=call.identity.actor,
    )
    return _user_view(call, await _changing(work))


async def remove_user(call: Call) -> Response:
    """Quay API: DELETE .../permissions/user/<name>."""
    work = call.rooms.permissions.remove_user(
        call.repository, username=call.path("username"), actor=call.identity.actor
    )
    await _changing(work)
    return no_content()


async def list_teams(call: Call) -> JsonValue:
    """Quay API: GET .../permissions/team/."""
    grants = await call.rooms.permissions.teams(call.repository)
    return {"permissions": {grant.team_name: _team_view(grant) for grant in grants}}


async def show_team(call: Call) -> JsonValue:
    """Quay API: GET .../permissions/team/<name>."""
    work = call.rooms.permissions.team(call.repository, name=call.path("team"))
    return {"role": (await _reading(work)).role}


async def set_team(call: Call) -> JsonValue:
    """Quay API: PUT .../permissions/team/<name>."""
    wanted = await call.body(RoleIn)
    work = call.rooms.permissions.set_team(
        call.repository, name=call.path("team"), role=wanted.role, actor=call.identity.actor
    )
    return _team_view(await _changing(work))


async def remove_team(call: Call) -> Response:
    """Quay API: DELETE .../permissions/team/<name>."""
    work = call.rooms.permissions.remove_team(
        call.repository, name=call.path("team"), actor=call.identity.actor
    )
    await _changing(work)
    return no_content()


_USERS = "/repository/{repository:path}/permissions/user/"
_TEAMS = "/repository/{repository:path}/permissions/team/"
_ADMIN = Needs.REPO_ADMIN

ROWS = (
    Row("GET", _USERS, list_users, _ADMIN),
    Row("GET", f"{_USERS}{{username}}/transitive", list_roles, _ADMIN),
    Row("GET", f"{_USERS}{{username}}", show_user, _ADMIN),
    Row("PUT", f"{_USERS}{{username}}", set_user, _ADMIN),
    Row("DELETE", f"{_USERS}{{username}}", remove_user, _ADMIN),
    Row("GET", _TEAMS, list_teams, _ADMIN),
    Row("GET", f"{_TEAMS}{{team}}", show_team, _ADMIN),
    Row("PUT", f"{_TEAMS}{{team}}", set_team, _ADMIN),
    Row("DELETE", f"{_TEAMS}{{team}}", remove_team, _ADMIN),
)

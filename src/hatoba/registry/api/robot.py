"""Robot accounts: /organization/<org>/robots and /user/robots."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.accounts.errors import InvalidAccountName, RobotExists, RobotsDisallowed
from hatoba.registry.accounts.models import Account, Robot
from hatoba.registry.accounts.robots import RobotGrants
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.call import Call, Needs, Row, no_content
from hatoba.registry.api.problems import BadRequest
from hatoba.registry.api.team import grant_view
from hatoba.registry.api.views import date_text, team_avatar

LIMIT_HELP = "If specified, the number of robots to return."


class RobotIn(msgspec.Struct):
    """Body of PUT .../robots/<name>; it may be left out."""

    description: Annotated[str, Meta(max_length=255)] | UnsetType = UNSET
    unstructured_metadata: dict[str, Any] | UnsetType = UNSET


def _owner(call: Call) -> Account:
    """Return the organization of the path, or the caller for /user/robots."""
    return call.organization if "org" in call.request.path_params else call.account


def robot_view(robot: Robot, *, with_token: bool) -> JsonObject:
    """Return a robot as lists show it."""
    view: JsonObject = {
        "name": robot.account.username,
        "created": date_text(robot.account.created_at),
        "last_accessed": date_text(robot.account.last_accessed),
        "description": robot.description,
    }
    if with_token:
        view["token"] = robot.token
    return view


def _with_metadata(robot: Robot) -> JsonObject:
    return robot_view(robot, with_token=True) | {"unstructured_metadata": robot.metadata}


async def list_robots(call: Call) -> JsonValue:
    """Quay API: GET .../robots. Tokens are shown to those who administer the namespace only."""
    owner = _owner(call)
    limit = call.number("limit", default=0, help_text=LIMIT_HELP)
    robots = await call.rooms.robots.list_robots(namespace=owner.username, limit=limit or None)
    is_admin = await call.rooms.access.administers(call.identity, owner)
    with_token = is_admin and call.flag("token", default=True)
    if not (is_admin and call.flag("permissions")):
        return {"robots": [robot_view(robot, with_token=with_token) for robot in robots]}
    grants = await call.rooms.robots.grants(robots)
    return {
        "robots": [
            _with_grants(robot, grants[robot.account.id], with_token=with_token) for robot in robots
        ]
    }


def _with_grants(robot: Robot, grants: RobotGrants, *, with_token: bool) -> JsonObject:
    view = robot_view(robot, with_token=with_token)
    return {
        "name": view.pop("name"),
        "created": view.pop("created"),
        "last_accessed": view.pop("last_accessed"),
        "teams": [{"name": name, "avatar": team_avatar(name)} for name in grants.teams],
        "repositories": [name for name, _, _ in grants.repositories],
        **view,
    }


async def show_robot(call: Call) -> JsonValue:
    """Quay API: GET .../robots/<name>."""
    robot = await call.rooms.robots.get(
        namespace=_owner(call).username, short_name=call.path("robot")
    )
    return _with_metadata(robot)


async def create_robot(call: Call) -> Response:
    """Quay API: PUT .../robots/<name>."""
    wanted = await call.optional_body(RobotIn)
    metadata = None if wanted.unstructured_metadata is UNSET else wanted.unstructured_metadata
    try:
        robot = await call.rooms.robots.create(
            _owner(call),
            short_name=call.path("robot"),
            description="" if wanted.description is UNSET else wanted.description,
            metadata=metadata,
            actor=call.identity.actor,
        )
    except (InvalidAccountName, RobotExists, RobotsDisallowed) as error:
        raise BadRequest(error.message) from error
    return JsonAnswer(_with_metadata(robot), status_code=201)


async def delete_robot(call: Call) -> Response:
    """Quay API: DELETE .../robots/<name>."""
    try:
        await call.rooms.robots.delete(
            _owner(call), short_name=call.path("robot"), actor=call.identity.actor
        )
    except RobotExists as error:
        raise BadRequest(error.message) from error
    return no_content()


async def regenerate_robot(call: Call) -> JsonValue:
    """Quay API: POST .../robots/<name>/regenerate."""
    robot = await call.rooms.robots.regenerate(
        _owner(call), short_name=call.path("robot"), actor=call.identity.actor
    )
    return robot_view(robot, with_token=True)


async def list_permissions(call: Call) -> JsonValue:
    """Quay API: GET .../robots/<name>/permissions."""
    robot = await call.rooms.robots.get(
        namespace=_owner(call).username, short_name=call.path("robot")
    )
    grants = await call.rooms.robots.grants([robot])
    return {
        "permissions": [
            grant_view(name, public, role)
            for name, public, role in grants[robot.account.id].repositories
        ]
    }


def _rows(prefix: str, *, lists: Needs, changes: Needs) -> tuple[Row, ...]:
    one = f"{prefix}/{{robot}}"
    return (
        Row("GET", prefix, list_robots, lists),
        Row("GET", one, show_robot, changes),
        Row("PUT", one, create_robot, changes),
        Row("DELETE", one, delete_robot, changes),
        Row("POST", f"{one}/regenerate", regenerate_robot, changes),
        Row("GET", f"{one}/permissions", list_permissions, changes),
    )


ROWS = (
    *_rows("/organization/{org}/robots", lists=Needs.ORG_MEMBER, changes=Needs.ORG_ADMIN),
    *_rows("/user/robots", lists=Needs.USER_ADMIN, changes=Needs.USER_ADMIN),
)

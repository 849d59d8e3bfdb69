"""Starred repositories: /user/starred."""

import msgspec
from starlette.responses import Response

from hatoba.kernel.json import JsonValue
from hatoba.registry.access.models import Role
from hatoba.registry.access.service import RepositoryFacts
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.call import Call, Needs, Row, no_content
from hatoba.registry.api.listing import listing_for
from hatoba.registry.api.problems import HiddenNotFound


class StarIn(msgspec.Struct):
    """Body of POST /user/starred."""

    namespace: str
    repository: str


async def list_starred(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/user/starred."""
    listing = await listing_for(call, only_starred=True)
    listed, _ = await call.rooms.repositories.list_page(listing)
    return {
        "repositories": [
            {
                "namespace": item.repository.namespace.username,
                "name": item.repository.name,
                "description": item.repository.description,
                "is_public": item.repository.is_public,
            }
            for item in listed
        ]
    }


async def star(call: Call) -> Response:
    """Quay API: POST /api/v1/user/starred. Only what can be read can be starred."""
    wanted = await call.body(StarIn)
    repository = await call.rooms.repositories.find(wanted.namespace, wanted.repository)
    role = Role.NONE
    if repository is not None:
        facts = RepositoryFacts(
            id=repository.id, namespace=repository.namespace, is_public=repository.is_public
        )
        role = await call.rooms.access.role_in(call.identity, facts)
    if repository is None or role < Role.READ:
        raise HiddenNotFound("There is no such repository")
    await call.rooms.repositories.star(repository, account_id=call.account.id)
    body = {"namespace": wanted.namespace, "repository": wanted.repository}
    return JsonAnswer(body, status_code=201)


async def unstar(call: Call) -> Response:
    """Quay API: DELETE /api/v1/user/starred/<repository>."""
    namespace, _, name = call.path("repository").partition("/")
    repository = await call.rooms.repositories.find(namespace, name)
    if repository is not None:
        await call.rooms.repositories.unstar(repository, account_id=call.account.id)
    return no_content()


ROWS = (
    Row("GET", "/user/starred", list_starred, Needs.USER_ADMIN),
    Row("POST", "/user/starred", star, Needs.USER_ADMIN),
    Row("DELETE", "/user/starred/{repository:path}", unstar, Needs.USER_ADMIN),
)

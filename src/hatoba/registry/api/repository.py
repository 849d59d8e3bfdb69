"""Repositories: /repository and /repository/<repository>."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from hatoba.kernel.clock import from_milliseconds, rfc1123
from hatoba.kernel.errors import Unavailable
from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.access.errors import PermissionDenied
from hatoba.registry.access.models import Role
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.call import Call, Needs, Row, no_content, reject
from hatoba.registry.api.listing import after_id_of, listing_for, page_token
from hatoba.registry.api.problems import BadRequest
from hatoba.registry.content.models import RepositoryState
from hatoba.registry.content.tagging import TagPlace, TagView
from hatoba.registry.repositories.errors import InvalidRepositoryName, RepositoryExists
from hatoba.registry.repositories.models import ListedRepository, Repository

MAXIMUM_TAGS = 500
Visibility = Literal["public", "private"]


class NewRepositoryIn(msgspec.Struct):
    """Body of POST /repository."""

    repository: str
    visibility: Visibility
    description: str
    namespace: str | UnsetType = UNSET
    repo_kind: Literal["image", None] | UnsetType = UNSET  # noqa: PYI061 -- the message lists both


async def create_repository(call: Call) -> Response:
    """Quay API: POST /api/v1/repository."""
    wanted = await call.body(NewRepositoryIn)
    account = call.account
    namespace_name = account.owner_name if wanted.namespace is UNSET else wanted.namespace
    namespace = await call.rooms.users.find_any(namespace_name)
    if namespace is None or not await call.rooms.access.can_create_in(call.identity, namespace):
        raise PermissionDenied
    try:
        repository = await call.rooms.repositories.create(
            namespace=namespace,
            name=wanted.repository,
            is_public=wanted.visibility == "public",
            description=wanted.description,
            creator=account,
            actor=call.identity.actor,
        )
    except (RepositoryExists, InvalidRepositoryName) as error:
        raise BadRequest(error.message) from error
    body = {"namespace": namespace.username, "name": repository.name, "kind": repository.kind}
    return JsonAnswer(body, status_code=201)


async def list_repositories(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/repository."""
    namespace = call.request.query_params.get("namespace")
    only_starred, is_public = call.flag("starred"), call.flag("public")
    if not (namespace or only_starred or is_public):
        raise BadRequest("namespace, starred or public are required for this API call")
    if only_starred and call.identity.is_anonymous:
        raise reject("The browser (or proxy) sent a request that this server could not understand.")
    listing = await listing_for(
        call,
        namespace=namespace,
        only_starred=only_starred,
        include_public=is_public or only_starred,
        kind=call.request.query_params.get("repo_kind") or "image",
    )
    with_last_modified, with_popularity = call.flag("last_modified"), call.flag("popularity")
    listed, next_id = await call.rooms.repositories.list_page(
        listing,
        after_id=after_id_of(call),
        with_last_modified=with_last_modified,
        with_popularity=with_popularity,
    )
    shown = []
    for item in listed:
        view = _listed_view(
            item, with_last_modified=with_last_modified, with_popularity=with_popularity
        )
        if not call.identity.is_anonymous:
            view["is_starred"] = item.is_starred
        shown.append(view)
    more = {} if next_id is None else {"next_page": page_token(call, after_id=next_id)}
    return {"repositories": shown, **more}


def _listed_view(
    item: ListedRepository, *, with_last_modified: bool, with_popularity: bool
) -> JsonObject:
    repository = item.repository
    view: JsonObject = {
        "namespace": repository.namespace.username,
        "name": repository.name,
        "description": repository.description,
        "is_public": repository.is_public,
        "kind": repository.kind,
        "state": repository.state.name,
    }
    if with_last_modified:
        milliseconds = item.last_modified_ms
        view["last_modified"] = None if milliseconds is None else milliseconds // 1000
    if with_popularity:
        view["popularity"] = item.popularity
    return view


async def show_repository(call: Call) -> JsonValue:
    """Quay API: GET /api/v1/repository/<repository>."""
    repository = call.repository
    starred = False
    if call.identity.account is not None:
        starred = await call.rooms.repositories.is_starred(repository, account_id=call.account.id)
    can_write = call.role >= Role.WRITE and repository.state is RepositoryState.NORMAL
    view: JsonObject = {
        "namespace": repository.namespace.username,
        "name": repository.name,
        "kind": repository.kind,
        "description": repository.description,
        "is_public": repository.is_public,
        "is_organization": repository.namespace.is_organization,
        "is_starred": starred,
        "status_token": "" if repository.is_public else repository.badge_token,
        "trust_enabled": repository.trust_enabled,
        "tag_expiration_s": repository.namespace.tag_expiration_seconds,
        "is_free_account": not repository.namespace.has_billing,
        "state": repository.state.name,
    }
    if call.flag("includeTags", default=True):
        tags = await call.rooms.tagging.alive(tag_place(repository), limit=MAXIMUM_TAGS)
        view["tags"] = {tag.name: _tag_view(tag) for tag in tags}
    view |= {"can_write": can_write, "can_admin": call.role >= Role.ADMIN}
    if call.flag("includeStats"):
        view["stats"] = await _statistics(call, repository)
    return view


def tag_place(repository: Repository) -> TagPlace:
    """Return what the content room calls a repository."""
    return TagPlace(
        repository_id=repository.id,
        namespace_id=repository.namespace.id,
        namespace=repository.namespace.username,
        name=repository.name,
    )


class RepositoryReadOnly(Unavailable):
    """The repository takes no changes in its state."""


def require_writable(call: Call) -> None:
    """Do nothing where tags and labels may be changed by people.

    Raises:
        RepositoryReadOnly: the repository's state forbids it.
    """
    state = call.repository.state
    if state is not RepositoryState.NORMAL:
        raise RepositoryReadOnly(f"Repository is in read only or mirror mode: {state.value}")


def _tag_view(tag: TagView) -> JsonObject:
    view: JsonObject = {
        "name": tag.name,
        "size": tag.size_bytes,
        "last_modified": rfc1123(from_milliseconds(tag.start_ms)),
        "manifest_digest": tag.digest,
    }
    if tag.end_ms is not None:
        view["expiration"] = rfc1123(from_milliseconds(tag.end_ms))
    return view


async def _statistics(call: Call, repository: Repository) -> list[JsonObject]:
    counts = await call.rooms.repositories.statistics(repository)
    return [{"date": day.isoformat(), "count": count} for day, count in counts]


class DescriptionIn(msgspec.Struct):
    """Body of PUT /repository/<repository>."""

    description: str


async def describe_repository(call: Call) -> JsonValue:
    """Quay API: PUT /api/v1/repository/<repository>."""
    wanted = await call.body(DescriptionIn)
    await call.rooms.repositories.describe(
        call.repository, description=wanted.description, actor=call.identity.actor
    )
    return {"success": True}


async def delete_repository(call: Call) -> Response:
    """Quay API: DELETE /api/v1/repository/<repository>."""
    await call.rooms.repositories.delete(call.repository, actor=call.identity.actor)
    return no_content()


class VisibilityIn(msgspec.Struct):
    """Body of POST /repository/<repository>/changevisibility."""

    visibility: Visibility


async def change_visibility(call: Call) -> JsonValue:
    """Quay API: POST /api/v1/repository/<repository>/changevisibility."""
    wanted = await call.body(VisibilityIn)
    await call.rooms.repositories.set_visibility(
        call.repository, visibility=wanted.visibility, actor=call.identity.actor
    )
    return {"success": True}


class StateIn(msgspec.Struct):
    """Body of PUT /repository/<repository>/changestate."""

    state: Literal["NORMAL", "READ_ONLY", "MIRROR"]


async def change_state(call: Call) -> JsonValue:
    """Quay API: PUT /api/v1/repository/<repository>/changestate."""
    wanted = await call.body(StateIn)
    await call.rooms.repositories.set_state(
        call.repository, state=RepositoryState[wanted.state], actor=call.identity.actor
    )
    return {"success": True}


async def tokens_are_gone(call: Call) -> Response:
    """Quay API: .../tokens/, which is no more."""
    verb = "Creation" if call.request.method == "POST" else "Handling"
    message = f"{verb} of access tokens is no longer supported"
    return JsonAnswer({"message": message}, status_code=410)


_ONE = "/repository/{repository:path}"

ROWS = (
    Row("POST", "/repository", create_repository, Needs.SIGNED_IN),
    Row("GET", "/repository", list_repositories, Needs.NOTHING),
    Row("POST", f"{_ONE}/changevisibility", change_visibility, Needs.REPO_ADMIN),
    Row("PUT", f"{_ONE}/changestate", change_state, Needs.REPO_ADMIN),
    Row("GET", f"{_ONE}/tokens/", tokens_are_gone, Needs.REPO_ADMIN),
    Row("POST", f"{_ONE}/tokens/", tokens_are_gone, Needs.REPO_ADMIN),
    Row("GET", f"{_ONE}/tokens/{{code}}", tokens_are_gone, Needs.REPO_ADMIN),
)
LAST_ROWS = (
    Row("GET", _ONE, show_repository, Needs.REPO_READ),
    Row("PUT", _ONE, describe_repository, Needs.REPO_WRITE),
    Row("DELETE", _ONE, delete_repository, Needs.REPO_ADMIN),
)
"""Rows whose paths hold those of all other resources of a repository: they are tried last."""

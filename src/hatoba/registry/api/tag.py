"""Tags: /repository/<repository>/tag/..."""

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from hatoba.kernel.clock import from_milliseconds, milliseconds, rfc1123
from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.kernel.names import MalformedTag, TagName, parse_tag
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.call import Call, Needs, Row, no_content, reject
from hatoba.registry.api.problems import BadRequest
from hatoba.registry.api.repository import require_writable, tag_place
from hatoba.registry.content.tagging import TagChange, TagFilter, TagView

MAXIMUM_LIMIT = 100
LIMIT_HELP = "Limit to the number of results to return per page. Max 100."
PAGE_HELP = "Page index for the results. Default 1."
FILTER_HELP = (
    "Unsupported syntax for filter_tag_name. Expected <operation>:<tag_name> where"
    " <operation>can be 'like' or 'eq'."
)
LAST_MOMENT_MS = 253_402_300_800_000
"""The end of the year 9999."""
TAG_RULE = (
    'Invalid tag: must match [A-Za-z0-9_.-], NOT start with "." or "-", and can contain 1-128'
    " characters"
)


def _view(tag: TagView) -> JsonObject:
    view: JsonObject = {
        "name": tag.name,
        "reversion": tag.is_reversion,
        "immutable": tag.is_immutable,
        "start_ts": tag.start_ms // 1000,
    }
    if tag.end_ms is not None:
        view["end_ts"] = tag.end_ms // 1000
    view |= {
        "manifest_digest": tag.digest,
        "is_manifest_list": tag.children is not None,
        "size": tag.size_bytes,
        "last_modified": rfc1123(from_milliseconds(tag.start_ms)),
    }
    if tag.end_ms is not None:
        view["expiration"] = rfc1123(from_milliseconds(tag.end_ms))
    if tag.children is not None:
        here = [present for present in tag.children.values() if present]
        view |= {
            "is_sparse": len(here) < len(tag.children),
            "child_manifest_count": len(tag.children),
            "present_child_count": len(here),
            "child_manifests_presence": dict(tag.children),
        }
    return view


async def list_tags(call: Call) -> JsonValue:
    """Quay API: GET .../tag/."""
    page = max(call.number("page", default=1, help_text=PAGE_HELP), 1)
    limit = call.number("limit", default=50, help_text=LIMIT_HELP)
    name = call.request.query_params.get("specificTag") or None
    containing = None
    wanted = call.request.query_params.get("filter_tag_name")
    if wanted:
        operation, colon, value = wanted.partition(":")
        if not colon or operation not in {"like", "eq"}:
            raise reject(FILTER_HELP)
        name, containing = (value, None) if operation == "eq" else (name, value)
    tags, has_more = await call.rooms.tagging.history(
        tag_place(call.repository),
        TagFilter(
            only_alive=call.flag("onlyActiveTags"),
            name=name,
            containing=containing,
            page=page,
            limit=min(max(limit, 1), MAXIMUM_LIMIT),
        ),
    )
    return {"tags": [_view(tag) for tag in tags], "page": page, "has_additional": has_more}


class TagIn(msgspec.Struct):
    """Body of PUT .../tag/<tag>."""

    manifest_digest: str | UnsetType = UNSET
    expiration: float | UnsetType | None = UNSET


def _tag_name(call: Call) -> TagName:
    try:
        return parse_tag(call.path("tag"))
    except MalformedTag as error:
        raise reject(TAG_RULE) from error


def _end_ms(call: Call, expiration: float | UnsetType | None) -> int | None:
    """Return when a tag shall end: later than now, and within the years that dates have."""
    if expiration is None or expiration is UNSET:
        return None
    if not milliseconds(call.rooms.clock.now()) < expiration * 1000 < LAST_MOMENT_MS:
        raise reject("The browser (or proxy) sent a request that this server could not understand.")
    return round(expiration * 1000)


async def put_tag(call: Call) -> Response:
    """Quay API: PUT .../tag/<tag>: moves a tag, or changes when it ends."""
    wanted = await call.body(TagIn)
    tag, place = _tag_name(call), tag_place(call.repository)
    require_writable(call)
    change = TagChange(
        digest=None if wanted.manifest_digest is UNSET else wanted.manifest_digest,
        sets_end=wanted.expiration is not UNSET,
        end_ms=_end_ms(call, wanted.expiration),
    )
    await call.rooms.tagging.change(place, tag=tag, change=change, actor=call.identity.actor)
    return JsonAnswer("Updated", status_code=201)


async def delete_tag(call: Call) -> Response:
    """Quay API: DELETE .../tag/<tag>."""
    require_writable(call)
    await call.rooms.tagging.delete(
        tag_place(call.repository), tag=_tag_name(call), actor=call.identity.actor
    )
    return no_content()


class RestoreIn(msgspec.Struct):
    """Body of POST .../tag/<tag>/restore."""

    manifest_digest: str | UnsetType = UNSET


async def restore_tag(call: Call) -> JsonValue:
    """Quay API: POST .../tag/<tag>/restore."""
    wanted = await call.body(RestoreIn)
    require_writable(call)
    if wanted.manifest_digest is UNSET:
        raise BadRequest("Missing manifest_digest")
    await call.rooms.tagging.point(
        tag_place(call.repository),
        tag=_tag_name(call),
        digest=wanted.manifest_digest,
        actor=call.identity.actor,
        is_reversion=True,
    )
    return {}


_TAGS = "/repository/{repository:path}/tag/"

ROWS = (
    Row("GET", _TAGS, list_tags, Needs.REPO_READ),
    Row("POST", f"{_TAGS}{{tag}}/restore", restore_tag, Needs.REPO_WRITE),
    Row("PUT", f"{_TAGS}{{tag}}", put_tag, Needs.REPO_WRITE),
    Row("DELETE", f"{_TAGS}{{tag}}", delete_tag, Needs.REPO_WRITE),
)

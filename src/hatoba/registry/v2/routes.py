"""The routes of `/v2`: one row per path, with what a token must grant for each method.

Spec: distribution-spec "Endpoints".
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeAlias

from hatoba.registry.v2 import blobs, listings, manifests, uploads
from hatoba.registry.v2.messages import Reply, Request
from hatoba.registry.v2.services import V2Services

Handler: TypeAlias = Callable[[Request, V2Services], Awaitable[Reply]]


@dataclass(slots=True, frozen=True)
class Action:
    """What a method does and what it needs: `pull`, `push`, or None for any valid token."""

    handler: Handler
    needs: str | None
    changes: bool = False
    anonymous: bool = False
    """Whether it is served without any token."""


@dataclass(slots=True, frozen=True)
class Row:
    """A path and its methods.

    `segments` are what can stand last but one in a path that the pattern matches: they find the
    few rows that are worth trying.
    """

    endpoint: str
    segments: tuple[str, ...]
    pattern: re.Pattern[str]
    methods: Mapping[str, Action]


def _pull(handler: Handler) -> Mapping[str, Action]:
    action = Action(handler, "pull")
    return {"GET": action, "HEAD": action}


async def ping(_request: Request, _services: V2Services) -> Reply:
    """GET `/v2/` (end-1)."""
    return Reply(status=200, body=b"true", content_type="text/html; charset=utf-8")


_NAME: Final = r"/v2/(?P<name>.+?)"

ROWS: Final = (
    Row("base", ("v2",), re.compile(r"/v2/"), {m: Action(ping, None) for m in ("GET", "HEAD")}),
    Row(
        "catalog",
        ("v2",),
        re.compile(r"/v2/_catalog"),
        {m: Action(listings.list_catalog, None, anonymous=True) for m in ("GET", "HEAD")},
    ),
    Row(
        "manifest",
        ("manifests",),
        re.compile(_NAME + r"/manifests/(?P<reference>[^/]+)"),
        {
            **_pull(manifests.pull_manifest),
            "PUT": Action(manifests.push_manifest, "push", changes=True),
            "DELETE": Action(manifests.delete_manifest, "push", changes=True),
        },
    ),
    Row(
        "blob",
        ("blobs",),
        re.compile(_NAME + r"/blobs/(?P<digest>[^/]+:[^/]+)"),
        {**_pull(blobs.pull_blob), "DELETE": Action(blobs.delete_blob, "push", changes=True)},
    ),
    Row(
        "uploads",
        ("blobs", "uploads"),
        re.compile(_NAME + r"/blobs/uploads/?"),
        {"POST": Action(uploads.start_upload, "push", changes=True)},
    ),
    Row(
        "upload",
        ("uploads",),
        re.compile(_NAME + r"/blobs/uploads/(?P<upload_id>[^/]+)"),
        {
            **{m: Action(uploads.upload_status, "push") for m in ("GET", "HEAD")},
            "PATCH": Action(uploads.append_chunk, "push", changes=True),
            "PUT": Action(uploads.finish_upload, "push", changes=True),
            "DELETE": Action(uploads.cancel_upload, "push", changes=True),
        },
    ),
    Row("tags", ("tags",), re.compile(_NAME + r"/tags/list"), _pull(listings.list_tags)),
    Row(
        "referrers",
        ("referrers",),
        re.compile(_NAME + r"/referrers/(?P<digest>[^/]+)"),
        _pull(listings.list_referrers),
    ),
)


_BY_SEGMENT: Final[Mapping[str, Sequence[Row]]] = {
    segment: [row for row in ROWS if segment in row.segments]
    for segment in {segment for row in ROWS for segment in row.segments}
}


REMEMBERED_PATHS: Final = 4096
"""Paths that were read lately are not read again: the same few are asked for all the time."""


@lru_cache(maxsize=REMEMBERED_PATHS)
def match(path: str) -> tuple[Row, Mapping[str, str]] | None:
    """Return the row of a path with its parameters.

    A repository may be called `a/manifests/b`: of several ways to read a path, the one with the
    longest name wins, as every row matches from the end.
    """
    segment = path.rsplit("/", 2)[-2] if path.count("/") > 1 else ""
    for row in _BY_SEGMENT.get(segment, ()):
        found = row.pattern.fullmatch(path)
        if found is not None:
            return row, MappingProxyType(found.groupdict())
    return None

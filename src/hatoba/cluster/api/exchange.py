"""One HTTP request on its way: what was asked, by whom, and how answers are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import yaml
from aiohttp import web

from hatoba.cluster.api.identity import User
from hatoba.cluster.api.negotiation import JSON, YAML, Representation
from hatoba.cluster.api.paths import Target
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import StatusError
from hatoba.kernel.json import JsonObject

_WARNING_LIMIT: Final = 4_096


@dataclass(slots=True, frozen=True, kw_only=True)
class Exchange:
    """A request for a resource that exists."""

    request: web.Request
    user: User
    target: Target
    resource: Resource
    representation: Representation

    def answer(
        self, document: JsonObject, *, status: int = 200, warnings: Sequence[str] = ()
    ) -> web.Response:
        """Return a document in the chosen encoding."""
        response = encode(document, status=status, media_type=self.representation.media_type)
        deprecated = dict(self.resource.deprecations).get(self.target.version)
        warn(response, [*([deprecated] if deprecated else []), *warnings])
        return response


def warn(response: web.Response, warnings: Sequence[str]) -> None:
    """Add Warning headers. Spec: RFC 7234 5.5, code 299."""
    for warning in warnings:
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')[:_WARNING_LIMIT]
        response.headers.add("Warning", f'299 - "{quoted}"')


def encode(document: JsonObject, *, status: int = 200, media_type: str = JSON) -> web.Response:
    """Return a document as JSON or YAML."""
    if media_type == YAML:
        text = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=True)
        return web.Response(body=text.encode(), status=status, content_type=YAML)
    body = msgspec.json.encode(document) + b"\n"
    return web.Response(body=body, status=status, content_type=JSON)


def refuse(error: StatusError, *, media_type: str = JSON) -> web.Response:
    """Return the Status of a failure."""
    response = encode(error.body(), status=error.code, media_type=media_type)
    warn(response, error.warnings)
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def page_not_found() -> web.Response:
    """Return what a real server says about paths that are none of its groups'."""
    return web.Response(text="404 page not found\n", status=404)

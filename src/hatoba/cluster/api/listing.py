"""Lists over HTTP: resource versions, pages and their tokens.

Spec: Kubernetes API concepts, "Retrieving large results sets in chunks", "Resource versions".
"""

from dataclasses import dataclass

from hatoba.cluster.api.continuation import Continuation, decode_token
from hatoba.cluster.api.queries import ListQuery
from hatoba.cluster.api.reading import Reader
from hatoba.cluster.api.requests import Selection
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import BadRequest, Expired, InternalError
from hatoba.kernel.json import JsonObject


@dataclass(slots=True, frozen=True)
class Page:
    """Some objects, and the `metadata` of their list."""

    items: list[JsonObject]
    metadata: JsonObject


class Lister:
    """Answers lists."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def page(self, resource: Resource, namespace: str | None, query: ListQuery) -> Page:
        """Return the page that a query asks for.

        Raises:
            StatusError: the version or the token is not served.
        """
        selection = Selection(namespace=namespace, labels=query.labels, fields=query.fields)
        if query.continue_token:
            return self._next(resource, selection, query)
        if query.match == "Exact" and query.version:
            objects = self._exact(resource, selection, query.version)
            version = query.version
        else:
            self._reader.check_version(query.version or 0)
            limited_at = bool(query.version) and query.limit > 0
            version = query.version if limited_at and query.version else self._reader.version
            objects = (
                self._exact(resource, selection, version)
                if limited_at and not query.match
                else self._reader.select(resource, selection)
            )
        limit = 0 if query.version == 0 else query.limit
        return _cut(objects, version, limit, query, selection, first=True)

    def _exact(self, resource: Resource, selection: Selection, version: int) -> list[JsonObject]:
        if version > self._reader.version:
            raise InternalError("etcdserver: mvcc: required revision is a future revision")
        try:
            return self._reader.select_at(resource, selection, version)
        except Expired as error:
            raise Expired("The resourceVersion for the provided list is too old.") from error

    def _next(self, resource: Resource, selection: Selection, query: ListQuery) -> Page:
        if query.version is not None:
            if query.version == 0:
                pass
            else:
                decode_token(query.continue_token)
                raise BadRequest("specifying resource version is not allowed when using continue")
        token = decode_token(query.continue_token)
        version = self._reader.version if token.version == -1 else token.version
        try:
            objects = self._reader.select_at(resource, selection, version)
        except Expired as error:
            again = Continuation(-1, token.after).encode()
            raise Expired(
                "The provided continue parameter is too old to display a consistent list result."
                " You can start a new list without the continue parameter, or use the continue"
                " token in this response to retrieve the remainder of the results. Continuing with"
                " the provided token results in an inconsistent list - objects that were created,"
                " modified, or deleted between the time the first chunk was returned and now may"
                " show up in the list.",
                continue_token=again,
            ) from error
        rest = [obj for obj in objects if _key(obj, selection) > token.after]
        return _cut(rest, version, query.limit, query, selection, first=False)


def _key(obj: JsonObject, selection: Selection) -> str:
    metadata = obj["metadata"]
    name: str = metadata["name"]
    if selection.namespace is None and "namespace" in metadata:
        return f"{metadata['namespace']}/{name}"
    return name


def _cut(
    objects: list[JsonObject],
    version: int,
    limit: int,
    query: ListQuery,
    selection: Selection,
    *,
    first: bool,
) -> Page:
    metadata: JsonObject = {"resourceVersion": str(version)}
    if not limit or len(objects) <= limit:
        return Page(objects, metadata)
    page, rest = objects[:limit], objects[limit:]
    last = Continuation(version, _key(page[-1], selection))
    metadata["continue"] = last.encode(first=first and query.version is None)
    if not query.labels and not query.fields:
        metadata["remainingItemCount"] = len(rest)
    return Page(page, metadata)

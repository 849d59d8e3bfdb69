"""The verbs over HTTP: from an exchange to an answer."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from aiohttp import web

from hatoba.cluster.api.applying import parse_applied
from hatoba.cluster.api.assembly import Api
from hatoba.cluster.api.bodies import Body, MalformedJson, decode_body, media_type_of, summarize
from hatoba.cluster.api.exchange import Exchange
from hatoba.cluster.api.listing import Lister
from hatoba.cluster.api.queries import is_true, parse_deletion, parse_list, parse_write
from hatoba.cluster.api.queries import resource_version as parse_version
from hatoba.cluster.api.requests import Write
from hatoba.cluster.api.status import (
    BadRequest,
    MethodNotAllowed,
    StatusError,
)
from hatoba.cluster.api.views import View, included, printer_of
from hatoba.cluster.api.watching import Watcher, WatchRequest
from hatoba.cluster.api.writing import Transform, key_of
from hatoba.cluster.formats.patches import go_kind
from hatoba.kernel.json import JsonObject

Handler = Callable[[Exchange], Awaitable[web.StreamResponse]]


class Handlers:
    """Serves the collections and objects of every resource."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lister = Lister(api.reader)
        self._watcher = Watcher(api.reader, clock=api.clock)

    async def handle(self, exchange: Exchange) -> web.StreamResponse:
        """Answer a request for a collection, an object, its status or its scale.

        Raises:
            StatusError: as a real server would answer.
        """
        target, method = exchange.target, exchange.request.method
        watch = is_true(exchange.request.query.get("watch"))
        verb = target.verb(method, watch=watch and not target.name)
        table: dict[str, Handler] = {
            "get": self.get,
            "list": self.list,
            "watch": self.watch,
            "create": self.create,
            "update": self.update,
            "patch": self.patch,
            "delete": self.delete,
            "deletecollection": self.delete_collection,
        }
        handler = table.get(verb)
        if handler is None or not self._offers(exchange, verb):
            if verb in ("update", "patch") and not target.name:
                raise BadRequest("name must be provided")
            about = exchange.resource.about()
            raise MethodNotAllowed(
                f'{verb} is not supported on resources of kind "{about.qualified}"', about=about
            )
        return await handler(exchange)

    @staticmethod
    def _offers(exchange: Exchange, verb: str) -> bool:
        if verb in ("update", "patch") and not exchange.target.name:
            return False
        if exchange.target.subresource:
            if exchange.target.subresource == "binding":
                return verb == "create"
            return verb in ("get", "update", "patch")
        return verb in exchange.resource.verbs

    def _view(self, exchange: Exchange) -> View:
        version = exchange.target.version
        return View(
            resource=exchange.resource,
            version=version,
            representation=exchange.representation,
            printer=printer_of(self._api.registry, exchange.resource, version),
            include=included(exchange.request.query.get("includeObject", "")),
            now=self._api.clock.now(),
        )

    def _show(self, exchange: Exchange, obj: JsonObject) -> JsonObject:
        return self._view(exchange).one(obj)

    async def get(self, exchange: Exchange) -> web.StreamResponse:
        """Answer with one object or its scale."""
        target = exchange.target
        version = parse_version(exchange.request.query.get("resourceVersion", ""))
        self._api.reader.check_version(version or 0)
        key = key_of(exchange.resource, target.name, target.namespace)
        obj = self._api.reader.get(exchange.resource, key)
        if target.subresource == "scale":
            return exchange.answer(self._api.subresources.view(exchange.resource).read(obj))
        return exchange.answer(self._show(exchange, obj))

    async def list(self, exchange: Exchange) -> web.StreamResponse:
        """Answer with a page of a list."""
        query = parse_list(exchange.request.query, watch=False)
        page = self._lister.page(exchange.resource, exchange.target.namespace, query)
        document = self._view(exchange).many(page.items, page.metadata)
        return exchange.answer(document)

    async def watch(self, exchange: Exchange) -> web.StreamResponse:
        """Stream the changes of a collection."""
        query = parse_list(exchange.request.query, watch=True)

        def show(obj: JsonObject, is_first: bool) -> JsonObject:  # noqa: FBT001 -- a callback
            return self._view(exchange).one(obj, with_columns=is_first)

        request = WatchRequest(
            resource=exchange.resource,
            version=exchange.target.version,
            namespace=exchange.target.namespace,
            query=query,
            show=show,
        )
        self._watcher.check(request)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(exchange.request)
        # A client that leaves is no failure; the generator then stops listening.
        with contextlib.suppress(ConnectionResetError):
            async with contextlib.aclosing(self._watcher.lines(request)) as lines:
                async for line in lines:
                    await response.write(line)
            await response.write_eof()
        return response

    async def create(self, exchange: Exchange) -> web.StreamResponse:
        """Create an object, or bind a pod."""
        body = await self._body(exchange)
        write = self._write(exchange, "CreateOptions")
        if exchange.target.subresource == "binding":
            return self._bind(exchange, body, write)
        document = _checked(body, exchange)
        if exchange.target.name:
            document.setdefault("metadata", {}).setdefault("name", exchange.target.name)
        write = replace(write, duplicates=_duplicates(body))
        with _warned(write):
            made = self._api.writer.create(
                exchange.resource, document, exchange.target.namespace, write=write
            )
        return exchange.answer(self._show(exchange, made), status=201, warnings=write.warnings)

    def _bind(self, exchange: Exchange, body: Body, write: Write) -> web.StreamResponse:
        if not isinstance(body.document, dict):
            raise BadRequest("the body of the request is no object")
        target = exchange.target
        self._api.subresources.bind(
            exchange.resource, target.name, target.namespace, body.document, write=write
        )
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return exchange.answer({**status, "code": 201}, status=201)

    async def update(self, exchange: Exchange) -> web.StreamResponse:
        """Replace an object, its status or its scale."""
        body = await self._body(exchange)
        write = self._write(exchange, "UpdateOptions")
        document = _checked(body, exchange, scale=exchange.target.subresource == "scale")
        _check_names(document, exchange)
        write = replace(write, duplicates=_duplicates(body))
        return self._change(exchange, lambda _: document, write)

    async def patch(self, exchange: Exchange) -> web.StreamResponse:
        """Patch an object, its status or its scale."""
        content_type = media_type_of(exchange.request.headers.get("Content-Type", ""))
        body = await exchange.request.read()
        if content_type == "application/apply-patch+yaml":
            return self._apply(exchange, body)
        transform, write = self._api.patcher.prepare(
            exchange.resource,
            body,
            kind=content_type,
            write=self._write(exchange, "PatchOptions"),
        )

        def checked(document: JsonObject) -> JsonObject:
            patched = transform(document)
            _check_names(patched, exchange)
            return patched

        return self._change(exchange, checked, write)

    def _apply(self, exchange: Exchange, body: bytes) -> web.StreamResponse:
        target = exchange.target
        self._check_creation(exchange)
        write = self._write(exchange, "PatchOptions", applies=True)
        obj, is_new = self._api.applier.apply(
            exchange.resource,
            target.name,
            target.namespace,
            parse_applied(body, strict=write.field_validation == "Strict"),
            write=write,
        )
        if target.subresource == "scale":
            return exchange.answer(self._api.subresources.view(exchange.resource).read(obj))
        status = 201 if is_new else 200
        return exchange.answer(self._show(exchange, obj), status=status, warnings=write.warnings)

    def _check_creation(self, exchange: Exchange) -> None:
        """Let an apply create an object only for those who may create it."""
        target, request = exchange.target, exchange.request
        key = key_of(exchange.resource, target.name, target.namespace)
        if self._api.store.get(key) is None:
            self._api.roles.check(
                exchange.user, path=request.path, method="POST", target=target, verb="create"
            )

    def _change(self, exchange: Exchange, transform: Transform, write: Write) -> web.StreamResponse:
        target = exchange.target
        if target.subresource == "scale":
            scale = self._api.subresources.update_scale(
                exchange.resource, target.name, target.namespace, transform, write=write
            )
            return exchange.answer(scale, warnings=write.warnings)
        with _warned(write):
            changed = self._api.writer.update(
                exchange.resource, target.name, target.namespace, transform, write=write
            )
        return exchange.answer(self._show(exchange, changed), warnings=write.warnings)

    async def delete(self, exchange: Exchange) -> web.StreamResponse:
        """Delete an object."""
        target, resource = exchange.target, exchange.resource
        options = await self._options(exchange)
        deletion = parse_deletion(exchange.request.query, options)
        key = key_of(resource, target.name, target.namespace)
        rules = self._api.registry.strategy(resource)
        warnings = [] if deletion.propagation else rules.deletion_warnings()
        obj, is_gone = self._api.remover.delete(resource, key, deletion=deletion)
        if not is_gone or resource.answers_deletion_with_object:
            return exchange.answer(self._show(exchange, obj), warnings=warnings)
        details: JsonObject = {"name": target.name}
        if resource.group:
            details["group"] = resource.group
        details |= {"kind": resource.plural, "uid": obj["metadata"]["uid"]}
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
        return exchange.answer(status, warnings=warnings)

    async def delete_collection(self, exchange: Exchange) -> web.StreamResponse:
        """Delete all objects that match."""
        resource, namespace = exchange.resource, exchange.target.namespace
        options = await self._options(exchange)
        deletion = parse_deletion(exchange.request.query, options)
        query = parse_list(exchange.request.query, watch=False)
        page = self._lister.page(resource, namespace, query)
        for obj in page.items:
            metadata = obj["metadata"]
            key = key_of(resource, metadata["name"], metadata.get("namespace"))
            self._api.remover.delete(resource, key, deletion=deletion)
        document = self._view(exchange).many(
            page.items, {"resourceVersion": str(self._api.reader.version)}
        )
        return exchange.answer(document)

    async def read_object(self, exchange: Exchange) -> JsonObject:
        """Return the object in the body of a request.

        Raises:
            BadRequest: there is none.
        """
        document = (await self._body(exchange)).document
        if not isinstance(document, dict):
            raise BadRequest("the body of the request is no object")
        document.setdefault("kind", exchange.resource.kind)
        document.setdefault("apiVersion", exchange.resource.api_version(exchange.target.version))
        return document

    @staticmethod
    async def _options(exchange: Exchange) -> JsonObject | None:
        data = await exchange.request.read()
        if not data.strip():
            return None
        body = decode_body(data, exchange.request.headers.get("Content-Type", ""))
        return body.document if isinstance(body.document, dict) else None

    @staticmethod
    async def _body(exchange: Exchange) -> Body:
        data = await exchange.request.read()
        try:
            body = decode_body(data, exchange.request.headers.get("Content-Type", ""))
        except MalformedJson as error:
            raise _unrecognized(exchange, f"json parse error: {error}", data) from error
        body.data = data
        return body

    @staticmethod
    def _write(exchange: Exchange, options: str, *, applies: bool = False) -> Write:
        return parse_write(
            exchange.request.query,
            options=options,
            version=exchange.target.version,
            agent=exchange.request.headers.get("User-Agent", ""),
            subresource=exchange.target.subresource,
            applies=applies,
        )


@contextlib.contextmanager
def _warned(write: Write) -> Iterator[None]:
    """Let a refusal carry the warnings that were found before it."""
    try:
        yield
    except StatusError as error:
        error.warnings = tuple(write.warnings)
        raise


def _duplicates(body: Body) -> tuple[str, ...]:
    return tuple(f'duplicate field "{name}"' for name in body.duplicates)


def _checked(body: Body, exchange: Exchange, *, scale: bool = False) -> JsonObject:
    document = body.document
    resource = exchange.resource
    if not isinstance(document, dict):
        raise _unrecognized(
            exchange,
            f"json parse error: json: cannot unmarshal {go_kind(document)} into Go value of type"
            ' struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string'
            ' "json:\\"kind,omitempty\\"" }',
            body.data,
        )
    expected = "autoscaling/v1" if scale else resource.api_version(exchange.target.version)
    given = document.get("apiVersion", "")
    if not document.get("kind"):
        if resource.is_custom and not scale:
            raise BadRequest(
                f"the object provided is unrecognized (must be of type {resource.kind}): Object"
                f" 'Kind' is missing in '{body.data.decode(errors='replace')}'"
                f" ({summarize(body.data)})"
            )
        document["kind"] = "Scale" if scale else resource.kind
        given = given or expected
    if given != expected:
        raise BadRequest(
            f"the API version in the data ({given}) does not match the expected API version"
            f" ({expected})"
        )
    return document


def _unrecognized(exchange: Exchange, why: str, data: bytes) -> BadRequest:
    return BadRequest(
        f"the object provided is unrecognized (must be of type {exchange.resource.kind}): couldn't"
        f" get version/kind; {why} ({summarize(data)})"
    )


def _check_names(document: JsonObject, exchange: Exchange) -> None:
    target = exchange.target
    metadata = document.setdefault("metadata", {})
    name = metadata.get("name") or ""
    if name and name != target.name:
        raise BadRequest(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )
    namespace = metadata.get("namespace") or ""
    if namespace and target.namespace and namespace != target.namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["name"] = target.name

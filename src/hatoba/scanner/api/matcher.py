"""Clair's `/matcher/api/v1`. Source: Clair v4 OpenAPI, tag Matcher."""

import uuid
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hatoba.kernel.clock import rfc3339
from hatoba.kernel.digests import Digest
from hatoba.kernel.json import JsonObject
from hatoba.scanner.api.answers import JSON, BadRequest, UnknownManifest, answer, negotiate
from hatoba.scanner.indexer.coalesce import FINISHED
from hatoba.scanner.indexer.service import Indexer
from hatoba.scanner.matcher.service import Matcher
from hatoba.scanner.updaters.store import OperationRecord, UpdateStore

ROOT: Final = "/matcher/api/v1"


class MatcherApi:
    """The handlers."""

    def __init__(
        self, *, indexer: Indexer, matcher: Matcher, updates: UpdateStore, cache_age: timedelta
    ) -> None:
        self._indexer = indexer
        self._matcher = matcher
        self._updates = updates
        self._cache_age = cache_age

    def routes(self) -> list[BaseRoute]:
        """Return the rows."""
        internal = f"{ROOT}/internal"
        return [
            Route(f"{ROOT}/vulnerability_report/{{digest}}", self.report, methods=["GET"]),
            Route(f"{internal}/update_operation", self.operations, methods=["GET"]),
            Route(f"{internal}/update_operation/{{ref}}", self.delete, methods=["DELETE"]),
            Route(f"{internal}/update_diff", self.difference, methods=["GET"]),
        ]

    async def report(self, request: Request) -> Response:
        """GET vulnerability_report/{digest}; 202 while there are no advisories at all."""
        negotiate(request, "vulnerability_report")
        digest = Digest.parse(request.path_params["digest"])
        if not await self._matcher.is_initialised():
            return Response(status_code=202)
        index = await self._indexer.report(digest)
        if index is None or index.state != FINISHED:
            raise UnknownManifest(f"index report for manifest {str(digest)!r} not found")
        return answer(
            await self._matcher.report(index),
            # Clair names the wrong type here, and its clients have learnt it.
            content_type="application/vnd.clair.index_report.v1+json",
            headers={"Cache-Control": f"max-age={round(self._cache_age.total_seconds())}"},
        )

    async def operations(self, request: Request) -> Response:
        """GET internal/update_operation, by updater."""
        kind = request.query_params.get("kind", "vulnerability")
        if kind not in {"vulnerability", "enrichment"}:
            raise BadRequest(f"unknown kind: {kind[:50]!r}")
        latest = request.query_params.get("latest", "").lower() in {"1", "t", "true"}
        found = await self._updates.operations(latest=latest) if kind == "vulnerability" else []
        by_updater: dict[str, list[JsonObject]] = {}
        for operation in found:
            by_updater.setdefault(operation.updater, []).append(_view(operation))
        tag = f'"{found[0].ref if found else "none"}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return answer(by_updater, content_type=JSON, headers={"ETag": tag})

    async def delete(self, request: Request) -> Response:
        """DELETE internal/update_operation/{ref}; an unknown one is no error."""
        await self._updates.delete_operation(_ref(request.path_params["ref"]))
        return Response(status_code=200)

    async def difference(self, request: Request) -> Response:
        """GET internal/update_diff: what `cur` brought and took away since `prev`."""
        current = _ref(request.query_params.get("cur", ""))
        previous = request.query_params.get("prev", "")
        after = await self._updates.advisories_of(current)
        before = await self._updates.advisories_of(_ref(previous)) if previous else {}
        records = {record.ref: record for record in await self._updates.operations(latest=False)}
        document = {
            "prev": _view(records[previous]) if previous in records else {},
            "cur": _view(records[current]) if current in records else {},
            "added": [after[number] for number in after if number not in before],
            "removed": [before[number] for number in before if number not in after],
        }
        return answer(document, content_type=JSON)


def _view(operation: OperationRecord) -> JsonObject:
    return {
        "ref": operation.ref,
        "updater": operation.updater,
        "fingerprint": operation.fingerprint,
        "date": rfc3339(operation.made_at),
        "kind": "vulnerability",
    }


def _ref(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise BadRequest(f"could not parse {text[:50]!r} as a reference") from error

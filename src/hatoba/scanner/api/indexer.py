"""Clair's `/indexer/api/v1`. Source: Clair v4 OpenAPI, tag Indexer."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hatoba.kernel.digests import Digest
from hatoba.scanner.api.answers import (
    JSON,
    BadRequest,
    UnknownManifest,
    answer,
    negotiate,
    read_body,
)
from hatoba.scanner.indexer.service import Indexer
from hatoba.scanner.matcher.ecosystems import ECOSYSTEMS, is_affected
from hatoba.scanner.models import IndexReport, Manifest, Vulnerability

ROOT: Final = "/indexer/api/v1"
_SEVERITIES: Final = ("Unknown", "Negligible", "Low", "Medium", "High", "Critical")


class _Affected(msgspec.Struct):
    vulnerabilities: list[Vulnerability]


class IndexerApi:
    """The handlers."""

    def __init__(self, indexer: Indexer) -> None:
        self._indexer = indexer

    def routes(self) -> list[BaseRoute]:
        """Return the rows."""
        return [
            Route(f"{ROOT}/index_report", self.index, methods=["POST"]),
            Route(f"{ROOT}/index_report", self.delete_many, methods=["DELETE"]),
            Route(f"{ROOT}/index_report/{{digest}}", self.report, methods=["GET"]),
            Route(f"{ROOT}/index_report/{{digest}}", self.delete, methods=["DELETE"]),
            Route(f"{ROOT}/index_state", self.state, methods=["GET"]),
            Route(f"{ROOT}/internal/affected_manifest/", self.affected, methods=["POST"]),
            Route(f"{ROOT}/internal/affected_manifest", self.affected, methods=["POST"]),
        ]

    async def index(self, request: Request) -> Response:
        """POST index_report."""
        content_type = negotiate(request, "index_report")
        if self._is_unmodified(request):
            return Response(status_code=412)
        try:
            manifest = msgspec.json.decode(await read_body(request), type=Manifest)
        except msgspec.DecodeError as error:
            raise BadRequest(f"failed to deserialize manifest: {error}") from error
        report = await self._indexer.index(manifest)
        digest = report.manifest_hash
        links = [
            f'<{ROOT}/index_report/{digest}>; rel="https://projectquay.io/clair/v1/index_report"',
            (
                f"</matcher/api/v1/vulnerability_report/{digest}>; "
                'rel="https://projectquay.io/clair/v1/vulnerability_report"'
            ),
        ]
        response = answer(
            report,
            content_type=content_type,
            status=201,
            headers={"Location": f"{ROOT}/index_report/{digest}", "ETag": self._tag},
        )
        for link in links:
            response.headers.append("Link", link)
        return response

    async def report(self, request: Request) -> Response:
        """GET index_report/{digest}."""
        content_type = negotiate(request, "index_report")
        digest = Digest.parse(request.path_params["digest"])
        if self._is_unmodified(request):
            return Response(status_code=304, headers={"ETag": self._tag})
        report = await self._indexer.report(digest)
        if report is None:
            raise UnknownManifest(f"index report for manifest {str(digest)!r} not found")
        return answer(report, content_type=content_type, headers={"ETag": self._tag})

    async def delete(self, request: Request) -> Response:
        """DELETE index_report/{digest}; an unknown digest is no error."""
        await self._indexer.delete([Digest.parse(request.path_params["digest"])])
        return Response(status_code=204)

    async def delete_many(self, request: Request) -> Response:
        """DELETE index_report; answers the digests that were known."""
        try:
            texts = msgspec.json.decode(await read_body(request), type=list[str])
        except msgspec.DecodeError as error:
            raise BadRequest(f"failed to deserialize bulk delete: {error}") from error
        deleted = await self._indexer.delete([Digest.parse(text) for text in texts])
        return answer([str(digest) for digest in deleted], content_type=JSON)

    async def state(self, request: Request) -> Response:
        """GET index_state."""
        content_type = negotiate(request, "index_state")
        if self._is_unmodified(request):
            return Response(status_code=304, headers={"ETag": self._tag})
        return answer(
            {"state": self._indexer.state}, content_type=content_type, headers={"ETag": self._tag}
        )

    async def affected(self, request: Request) -> Response:
        """POST internal/affected_manifest: which manifests have any of these vulnerabilities."""
        content_type = negotiate(request, "affected_manifests")
        try:
            asked = msgspec.json.decode(await read_body(request), type=_Affected).vulnerabilities
        except msgspec.DecodeError as error:
            raise BadRequest(f"failed to deserialize vulnerabilities: {error}") from error
        names = sorted({one.package.name for one in asked})
        manifests: dict[str, list[str]] = {}
        for digest in await self._indexer.manifests_holding(names):
            report = await self._indexer.report(digest)
            hits = [one for one in asked if report is not None and _affects(one, report)]
            if hits:
                hits.sort(key=lambda one: -_SEVERITIES.index(one.normalized_severity))
                manifests[str(digest)] = [one.id for one in hits]
        shown = {number for numbers in manifests.values() for number in numbers}
        document = {
            "vulnerabilities": {one.id: one for one in asked if one.id in shown},
            "vulnerable_manifests": manifests,
        }
        return answer(document, content_type=content_type)

    @property
    def _tag(self) -> str:
        return f'"{self._indexer.state}"'

    def _is_unmodified(self, request: Request) -> bool:
        """Compare as Clair does: one whole strong tag, no lists, no `*`."""
        return request.headers.get("if-none-match") == self._tag


def _affects(advisory: Vulnerability, report: IndexReport) -> bool:
    ecosystem = ECOSYSTEMS.get(advisory.distribution.did)
    if ecosystem is None:
        return False
    for package_id, environments in report.environments.items():
        for environment in environments:
            distribution = report.distributions.get(environment.distribution_id)
            if (
                distribution is not None
                and distribution.did == ecosystem.did
                and ecosystem.release(distribution) == ecosystem.release(advisory.distribution)
                and is_affected(report.packages[package_id], advisory, ecosystem=ecosystem)
            ):
                return True
    return False

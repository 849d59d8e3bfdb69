"""The editor's HTTP application: the page, and config-tool's JSON API.

Source: Quay config-tool 3.6 (`/api/v1/config`, `/validate`, `/download`, `/operator`).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from hatoba.config.loader import ConfigurationInvalid
from hatoba.config.schema import QuayConfig
from hatoba.config.validation import Finding, validate_mapping
from hatoba.editor.bundle import Bundle, finding_view, read_bundle
from hatoba.editor.fields import changed, sections
from hatoba.editor.handover import Recipient
from hatoba.editor.pages import View, render
from hatoba.editor.protection import CONTENT_POLICY, COOKIE, NotLetIn, Protection
from hatoba.editor.settings import EditorSettings
from hatoba.kernel.errors import (
    Forbidden,
    HatobaError,
    InvalidInput,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from hatoba.net.http import PeerUnreachable
from hatoba.serving.asgi import Application

MAXIMUM_BODY_BYTES: Final = 8 << 20
SAVED: Final = (
    "The operator has taken the configuration and rolls it out. This editor starts anew with it; "
    "the registry keeps serving meanwhile."
)
_STYLE: Final = Path(__file__).parent / "static" / "editor.css"
_STATUSES: Final[tuple[tuple[type[HatobaError], int], ...]] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (Unsupported, 501),
    (TooLarge, 413),
    (Unavailable, 502),
    (InvalidInput, 400),
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

log = structlog.get_logger()


class NoOperator(Unsupported):
    """The editor runs by itself: there is nobody to hand a configuration over to."""


class BodyUnreadable(InvalidInput):
    """A body that is not what the endpoint takes."""


class _WireBundle(msgspec.Struct):
    config: dict[str, object] = msgspec.field(name="config.yaml")
    certs: dict[str, bytes] = {}
    managed: list[str] = msgspec.field(name="managedFieldGroups", default_factory=list)

    def bundle(self) -> Bundle:
        return Bundle(config=self.config, files=self.certs)


@dataclass(slots=True, frozen=True, kw_only=True)
class Editor:
    """The handlers and what they need."""

    settings: EditorSettings
    protection: Protection
    recipient: Recipient | None

    def application(self) -> Application:
        """Return the ASGI application."""
        api = "/api/v1/config"
        return Starlette(
            routes=[
                self._route("/", self.show, "GET"),
                self._route("/", self.submit, "POST"),
                self._route("/static/editor.css", self.style, "GET"),
                self._route(api, self.read, "GET"),
                self._route(f"{api}/validate", self.validate, "POST"),
                self._route(f"{api}/download", self.download, "POST"),
                self._route(f"{api}/operator", self.hand_over, "POST"),
            ],
            exception_handlers={HTTPException: _on_http_error, HatobaError: _on_error},
        )

    def _route(
        self, path: str, handler: Callable[[Request], Awaitable[Response]], method: str
    ) -> Route:
        async def guarded(request: Request) -> Response:
            self.protection.check_credentials(request.headers.get("authorization", ""))
            response = await handler(request)
            response.headers.update(_HEADERS)
            return response

        return Route(path, guarded, methods=[method])

    async def show(self, request: Request) -> Response:
        """GET /: the form."""
        notice = SAVED if "saved" in request.query_params else ""
        return self._page(request, notice=notice)

    async def submit(self, request: Request) -> Response:
        """POST /: check the form, and save it when asked to."""
        pairs = parse_qsl((await _body(request)).decode("utf-8", "replace"), keep_blank_values=True)
        form = dict(pairs)
        self.protection.check_form(request, form.get("form_token", ""))
        mounted = read_bundle(self.settings.directory)
        shown = sections(self.settings.locked_keys)
        config, unreadable = changed(mounted.config, form, form_sections=shown)
        broken = {finding.field for finding in unreadable}
        findings = unreadable + [
            finding
            for finding in validate_mapping(config)
            if finding.field.partition(".")[0] not in broken
        ]
        bundle = Bundle(config=config, files=mounted.files)
        if findings:
            return self._page(request, texts=form, findings=findings, status=422)
        if form.get("action") == "download":
            return _archive(bundle)
        if form.get("action") != "save":
            return self._page(request, texts=form, notice="The configuration is valid.")
        answer = await self._recipient().take(bundle, managed_groups=self.settings.read_only_groups)
        if answer.status != 200:
            said = answer.body.decode("utf-8", "replace")[:2000]
            log.warning("configuration refused", status=answer.status)
            refusal = f"The operator did not take the configuration ({answer.status}): {said}"
            return self._page(request, texts=form, refusal=refusal, status=502)
        log.info("configuration handed over")
        return RedirectResponse("/?saved", 303)

    async def style(self, _request: Request) -> Response:
        """GET /static/editor.css."""
        return Response(_STYLE.read_bytes(), media_type="text/css")

    async def read(self, _request: Request) -> Response:
        """GET /api/v1/config; 202 where no configuration is mounted."""
        defaults = QuayConfig().model_dump(mode="json", by_alias=True, exclude_none=True)
        if not (self.settings.directory / "config.yaml").is_file():
            return JSONResponse(Bundle(config=defaults).wire(), 202)
        mounted = read_bundle(self.settings.directory)
        return JSONResponse(Bundle(config=defaults | mounted.config, files=mounted.files).wire())

    async def validate(self, request: Request) -> Response:
        """POST /api/v1/config/validate: the faults; [] when there are none."""
        mode = request.query_params.get("mode", "online")
        if mode not in {"online", "offline", "testing"}:
            raise BodyUnreadable(f"unknown mode {mode[:50]!r}")
        wire = await self._wire(request)
        return JSONResponse([finding_view(one) for one in validate_mapping(wire.config)])

    async def download(self, request: Request) -> Response:
        """POST /api/v1/config/download: the bundle as quay-config.tar.gz."""
        return _archive((await self._wire(request)).bundle())

    async def hand_over(self, request: Request) -> Response:
        """POST /api/v1/config/operator: status and body are the operator's."""
        wire = await self._wire(request)
        answer = await self._recipient().take(wire.bundle(), managed_groups=tuple(wire.managed))
        log.info("configuration handed over", status=answer.status)
        return Response(
            answer.body, answer.status, media_type=answer.headers.get("Content-Type", "text/plain")
        )

    async def _wire(self, request: Request) -> _WireBundle:
        self.protection.check_json(request)
        try:
            return msgspec.json.decode(await _body(request), type=_WireBundle)
        except msgspec.DecodeError as error:
            raise BodyUnreadable(str(error)) from error

    def _recipient(self) -> Recipient:
        if self.recipient is None:
            raise NoOperator("QUAY_OPERATOR_ENDPOINT is not set")
        return self.recipient

    def _page(
        self,
        request: Request,
        *,
        texts: dict[str, str] | None = None,
        findings: list[Finding] | None = None,
        notice: str = "",
        refusal: str = "",
        status: int = 200,
    ) -> Response:
        operator = self.settings.operator
        try:
            mounted = read_bundle(self.settings.directory)
        except ConfigurationInvalid as error:
            mounted, refusal = Bundle(config={}), error.message
        nonce = request.cookies.get(COOKIE) or self.protection.new_nonce()
        page = render(
            View(
                registry=f"{operator.namespace}/{operator.registry}" if operator else "",
                sections=sections(self.settings.locked_keys),
                config=mounted.config,
                texts=texts or {},
                findings=findings or [],
                files=list(mounted.files),
                token=self.protection.form_token(nonce),
                notice=notice,
                refusal=refusal,
            )
        )
        response = HTMLResponse(page, status)
        response.set_cookie(COOKIE, nonce, httponly=True, samesite="strict", path="/")
        return response


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAXIMUM_BODY_BYTES:
            raise TooLarge(f"the body has more than {MAXIMUM_BODY_BYTES} bytes")
    return bytes(content)


def _archive(bundle: Bundle) -> Response:
    return Response(
        bundle.archive(),
        media_type="application/gzip",
        headers={"Content-Disposition": 'attachment; filename="quay-config.tar.gz"'},
    )


async def _on_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HatobaError)
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    headers = dict(_HEADERS)
    if isinstance(error, NotLetIn):
        headers["WWW-Authenticate"] = 'Basic realm="Hatoba config editor", charset="UTF-8"'
    if isinstance(error, PeerUnreachable):
        log.warning("operator out of reach", reason=error.message)
    return PlainTextResponse(error.message, status, headers=headers)


async def _on_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(str(error.detail), error.status_code, headers=_HEADERS)

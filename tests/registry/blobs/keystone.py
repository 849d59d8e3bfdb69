"""What Keystone answers to a password, after its documentation; the service itself was never met.

"Identity API v3", "Password authentication with scoped authorization", and "Identity API v2.0",
"Authenticate". The token is one that the Swift of the tests believes, and so is the address of the
region Harbour.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.swift_storage import Swift

ELSEWHERE = "http://127.0.0.1:1/v1/AUTH_elsewhere"


@dataclass(kw_only=True)
class Keystone:
    swift: Swift
    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    type: str = "object-store"
    """What the catalog calls the only service that it has."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def v3(self, request: web.Request) -> web.Response:
        auth = await self._read(request)
        if auth["identity"]["password"]["user"]["password"] != "sesame":
            return _refused()
        endpoints = [
            {"interface": interface, "region": region, "region_id": region, "url": url}
            for interface in ("admin", "public")
            for region, url in (("Elsewhere", ELSEWHERE), ("Harbour", self.swift.account))
        ]
        token = {"catalog": [{"type": "identity"}, {"type": self.type, "endpoints": endpoints}]}
        headers = {"X-Subject-Token": self.swift.token}
        return web.json_response({"token": token}, status=201, headers=headers)

    async def v2(self, request: web.Request) -> web.Response:
        auth = await self._read(request)
        if auth["passwordCredentials"]["password"] != "sesame":
            return _refused()
        endpoints = [
            {"region": region, "publicURL": url, "internalURL": url, "adminURL": ELSEWHERE}
            for region, url in (("Elsewhere", ELSEWHERE), ("Harbour", self.swift.account))
        ]
        access = {
            "token": {"id": self.swift.token},
            "serviceCatalog": [{"type": self.type, "endpoints": endpoints}],
        }
        return web.json_response({"access": access})

    async def _read(self, request: web.Request) -> dict[str, Any]:
        auth: dict[str, Any] = (await request.json())["auth"]
        self.asked.append(auth)
        return auth


def _refused() -> web.Response:
    return web.json_response({"error": {"code": 401, "title": "Unauthorized"}}, status=401)


@asynccontextmanager
async def keystone(swift: Swift) -> AsyncIterator[Keystone]:
    service = Keystone(swift=swift)
    routes: tuple[tuple[str, Callable[[web.Request], Any]], ...] = (
        ("/v3/auth/tokens", service.v3),
        ("/v2.0/tokens", service.v2),
    )
    application = web.Application()
    for path, handler in routes:
        application.router.add_post(path, handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.port = runner.addresses[0][1]
    try:
        yield service
    finally:
        await runner.cleanup()

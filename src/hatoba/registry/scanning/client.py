"""Calls to a Clair v4 compatible scanner.

Spec: Clair v4 HTTP API, as Quay uses it: bearer tokens signed HS256 with the shared key, issuer
`quay`; an index answer carries `ETag` and a final state.
"""

import base64
import binascii
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from joserfc import jwt
from joserfc.jwk import OctKey
from typing_extensions import override

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import HatobaError, InvalidInput
from hatoba.kernel.json import JsonObject
from hatoba.net.http import Answer, HttpClient, open_session
from hatoba.registry.scanning.errors import ManifestRefused, ScannerUnavailable

TOKEN_LIFETIME: Final = timedelta(minutes=5)
INDEX_SECONDS: Final = 600.0
STATE_SECONDS: Final = 10.0
REPORT_SECONDS: Final = 30.0
REPORT_BYTES: Final = 256 << 20
ISSUER: Final = "quay"


@dataclass(slots=True, frozen=True, kw_only=True)
class Layer:
    """A layer, and how the scanner gets it."""

    digest: str
    uri: str
    authorization: str = field(repr=False)


@dataclass(slots=True, frozen=True, kw_only=True)
class IndexResult:
    """How an index request ended. `indexer_hash` is the state of the scanner that did it."""

    is_finished: bool
    error: str
    indexer_hash: str


class Scanner(Protocol):
    """A security scanner."""

    async def state(self) -> str:
        """Return the scanner's state; when it changes, manifests are worth another look."""

    async def index(self, *, digest: str, layers: Sequence[Layer]) -> IndexResult:
        """Index a manifest; takes as long as the scanner needs.

        Raises:
            ManifestRefused: it never can be.
            ScannerUnavailable: it may be, later.
        """

    async def report(self, *, digest: str) -> JsonObject | None:
        """Return the vulnerability report; None while there is none.

        Raises:
            ScannerUnavailable: nobody knows.
        """


@dataclass(slots=True, frozen=True, kw_only=True)
class ClairScanner(Scanner):
    """A scanner behind HTTP."""

    endpoint: str
    key: bytes = field(repr=False)
    """Empty: the scanner wants no token."""
    clock: Clock
    tls: ssl.SSLContext | bool = True

    @classmethod
    def connect(
        cls, *, endpoint: str, psk: str, clock: Clock, tls: ssl.SSLContext | bool = True
    ) -> "ClairScanner":
        """Prepare calls; nothing is sent.

        Raises:
            InvalidInput: the shared key is not base64.
        """
        try:
            key = base64.b64decode(psk, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidInput("SECURITY_SCANNER_V4_PSK is not base64") from error
        return cls(endpoint=endpoint.rstrip("/"), key=key, clock=clock, tls=tls)

    @override
    async def state(self) -> str:
        answer = await self._call("GET", "/indexer/api/v1/index_state", seconds=STATE_SECONDS)
        self._require(answer, {200})
        state = _decoded(answer).get("state")
        if not isinstance(state, str) or not state:
            raise ScannerUnavailable("what answers is no Clair v4: its indexer has no state")
        return state

    @override
    async def index(self, *, digest: str, layers: Sequence[Layer]) -> IndexResult:
        manifest = {
            "hash": digest,
            "layers": [
                {
                    "hash": layer.digest,
                    "uri": layer.uri,
                    "headers": {
                        "Accept": ["application/gzip"],
                        "Authorization": [layer.authorization],
                    },
                }
                for layer in layers
            ],
        }
        answer = await self._call(
            "POST",
            "/indexer/api/v1/index_report",
            body=json.dumps(manifest).encode(),
            seconds=INDEX_SECONDS,
        )
        if answer.status == 400:
            raise ManifestRefused(str(_decoded(answer).get("message", "refused by the scanner")))
        self._require(answer, {200, 201})
        report = _decoded(answer)
        return IndexResult(
            is_finished=report.get("state") == "IndexFinished",
            error=str(report.get("err") or report.get("state") or ""),
            indexer_hash=answer.headers.get("ETag", "").strip('"'),
        )

    @override
    async def report(self, *, digest: str) -> JsonObject | None:
        answer = await self._call("GET", f"/matcher/api/v1/vulnerability_report/{digest}")
        if answer.status in {202, 404}:
            return None
        self._require(answer, {200})
        return _decoded(answer)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        seconds: float = REPORT_SECONDS,
    ) -> Answer:
        headers = {"Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self._token()}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            # The scanner is our neighbour: its address is private, and configured by us.
            async with open_session(
                allow_private=True, idle_seconds=seconds, tls=self.tls
            ) as session:
                return await HttpClient(session=session).call(
                    method,
                    self.endpoint + path,
                    headers=headers,
                    body=body,
                    deadline_seconds=seconds,
                    limit=REPORT_BYTES,
                )
        except HatobaError as error:
            raise ScannerUnavailable("the security scanner does not answer") from error

    def _token(self) -> str:
        now = int(self.clock.now().timestamp())
        claims = {"iss": ISSUER, "iat": now, "exp": now + int(TOKEN_LIFETIME.total_seconds())}
        key = OctKey.import_key(self.key)
        return jwt.encode({"alg": "HS256"}, claims, key, algorithms=["HS256"])

    def _require(self, answer: Answer, statuses: set[int]) -> None:
        if answer.status == 401:
            raise ScannerUnavailable(
                "the security scanner refuses SECURITY_SCANNER_V4_PSK (401)"
                if self.key
                else "the security scanner wants SECURITY_SCANNER_V4_PSK, which is not set (401)"
            )
        if answer.status not in statuses:
            raise ScannerUnavailable(f"the security scanner answered {answer.status}")


def _decoded(answer: Answer) -> JsonObject:
    try:
        decoded = json.loads(answer.body)
    except ValueError as error:
        raise ScannerUnavailable("the security scanner did not answer in JSON") from error
    if not isinstance(decoded, dict):
        raise ScannerUnavailable("the security scanner did not answer with an object")
    return decoded

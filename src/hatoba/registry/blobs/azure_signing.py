"""What proves to Azure who asks: a signature for each request, or a token that somebody made.

Azure Storage documentation, "Authorize with Shared Key" and "Create a service SAS".
"""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from typing_extensions import override

from hatoba.kernel.clock import Clock
from hatoba.registry.blobs.exchange import Credentials, Question

VERSION: Final = "2021-12-02"
"""Of the protocol; the oldest that signs what is used here."""
_SIGNED_HEADERS: Final = (
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-MD5",
    "Content-Type",
    "Date",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Unmodified-Since",
    "Range",
)


@dataclass(slots=True, frozen=True, kw_only=True)
class SharedKey(Credentials):
    """The key of the account signs."""

    account: str
    key: bytes = field(repr=False)
    clock: Clock

    @override
    async def signed(self, question: Question) -> Question:
        date = format_datetime(self.clock.now(), usegmt=True)
        headers = {**question.headers, "x-ms-date": date, "x-ms-version": VERSION}
        text = _to_sign(replace(question, headers=headers), account=self.account)
        headers["Authorization"] = f"SharedKey {self.account}:{_signature(self.key, text)}"
        return replace(question, headers=headers)

    @override
    def renews(self) -> bool:
        return False

    def link(self, *, container: str, name: str, lifetime: timedelta) -> str:
        """Return the query that lets anybody read one blob for a while."""
        until = _moment(self.clock.now() + lifetime)
        resource = f"/blob/{self.account}/{container}/{name}"
        # Permission, start, expiry, resource, identifier, addresses, protocol, version, kind,
        # snapshot, encryption scope, and five headers of the answer.
        lines = ["r", "", until, resource, "", "", "", VERSION, "b", "", "", "", "", "", "", ""]
        signature = _signature(self.key, "\n".join(lines))
        return urlencode({"sv": VERSION, "sr": "b", "sp": "r", "se": until, "sig": signature})


@dataclass(slots=True, frozen=True, kw_only=True)
class SharedToken(Credentials):
    """A token with rights on the container stands in each request."""

    token: str = field(repr=False)

    @override
    async def signed(self, question: Question) -> Question:
        query = {**question.query, **dict(parse_qsl(self.token.lstrip("?")))}
        return replace(question, query=query, headers={**question.headers, "x-ms-version": VERSION})

    @override
    def renews(self) -> bool:
        return False


def _to_sign(question: Question, *, account: str) -> str:
    headers = dict(question.headers)
    if question.body:
        headers["Content-Length"] = str(len(question.body))
    path = urlsplit(question.url).path
    lines = [question.method, *(headers.get(name, "") for name in _SIGNED_HEADERS)]
    return "\n".join([*lines, *_canonical(headers), f"/{account}{path}"]) + "".join(
        f"\n{name.lower()}:{value}" for name, value in sorted(question.query.items())
    )


def _canonical(headers: Mapping[str, str]) -> list[str]:
    named = {name.lower(): value.strip() for name, value in headers.items()}
    return [f"{name}:{named[name]}" for name in sorted(named) if name.startswith("x-ms-")]


def _signature(key: bytes, text: str) -> str:
    return base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"

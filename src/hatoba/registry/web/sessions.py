"""Browser sessions: a signed cookie, and the token that guards changes against forged requests.

Spec: Quay's sessions: cookie `_csrf_token` (its name there, too), bound to the UUID of the account,
so that changing the UUID ends all sessions; header `X-CSRF-Token`; a login gives a new token in
`X-Next-CSRF-Token`. Nothing is kept on the server.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hatoba.kernel.clock import Clock
from hatoba.kernel.ids import same_secret

COOKIE: Final = "_csrf_token"
CSRF_HEADER: Final = "X-CSRF-Token"
NEXT_CSRF_HEADER: Final = "X-Next-CSRF-Token"
CSRF_BYTES: Final = 48


@dataclass(slots=True, frozen=True, kw_only=True)
class Session:
    """What the cookie says."""

    account_uuid: str | None = None
    login_time: int = 0
    csrf_token: str = ""


@dataclass(slots=True, frozen=True, kw_only=True)
class Sessions:
    """Reads and writes session cookies."""

    key: bytes = field(repr=False)
    clock: Clock
    lifetime: timedelta
    is_secure: bool

    def read(self, request: Request) -> Session:
        """Return the session of a request; an empty one where the cookie is absent or forged."""
        text = request.cookies.get(COOKIE, "")
        body, _, signature = text.partition(".")
        if not signature or not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return Session()
        try:
            values = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (binascii.Error, ValueError):
            return Session()
        session = Session(
            account_uuid=values["account"], login_time=values["login"], csrf_token=values["csrf"]
        )
        age = self.clock.now().timestamp() - values["at"]
        return session if age <= self.lifetime.total_seconds() else Session()

    def guard(self, session: Session) -> Session:
        """Return the session with a token against forgery, made where it had none."""
        return session if session.csrf_token else replace(session, csrf_token=self._new_token())

    def log_in(self, account_uuid: str) -> Session:
        """Return the session of somebody who signed in just now."""
        return Session(
            account_uuid=account_uuid,
            login_time=int(self.clock.now().timestamp()),
            csrf_token=self._new_token(),
        )

    def write(self, response: Response, session: Session, *, tell_token: bool = False) -> None:
        """Put a session into an answer; with the next token in a header after a login."""
        values = {
            "account": session.account_uuid,
            "login": session.login_time,
            "csrf": session.csrf_token,
            "at": int(self.clock.now().timestamp()),
        }
        encoded = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
        response.set_cookie(
            COOKIE,
            f"{encoded}.{self._sign(encoded)}",
            max_age=int(self.lifetime.total_seconds()) if session.account_uuid else None,
            path="/",
            secure=self.is_secure,
            httponly=True,
            samesite="lax",
        )
        if tell_token:
            response.headers[NEXT_CSRF_HEADER] = session.csrf_token

    @staticmethod
    def accepts(request: Request, session: Session) -> bool:
        """Say whether a request that changes something carries its session's token."""
        given = request.headers.get(CSRF_HEADER) or request.query_params.get(COOKIE, "")
        return bool(session.csrf_token) and same_secret(given, session.csrf_token)

    def _sign(self, body: str) -> str:
        digest = hmac.digest(self.key, b"session\0" + body.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    @staticmethod
    def _new_token() -> str:
        return base64.urlsafe_b64encode(secrets.token_bytes(CSRF_BYTES)).decode()

"""Who is let in, and whose forms are believed.

Browsers send Basic credentials along with requests that other sites make them send. So a form
must bring a token that only our page has told it (and a cookie of the same origin), and JSON must
come as JSON, which a foreign page cannot send without being asked for leave.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from hatoba.editor.settings import USER
from hatoba.kernel.errors import Forbidden, Unauthenticated
from hatoba.kernel.ids import same_secret

COOKIE: Final = "hatoba_editor_form"
CONTENT_POLICY: Final = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


class NotLetIn(Unauthenticated):
    """No credentials, or wrong ones."""


class ForeignForm(Forbidden):
    """A change that our own page did not ask for."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Protection:
    """Checks requests; the password is the only secret, so restarts and replicas agree."""

    password: str

    def check_credentials(self, authorization: str) -> None:
        """Check the value of an Authorization header (RFC 7617).

        Raises:
            NotLetIn: it does not hold the credentials.
        """
        scheme, _, encoded = authorization.partition(" ")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise NotLetIn("the credentials cannot be read") from error
        good = same_secret(user, USER) & same_secret(password, self.password)
        if scheme.lower() != "basic" or not good:
            raise NotLetIn(f"sign in as {USER}")

    def new_nonce(self) -> str:
        """Return a value for the cookie."""
        return secrets.token_urlsafe(18)

    def form_token(self, nonce: str) -> str:
        """Return the value that a form must bring together with the cookie."""
        key = hashlib.sha256(b"form " + self.password.encode()).digest()
        return hmac.new(key, nonce.encode(), hashlib.sha256).hexdigest()

    def check_form(self, request: Request, token: str) -> None:
        """Check a posted form.

        Raises:
            ForeignForm: another site's page sent it.
        """
        nonce = request.cookies.get(COOKIE, "")
        if not nonce or not same_secret(token, self.form_token(nonce)):
            raise ForeignForm("this form is not from this page; load the page again")

    def check_json(self, request: Request) -> None:
        """Check a posted JSON body's origin.

        Raises:
            ForeignForm: not sent as JSON, or by another site's page.
        """
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            raise ForeignForm("Content-Type must be application/json")
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise ForeignForm("requests of other sites are refused")

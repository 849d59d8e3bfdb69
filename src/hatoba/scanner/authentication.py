"""Who may ask: bearers of a token signed with the key that registry and scanner share.

Source: Clair v4 `auth.psk`. HS256 alone is accepted, whatever the token's header says; the times
in it may be off by 15 seconds; there is no audience.
"""

from dataclasses import dataclass
from typing import Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import Unauthenticated
from hatoba.scanner.settings import PskSettings

LEEWAY_SECONDS: Final = 15
INTRASERVICE_ISSUER: Final = "clair-intraservice"


class TokenRefused(Unauthenticated):
    """No token, or none that was made with the shared key for this time."""


@dataclass(slots=True, frozen=True, kw_only=True)
class TokenVerifier:
    """Checks tokens; without a key it lets everybody in, as Clair does."""

    psk: PskSettings | None
    clock: Clock

    def check(self, authorization: str) -> None:
        """Check the value of an Authorization header.

        Raises:
            TokenRefused: it does not convince; why is not told.
        """
        if self.psk is None:
            return
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise TokenRefused("a bearer token is needed")
        try:
            claims = jwt.decode(
                token.strip(), OctKey.import_key(self.psk.key), algorithms=["HS256"]
            ).claims
        except (JoseError, ValueError) as error:
            raise TokenRefused("the token is not valid") from error
        if claims.get("iss") not in {*self.psk.iss, INTRASERVICE_ISSUER}:
            raise TokenRefused("the token is not valid")
        self._check_times(claims)

    def _check_times(self, claims: dict[str, object]) -> None:
        now = self.clock.now().timestamp()
        for name, sign in (("exp", 1), ("nbf", -1), ("iat", -1)):
            value = claims.get(name)
            if value is None:
                continue
            if not isinstance(value, int | float) or sign * (value - now) < -LEEWAY_SECONDS:
                raise TokenRefused("the token is not valid now")

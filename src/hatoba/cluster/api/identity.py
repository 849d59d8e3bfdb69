"""Who calls: tokens in, a `User` out. What he may do is decided in `roles`."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from hatoba.cluster.api.status import Unauthorized
from hatoba.cluster.api.store import Key, Store
from hatoba.cluster.objects import SERVICE_ACCOUNTS
from hatoba.kernel.clock import Clock
from hatoba.kernel.ids import new_uuid, same_secret

ISSUER: Final = "https://kubernetes.default.svc"
_CLAIM: Final = "kubernetes.io"


@dataclass(slots=True, frozen=True, kw_only=True)
class User:
    """Who calls."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()


ANONYMOUS: Final = User(name="system:anonymous", groups=("system:unauthenticated",))
ADMIN: Final = User(name="kubernetes-admin", groups=("system:masters", "system:authenticated"))


@dataclass(slots=True, frozen=True, kw_only=True)
class IssuedToken:
    """A service account's token and when it ends."""

    token: str
    lifetime: timedelta


class Identities:
    """Recognises and issues bearer tokens."""

    def __init__(self, store: Store, *, admin_token: str, key: bytes, clock: Clock) -> None:
        self._store = store
        self._admin_token = admin_token
        self._key = OctKey.import_key(key)
        self._clock = clock

    def issue(
        self,
        namespace: str,
        name: str,
        *,
        lifetime: timedelta,
        audiences: tuple[str, ...] = (ISSUER,),
    ) -> IssuedToken:
        """Return a token that acts as a service account until it expires or the account goes."""
        account = self._account(namespace, name)
        uid = account["metadata"]["uid"] if account else ""
        now = self._clock.now()
        claims = {
            "aud": list(audiences),
            "exp": int((now + lifetime).timestamp()),
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "iss": ISSUER,
            "jti": new_uuid(),
            "sub": f"system:serviceaccount:{namespace}:{name}",
            _CLAIM: {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
        }
        token = jwt.encode({"alg": "HS256"}, claims, self._key)
        return IssuedToken(token=token, lifetime=lifetime)

    def _account(self, namespace: str, name: str) -> dict[str, dict[str, str]] | None:
        return self._store.get(Key(SERVICE_ACCOUNTS, namespace, name))

    def recognise(self, authorization: str | None) -> User:
        """Return who sends an Authorization header.

        Raises:
            Unauthorized: there is one, and its token is not known, expired or orphaned.
        """
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return ANONYMOUS
        return self.user_of(token.strip())

    def user_of(self, token: str) -> User:
        """Return whose token it is.

        Raises:
            Unauthorized: nobody's.
        """
        if same_secret(token, self._admin_token):
            return ADMIN
        try:
            claims = jwt.decode(token, self._key, algorithms=["HS256"]).claims
        except (JoseError, ValueError) as error:
            raise Unauthorized("Unauthorized") from error
        if claims["exp"] <= self._clock.now().timestamp():
            raise Unauthorized("Unauthorized")
        subject = claims[_CLAIM]
        namespace, name = subject["namespace"], subject["serviceaccount"]["name"]
        uid = subject["serviceaccount"]["uid"]
        account = self._account(namespace, name)
        if account is None or (uid and account["metadata"]["uid"] != uid):
            raise Unauthorized("Unauthorized")
        return User(
            name=claims["sub"],
            uid=account["metadata"]["uid"],
            groups=(
                "system:serviceaccounts",
                f"system:serviceaccounts:{namespace}",
                "system:authenticated",
            ),
        )

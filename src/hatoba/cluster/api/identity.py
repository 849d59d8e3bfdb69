"""Who calls, and whether he may: tokens in, a `User` out.

There is no role-based access control here: a laptop's cluster has one person on it. Whoever was
recognised may do everything, roles are stored but not enforced; anonymous callers may see the
version and the health, as on a real cluster.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from hatoba.cluster.api.paths import Target
from hatoba.cluster.api.status import About, Refused, Unauthorized
from hatoba.cluster.api.store import Key, Store
from hatoba.cluster.objects import SERVICE_ACCOUNTS
from hatoba.kernel.clock import Clock
from hatoba.kernel.ids import new_uuid, same_secret

ISSUER: Final = "https://kubernetes.default.svc"
_OPEN_PATHS: Final = ("/healthz", "/livez", "/readyz", "/version")
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


def authorize(user: User, *, path: str, method: str, target: Target | None, watch: bool) -> None:
    """Let everybody do everything but the anonymous.

    Raises:
        Refused: with the words of a real server.
    """
    if user is not ANONYMOUS or f"/{path.split('/')[1]}" in _OPEN_PATHS:
        return
    if target is None or not target.plural:
        raise Refused(
            f'forbidden: User "{user.name}" cannot {method.lower()} path "{path}"',
            bare_details=True,
        )
    about = About(name=target.name, group=target.group, kind=target.plural)
    title = about.title if target.name else about.qualified
    resource = "/".join(filter(None, (target.plural, target.subresource)))
    scope = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    verb = target.verb(method, watch=watch)
    raise Refused(
        f'{title} is forbidden: User "{user.name}" cannot {verb} resource "{resource}" in API group'
        f' "{target.group}" {scope}',
        about=about,
    )

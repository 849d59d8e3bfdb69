"""Registry tokens: the JWTs with which image clients call /v2.

Spec: Distribution, "Token Authentication Specification"; Quay's claims. Issued by the edge web,
verified by the edge v2 on each request: a verified token is kept in memory until it expires, so
that warm requests cost neither arithmetic nor SQL.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import extract_compact

from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject
from hatoba.registry.access.errors import InvalidRegistryToken
from hatoba.registry.access.keys import SERVICE, KeyRing
from hatoba.registry.access.models import Identity

ALGORITHM: Final = "RS256"
ANONYMOUS_SUBJECT: Final = "(anonymous)"
TOKEN_SUBJECT: Final = "$token"  # noqa: S105 -- a name, not a password
"""The token of a repository belongs to nobody."""
SKEW_SECONDS: Final = 30
REMEMBERED_TOKENS: Final = 4096
NO_ROOT: Final = "$disabled"


@dataclass(slots=True, frozen=True, kw_only=True)
class Grant:
    """Actions in one repository, as the token names it."""

    name: str
    actions: tuple[str, ...]


@dataclass(slots=True, frozen=True, kw_only=True)
class RegistryClaims:
    """A verified registry token.

    `grants` maps a repository name, as it was asked for, to the actions `pull`, `push` and `*`.
    `username` is None for nobody. `entity_kind` and `entity_reference` name the credential that
    the token was issued for (a user's UUID, a robot's name, a token's UUID).
    """

    username: str | None
    entity_kind: str
    entity_reference: str
    account_id: int | None
    grants: Mapping[str, frozenset[str]]
    expires_at: int

    def allows(self, action: str, name: str) -> bool:
        """Say whether the token grants an action (`pull`, `push`, `*`) in a repository."""
        granted = self.grants.get(name, frozenset())
        return action in granted or "*" in granted


@dataclass(slots=True, frozen=True, kw_only=True)
class TokenIssuer:
    """Signs registry tokens."""

    keys: KeyRing
    clock: Clock
    lifetime: timedelta
    """REGISTRY_TOKEN_LIFETIME_S."""

    async def issue(
        self,
        identity: Identity,
        *,
        audience: str | None,
        grants: Sequence[Grant],
        lifetime: timedelta | None = None,
        decided_at: datetime | None = None,
    ) -> str:
        """Return a signed token that grants these actions for the usual lifetime or another one.

        No lifetime may be longer than LONGEST_LIFETIME, after which keys are forgotten. The
        lifetime counts from `decided_at`, a moment before the grants were read: a process that
        was stopped in between must not hand out anew what was revoked meanwhile.
        """
        key = await self.keys.signing_key()
        now = int((decided_at or self.clock.now()).timestamp())
        claims = {
            "iss": SERVICE,
            "aud": audience,
            "nbf": now,
            "iat": now,
            "exp": now + int((lifetime or self.lifetime).total_seconds()),
            "sub": _subject(identity),
            "access": [
                {"type": "repository", "name": grant.name, "actions": list(grant.actions)}
                for grant in grants
            ],
            "context": _context(identity, grants),
        }
        header = {"alg": ALGORITHM, "typ": "JWT", "kid": key.kid}
        return jwt.encode(header, claims, key, algorithms=[ALGORITHM])


def _subject(identity: Identity) -> str:
    if identity.account is not None:
        return identity.account.username
    return ANONYMOUS_SUBJECT if identity.is_anonymous else TOKEN_SUBJECT


def _context(identity: Identity, grants: Sequence[Grant]) -> JsonObject:
    roots = {
        "com.apostille.roots": {grant.name: NO_ROOT for grant in grants},
        "com.apostille.root": NO_ROOT,
    }
    account = identity.account
    if account is None:
        if identity.is_anonymous:
            return roots
        # Quay names the token's code here, which is a secret; its row has a number.
        return {
            "version": 2,
            "entity_kind": identity.credential,
            "entity_reference": identity.reference,
            "kind": "token",
            **roots,
        }
    legacy: JsonObject = {"kind": "user", "user": account.username}
    if identity.credential == "oauthtoken":
        legacy = {"kind": "oauth", "oauth": identity.reference, "user": account.username}
    return {
        "version": 2,
        "entity_kind": identity.credential,
        "entity_reference": identity.reference,
        # Ours: lets a pull be audited without asking the database who the name is.
        "hatoba.account_id": account.id,
        **legacy,
        **roots,
    }


@dataclass(slots=True, kw_only=True)
class TokenVerifier:
    """Verifies registry tokens; one per process."""

    keys: KeyRing
    clock: Clock
    audience: str
    """SERVER_HOSTNAME."""
    maximum_lifetime: int
    """REGISTRY_JWT_AUTH_MAX_FRESH_S."""
    _verified: OrderedDict[str, RegistryClaims] = field(default_factory=OrderedDict, repr=False)

    async def verify(self, token: str) -> RegistryClaims:
        """Return what a token says; from memory where it was verified before.

        Raises:
            InvalidRegistryToken: with the reason.
        """
        claims = self._verified.get(token)
        now = self.clock.timestamp()
        if claims is not None:
            if claims.expires_at + SKEW_SECONDS <= now:
                del self._verified[token]
                raise InvalidRegistryToken("Token has expired")
            self._verified.move_to_end(token)
            return claims
        claims = self._read(await self._open(token), now=now)
        self._verified[token] = claims
        if len(self._verified) > REMEMBERED_TOKENS:
            self._verified.popitem(last=False)
        return claims

    async def _open(self, token: str) -> JsonObject:
        try:
            kid = extract_compact(token.encode()).headers().get("kid")
        except (JoseError, ValueError) as error:
            raise InvalidRegistryToken("Invalid bearer token format") from error
        key = await self.keys.public_key(kid) if isinstance(kid, str) else None
        if key is None:
            raise InvalidRegistryToken("Token was signed by an unknown key")
        try:
            return jwt.decode(token, key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError) as error:
            raise InvalidRegistryToken("Token signature is not valid") from error

    def _read(self, claims: JsonObject, *, now: float) -> RegistryClaims:
        if claims.get("iss") != SERVICE:
            raise InvalidRegistryToken("Token was issued by somebody else")
        if claims.get("aud") != self.audience:
            raise InvalidRegistryToken("Audience doesn't match")
        issued, begins, expires = (claims.get(name) for name in ("iat", "nbf", "exp"))
        if not all(isinstance(value, int) for value in (issued, begins, expires)):
            raise InvalidRegistryToken("Token has no lifetime")
        assert isinstance(issued, int)
        assert isinstance(begins, int)
        assert isinstance(expires, int)
        if expires + SKEW_SECONDS <= now:
            raise InvalidRegistryToken("Token has expired")
        if begins - SKEW_SECONDS > now or issued - SKEW_SECONDS > now:
            raise InvalidRegistryToken("Token is not yet valid")
        if expires - issued > self.maximum_lifetime:
            raise InvalidRegistryToken("Token lives longer than is allowed")
        return _claims_of(claims, expires_at=expires)


def _claims_of(claims: JsonObject, *, expires_at: int) -> RegistryClaims:
    context: dict[str, Any] = claims.get("context") or {}
    subject = str(claims.get("sub", ANONYMOUS_SUBJECT))
    grants: dict[str, frozenset[str]] = {}
    for access in claims.get("access") or []:
        if access.get("type") == "repository":
            name = str(access.get("name", ""))
            grants[name] = grants.get(name, frozenset()) | frozenset(access.get("actions") or ())
    return RegistryClaims(
        username=None if subject == ANONYMOUS_SUBJECT else subject,
        entity_kind=str(context.get("entity_kind", "anonymous")),
        entity_reference=str(context.get("entity_reference", "")),
        account_id=context.get("hatoba.account_id"),
        grants=grants,
        expires_at=expires_at,
    )

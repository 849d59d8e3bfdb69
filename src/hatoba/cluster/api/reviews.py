"""Questions about identities: who am I, may I, whose token is this; and tokens for accounts.

Nothing is stored. Whether somebody may is decided in `roles`.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from hatoba.cluster.api.documents import reach
from hatoba.cluster.api.identity import ADMIN, ANONYMOUS, ISSUER, Identities, User
from hatoba.cluster.api.metadata import invalid
from hatoba.cluster.api.paths import Target
from hatoba.cluster.api.roles import Ask, Roles
from hatoba.cluster.api.status import (
    About,
    BadRequest,
    Invalid,
    MethodNotAllowed,
    ObjectNotFound,
    Refused,
    Unauthorized,
)
from hatoba.cluster.api.store import Key, Store
from hatoba.cluster.objects import SERVICE_ACCOUNTS
from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.json import JsonObject

_ANY: Final = ["*"]
_SHORTEST_SECONDS: Final = 600
_DEFAULT_SECONDS: Final = 3_600


class Reviews:
    """Answers the create-only resources of authentication and authorization."""

    def __init__(self, store: Store, *, identities: Identities, roles: Roles, clock: Clock) -> None:
        self._store = store
        self._identities = identities
        self._roles = roles
        self._clock = clock

    def answer(self, target: Target, method: str, user: User, body: JsonObject) -> JsonObject:
        """Answer a question.

        Raises:
            StatusError: it is malformed, or asked with another method than POST.
        """
        if method != "POST":
            raise MethodNotAllowed(
                "the server does not allow this method on the requested resource",
                bare_details=True,
            )
        table: dict[str, Callable[[User, JsonObject], JsonObject]] = {
            "selfsubjectaccessreviews": self._access,
            "subjectaccessreviews": self._access,
            "localsubjectaccessreviews": self._access,
            "selfsubjectrulesreviews": self._rules,
            "selfsubjectreviews": self._self,
            "tokenreviews": self._token,
        }
        return table[target.plural](user, body)

    def _access(self, user: User, body: JsonObject) -> JsonObject:
        spec = body.get("spec") or {}
        if bool(spec.get("resourceAttributes")) == bool(spec.get("nonResourceAttributes")):
            sentence = (
                "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            )
            cause = invalid("spec.resourceAttributes", '"null"', sentence)
            raise Invalid.of(About(group="authorization.k8s.io"), [cause])
        asker = user if "user" not in spec else _named(spec["user"], spec.get("groups") or ())
        status: JsonObject = {"allowed": self._may(asker, spec)}
        return {
            "kind": body["kind"],
            "apiVersion": body["apiVersion"],
            "metadata": {"creationTimestamp": None},
            "spec": spec,
            "status": status,
        }

    def _may(self, user: User, spec: JsonObject) -> bool:
        attributes = spec.get("resourceAttributes")
        if not attributes:
            path = str(spec["nonResourceAttributes"].get("path") or "/")
            try:
                self._roles.check(user, path=path, method="GET", target=None, verb="")
            except Refused:
                return False
            return True
        ask = Ask(
            verb=attributes.get("verb", ""),
            group=attributes.get("group", ""),
            plural=attributes.get("resource", ""),
            subresource=attributes.get("subresource", ""),
            namespace=attributes.get("namespace", ""),
            name=attributes.get("name", ""),
        )
        return self._roles.allows(user, ask)

    def _rules(self, user: User, body: JsonObject) -> JsonObject:
        namespace = (body.get("spec") or {}).get("namespace", "")
        rules = [dict(rule) for rule in self._roles.rules(user, namespace)]
        urls = [{"verbs": _ANY, "nonResourceURLs": _ANY}] if user is ADMIN else []
        return {
            "kind": body["kind"],
            "apiVersion": body["apiVersion"],
            "metadata": {"creationTimestamp": None},
            "spec": {},
            "status": {"resourceRules": rules, "nonResourceRules": urls, "incomplete": False},
        }

    def _self(self, user: User, body: JsonObject) -> JsonObject:
        return {
            "kind": body["kind"],
            "apiVersion": body["apiVersion"],
            "metadata": {"creationTimestamp": rfc3339(self._clock.now())},
            "status": {"userInfo": _user_info(user)},
        }

    def _token(self, _user: User, body: JsonObject) -> JsonObject:
        spec = body.get("spec") or {}
        token = spec.get("token")
        if not token:
            raise BadRequest("token is required for TokenReview in authentication")
        asked = spec.get("audiences") or []
        status: JsonObject
        try:
            owner = self._identities.user_of(token)
        except Unauthorized:
            status = {"user": {}, "error": "invalid bearer token"}
        else:
            if asked and ISSUER not in asked:
                listed = ", ".join(f'"{audience}"' for audience in asked)
                status = {
                    "user": {},
                    "error": f'[invalid bearer token, token audiences ["{ISSUER}"] is invalid for'
                    f" the target audiences [{listed}]]",
                }
            else:
                status = {
                    "authenticated": True,
                    "user": _user_info(owner),
                    "audiences": [ISSUER],
                }
        return {
            "kind": body["kind"],
            "apiVersion": body["apiVersion"],
            "metadata": {"creationTimestamp": None},
            "spec": spec,
            "status": status,
        }

    def request_token(self, target: Target, body: JsonObject) -> JsonObject:
        """Issue a token for a service account.

        Raises:
            ObjectNotFound: there is no such account.
            Invalid: the lifetime is too short.
        """
        namespace, name = target.namespace or "", target.name
        if self._store.get(Key(SERVICE_ACCOUNTS, namespace, name)) is None:
            raise ObjectNotFound.named(About(name=name, kind="serviceaccounts"))
        seconds = reach(body, "spec", "expirationSeconds") or _DEFAULT_SECONDS
        if seconds < _SHORTEST_SECONDS:
            sentence = "may not specify a duration less than 10 minutes"
            cause = invalid("spec.expirationSeconds", str(seconds), sentence)
            raise Invalid.of(About(group="authentication.k8s.io", kind="TokenRequest"), [cause])
        audiences = reach(body, "spec", "audiences") or [ISSUER]
        issued = self._identities.issue(
            namespace, name, lifetime=timedelta(seconds=seconds), audiences=tuple(audiences)
        )
        now = self._clock.now()
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "creationTimestamp": rfc3339(now),
            },
            "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": None},
            "status": {
                "token": issued.token,
                "expirationTimestamp": rfc3339(now + issued.lifetime),
            },
        }


def _named(name: str, groups: Sequence[str]) -> User:
    """Return the user that a question names: a service account has its groups by its name."""
    if name in (ADMIN.name, ANONYMOUS.name):
        return ADMIN if name == ADMIN.name else ANONYMOUS
    belongs = ["system:authenticated"]
    if name.startswith("system:serviceaccount:"):
        belongs += ["system:serviceaccounts", f"system:serviceaccounts:{name.split(':')[2]}"]
    return User(name=name, groups=(*belongs, *groups))


def _user_info(user: User) -> JsonObject:
    info: JsonObject = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    return info

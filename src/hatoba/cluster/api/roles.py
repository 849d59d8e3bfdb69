"""Whether a caller may do what it asks for: role-based access control.

The administrator may do everything; a service account what its roles say and, like everybody who
was recognised, look around: discovery, version, health. The edge asks before each request.

Spec: Kubernetes "Using RBAC Authorization". Roles are only ever additive; a binding to a role that
does not exist grants nothing. Aggregated ClusterRoles and the check against escalation are not
offered: who may write roles here may give himself more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hatoba.cluster.api.identity import ADMIN, ANONYMOUS, User
from hatoba.cluster.api.paths import Target
from hatoba.cluster.api.status import About, Refused
from hatoba.cluster.api.store import Key, Store
from hatoba.cluster.objects import ResourceName
from hatoba.kernel.json import JsonObject

_GROUP: Final = "rbac.authorization.k8s.io"
_ROLES: Final = {
    "Role": ResourceName("roles", _GROUP),
    "ClusterRole": ResourceName("clusterroles", _GROUP),
}
_BINDINGS: Final = ResourceName("rolebindings", _GROUP)
_CLUSTER_BINDINGS: Final = ResourceName("clusterrolebindings", _GROUP)
_OPEN_TO_ALL: Final = ("healthz", "livez", "readyz", "version")
_OPEN_TO_RECOGNISED: Final = (*_OPEN_TO_ALL, "api", "apis", "openapi", "")
_REVIEWS_OF_ONESELF: Final = frozenset(
    {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}
)
EVERYTHING: Final[JsonObject] = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}


@dataclass(slots=True, frozen=True, kw_only=True)
class Ask:
    """What somebody wants to do to a resource."""

    verb: str
    group: str
    plural: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def resource(self) -> str:
        """`plural` or `plural/subresource`, as rules name it."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural

    @classmethod
    def of(cls, target: Target, verb: str) -> "Ask":
        """Return what a request to a resource path asks for."""
        return cls(
            verb=verb,
            group=target.group,
            plural=target.plural,
            subresource=target.subresource,
            namespace=target.namespace or "",
            name=target.name,
        )


class Roles:
    """Decides by the roles and bindings that are stored now."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(
        self, user: User, *, path: str, method: str, target: Target | None, verb: str
    ) -> None:
        """Let a request pass.

        Raises:
            Refused: with the words of a real server.
        """
        if target is None or not target.plural:
            known = _OPEN_TO_ALL if user is ANONYMOUS else _OPEN_TO_RECOGNISED
            if user is not ADMIN and path.split("/")[1] not in known:
                raise Refused(
                    f'forbidden: User "{user.name}" cannot {method.lower()} path "{path}"',
                    bare_details=True,
                )
            return
        ask = Ask.of(target, verb)
        if not self.allows(user, ask):
            raise _refusal(user, ask)

    def allows(self, user: User, ask: Ask) -> bool:
        """Tell whether a user may do something."""
        if user is ADMIN:
            return True
        if user is not ANONYMOUS and ask.plural in _REVIEWS_OF_ONESELF and ask.verb == "create":
            return True
        return any(_covers(rule, ask) for rule in self.rules(user, ask.namespace))

    def rules(self, user: User, namespace: str) -> Iterator[JsonObject]:
        """Yield the rules that hold for a user in a namespace; "" is the cluster's scope."""
        if user is ADMIN:
            yield EVERYTHING
            return
        bindings = self._store.members(_CLUSTER_BINDINGS, None)
        if namespace:
            bindings = [*bindings, *self._store.members(_BINDINGS, namespace)]
        for binding in bindings:
            own = binding["metadata"].get("namespace", "")
            if any(_is(user, subject, own) for subject in binding.get("subjects") or ()):
                reference = binding["roleRef"]
                place = own if reference["kind"] == "Role" else ""
                role = self._store.get(Key(_ROLES[reference["kind"]], place, reference["name"]))
                yield from (role or {}).get("rules") or ()


def _is(user: User, subject: JsonObject, namespace: str) -> bool:
    kind, name = subject["kind"], subject["name"]
    if kind == "ServiceAccount":
        place = subject.get("namespace") or namespace
        return user.name == f"system:serviceaccount:{place}:{name}"
    return name in user.groups if kind == "Group" else user.name == name


def _covers(rule: JsonObject, ask: Ask) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        _has(rule.get("verbs"), ask.verb)
        and _has(rule.get("apiGroups"), ask.group)
        and (
            _has(rule.get("resources"), ask.resource)
            or bool(ask.subresource and f"*/{ask.subresource}" in (rule.get("resources") or ()))
        )
        and (not names or ask.name in names)
    )


def _has(words: list[str] | None, word: str) -> bool:
    return words is not None and (word in words or "*" in words)


def _refusal(user: User, ask: Ask) -> Refused:
    about = About(name=ask.name, group=ask.group, kind=ask.plural)
    title = about.title if ask.name else about.qualified
    scope = f'in the namespace "{ask.namespace}"' if ask.namespace else "at the cluster scope"
    return Refused(
        f'{title} is forbidden: User "{user.name}" cannot {ask.verb} resource "{ask.resource}" in'
        f' API group "{ask.group}" {scope}',
        about=about,
    )

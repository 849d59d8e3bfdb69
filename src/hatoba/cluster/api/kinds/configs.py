"""Rules of Secrets, ConfigMaps, events, classes and bindings."""

import base64
import binascii
import re
from typing import Final

from typing_extensions import override

from hatoba.cluster.api.metadata import forbidden, invalid, required
from hatoba.cluster.api.status import BadRequest, Cause
from hatoba.cluster.api.strategy import Strategy
from hatoba.kernel.json import JsonObject

_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_KEY_SENTENCE: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',"
    "  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_REQUIRED_KEYS: Final = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
_NEW_EVENTS: Final = "events.k8s.io"
_TOTAL_LIMIT: Final = 1_048_576


def _validate_keys(obj: JsonObject, *members: str) -> list[Cause]:
    return [
        invalid(f"{member}[{key}]", f'"{key}"', _KEY_SENTENCE)
        for member in members
        for key in obj.get(member) or {}
        if _KEY.fullmatch(key) is None
    ]


def _validate_frozen(new: JsonObject, old: JsonObject, *members: str) -> list[Cause]:
    if not old.get("immutable"):
        return []
    sentence = "field is immutable when `immutable` is set"
    causes = [] if new.get("immutable") else [forbidden("immutable", sentence)]
    return causes + [
        forbidden(member, sentence)
        for member in members
        if (new.get(member) or {}) != (old.get(member) or {})
    ]


def _validate_size(obj: JsonObject, *members: str) -> list[Cause]:
    total = sum(len(value) for member in members for value in (obj.get(member) or {}).values())
    if total <= _TOTAL_LIMIT:
        return []
    return [
        Cause(
            reason="FieldValueTooLong",
            message=f"Too long: may not be more than {_TOTAL_LIMIT} bytes",
            field=members[0],
        )
    ]


class SecretRules(Strategy):
    """`stringData` is written into `data` and not kept."""

    @override
    def default(self, obj: JsonObject) -> None:
        obj.setdefault("type", "Opaque")
        data = obj.get("data") or {}
        for value in data.values():
            _check_base64(value or "")
        for key, text in (obj.pop("stringData", None) or {}).items():
            data[key] = base64.b64encode(text.encode()).decode()
        if data:
            obj["data"] = data
        elif obj.get("data") is None:
            obj.pop("data", None)

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        causes = _validate_keys(obj, "data")
        data = obj.get("data") or {}
        causes += [
            required(f"data[{key}]")
            for key in _REQUIRED_KEYS.get(obj["type"], ())
            if key not in data
        ]
        return causes + _validate_size(obj, "data")

    @override
    def validate_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        causes = []
        if new["type"] != old["type"]:
            causes.append(invalid("type", f'"{new["type"]}"', "field is immutable"))
        return causes + _validate_frozen(new, old, "data") + self.validate(new)


def _check_base64(text: str) -> None:
    compact = text.replace("\n", "").replace("\r", "")
    try:
        base64.b64decode(compact, validate=True)
    except binascii.Error as error:
        bad = re.match(r"[A-Za-z0-9+/]*", compact)
        at = len(bad.group()) if bad else 0
        if at == len(compact):
            at = len(compact) - len(compact) % 4
        raise BadRequest(
            'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input'
            f" byte {at}"
        ) from error


class ConfigMapRules(Strategy):
    """Keys are file names."""

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        return _validate_keys(obj, "data", "binaryData") + _validate_size(obj, "data", "binaryData")

    @override
    def validate_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        return _validate_frozen(new, old, "data", "binaryData") + self.validate(new)


class EventRules(Strategy):
    """Events carry members of both of their API forms."""

    @override
    def default(self, obj: JsonObject) -> None:
        obj.setdefault("source", {})
        for key in ("firstTimestamp", "lastTimestamp", "eventTime"):
            obj.setdefault(key, None)
        obj.setdefault("reportingComponent", "")
        obj.setdefault("reportingInstance", "")

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        about = obj.get("involvedObject") or {}
        given = about.get("namespace", "")
        is_new = self.resource.group == _NEW_EVENTS
        allowed = (obj["metadata"].get("namespace", ""), *([] if is_new else [""]))
        causes = []
        if given not in allowed:
            sentence = "does not match event.namespace"
            causes.append(invalid("involvedObject.namespace", f'"{given}"', sentence))
        if is_new and not obj.get("eventTime"):
            causes.append(required("eventTime"))
        if is_new and obj.get("type") not in ("Normal", "Warning"):
            causes.append(invalid("type", '""', f"has invalid value: {obj.get('type', '')}"))
        return causes


class StorageClassRules(Strategy):
    """Volumes are deleted with their claims and bound at once unless the class says otherwise."""

    @override
    def default(self, obj: JsonObject) -> None:
        obj.setdefault("reclaimPolicy", "Delete")
        obj.setdefault("volumeBindingMode", "Immediate")


class PriorityClassRules(Strategy):
    """Preemption is allowed unless the class says otherwise."""

    @override
    def default(self, obj: JsonObject) -> None:
        obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


class BindingRules(Strategy):
    """A binding keeps its role for life."""

    @override
    def default(self, obj: JsonObject) -> None:
        reference = obj.get("roleRef")
        if reference:
            reference.setdefault("apiGroup", "rbac.authorization.k8s.io")
        for subject in obj.get("subjects") or []:
            if subject.get("kind") in ("User", "Group"):
                subject.setdefault("apiGroup", "rbac.authorization.k8s.io")

    @override
    def validate_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        role = new.get("roleRef") or {}
        if role == old.get("roleRef"):
            return []
        shown = (
            f'rbac.RoleRef{{APIGroup:"{role.get("apiGroup", "")}", Kind:"{role.get("kind", "")}",'
            f' Name:"{role.get("name", "")}"}}'
        )
        return [invalid("roleRef", shown, "cannot change roleRef")]


class IngressRules(Strategy):
    """Every path has a type."""

    @override
    def initial_status(self) -> JsonObject:
        return {"loadBalancer": {}}

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        spec = obj.get("spec") or {}
        if not spec.get("rules") and not spec.get("defaultBackend"):
            return [invalid("spec", "[]", "either `defaultBackend` or `rules` must be specified")]
        return [
            required(
                f"spec.rules[{index}].http.paths[{number}].pathType", "pathType must be specified"
            )
            for index, rule in enumerate(spec.get("rules") or [])
            for number, path in enumerate((rule.get("http") or {}).get("paths") or [])
            if not path.get("pathType")
        ]

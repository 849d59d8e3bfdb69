"""`metadata`: what the server fills in, what may never change, and what is valid in it.

Spec: Kubernetes API conventions, "Metadata". Sentences are those of a real server.
"""

import re
from datetime import datetime
from typing import Final

from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import Cause
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.ids import KUBERNETES_SUFFIX, new_uuid, random_text
from hatoba.kernel.json import JsonObject

MAXIMUM_NAME: Final = 253
_GENERATED_BASE: Final = 58
_ANNOTATIONS_LIMIT: Final = 262_144
_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035: Final = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED: Final = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE: Final = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"

SUBDOMAIN_SENTENCE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or"
    " '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used"
    f" for validation is '{_SUBDOMAIN}')"
)
LABEL_SENTENCE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and"
    " must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used"
    f" for validation is '{_LABEL}')"
)
LABEL_1035_SENTENCE: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an"
    " alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123',"
    f" regex used for validation is '{_LABEL_1035}')"
)
_QUALIFIED_SENTENCE: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end"
    " with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for"
    f" validation is '{_QUALIFIED}')"
)
_VALUE_SENTENCE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or"
    f" '12345', regex used for validation is '{_VALUE}')"
)
_PATH_SEGMENT_KINDS: Final = frozenset(
    {"roles", "rolebindings", "clusterroles", "clusterrolebindings"}
)
_STANDARD_FINALIZERS: Final = ("orphan", "foregroundDeletion", "kubernetes")
_IMMUTABLE: Final = ("deletionTimestamp", "deletionGracePeriodSeconds")


def generate_name(base: str) -> str:
    """Return a name that begins with `base`, cut so that the suffix fits."""
    return base[:_GENERATED_BASE] + random_text(5, KUBERNETES_SUFFIX)


def fill_for_create(metadata: JsonObject, now: datetime) -> None:
    """Set what only the server may set, in place."""
    for key in ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"):
        metadata.pop(key, None)
    metadata["uid"] = new_uuid()
    metadata["creationTimestamp"] = rfc3339(now)
    tidy(metadata)


def tidy(metadata: JsonObject) -> None:
    """Drop empty members, which a typed server would not write back."""
    for key in ("labels", "annotations", "ownerReferences", "finalizers", "generateName"):
        if key in metadata and not metadata[key]:
            del metadata[key]
    metadata.pop("selfLink", None)


def keep_identity(new: JsonObject, old: JsonObject) -> None:
    """Carry over what an update may not set, in place."""
    for key in ("uid", "creationTimestamp", "generateName"):
        if key in old:
            new[key] = old[key]
        else:
            new.pop(key, None)
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        if key in old and new.get(key) is None:
            new[key] = old[key]
    new["name"] = old["name"]
    if "namespace" in old:
        new["namespace"] = old["namespace"]
    new["resourceVersion"] = old["resourceVersion"]
    tidy(new)


def invalid(field: str, value: str, sentence: str) -> Cause:
    """Return the cause of an invalid value; the value is given as it is to be printed."""
    return Cause(
        reason="FieldValueInvalid", message=f"Invalid value: {value}: {sentence}", field=field
    )


def required(field: str, sentence: str = "") -> Cause:
    """Return the cause of a missing value."""
    message = f"Required value: {sentence}" if sentence else "Required value"
    return Cause(reason="FieldValueRequired", message=message, field=field)


def forbidden(field: str, sentence: str) -> Cause:
    """Return the cause of a value that may not be there."""
    return Cause(reason="FieldValueForbidden", message=f"Forbidden: {sentence}", field=field)


def duplicate(field: str, value: str) -> Cause:
    """Return the cause of a value that occurs twice."""
    return Cause(reason="FieldValueDuplicate", message=f"Duplicate value: {value}", field=field)


def unsupported(field: str, value: str, supported: tuple[str, ...]) -> Cause:
    """Return the cause of a value outside a closed set."""
    choices = ", ".join(f'"{choice}"' for choice in supported)
    return Cause(
        reason="FieldValueNotSupported",
        message=f'Unsupported value: "{value}": supported values: {choices}',
        field=field,
    )


def name_sentences(name: str, resource: Resource) -> list[str]:
    """Return what is wrong with an object's name."""
    if resource.plural == "services":
        return _dns(name, _LABEL_1035, LABEL_1035_SENTENCE, 63)
    if resource.plural == "namespaces":
        return _dns(name, _LABEL, LABEL_SENTENCE, 63)
    if resource.plural in _PATH_SEGMENT_KINDS:
        return _path_segment(name)
    return _dns(name, _SUBDOMAIN, SUBDOMAIN_SENTENCE, MAXIMUM_NAME)


def label_sentences(name: str) -> list[str]:
    """Return what is wrong with a DNS label (container and port names)."""
    return _dns(name, _LABEL, LABEL_SENTENCE, 63)


def _path_segment(name: str) -> list[str]:
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{sign}'" for sign in ("/", "%") if sign in name]


def _dns(name: str, pattern: str, sentence: str, limit: int) -> list[str]:
    sentences = [f"must be no more than {limit} characters"] if len(name) > limit else []
    if re.fullmatch(pattern, name) is None:
        sentences.append(sentence)
    return sentences


def validate_create(metadata: JsonObject, resource: Resource) -> list[Cause]:
    """Return what is wrong with the metadata of a new object."""
    causes: list[Cause] = []
    base = metadata.get("generateName", "")
    if base:
        # The random suffix will follow, so that a trailing dash or dot is fine.
        probe = base[:-1] + "a" if base.endswith("-") else base
        causes += [
            invalid("metadata.generateName", _quote(base), sentence)
            for sentence in name_sentences(probe, resource)
        ]
    name = metadata.get("name", "")
    if not name:
        causes.append(required("metadata.name", "name or generateName is required"))
    else:
        causes += [
            invalid("metadata.name", _quote(name), sentence)
            for sentence in name_sentences(name, resource)
        ]
    return causes + _validate_maps(metadata)


def validate_update(new: JsonObject, old: JsonObject, *, is_custom: bool) -> list[Cause]:
    """Return what is wrong with a change of the metadata."""
    causes: list[Cause] = []
    for key in _IMMUTABLE:
        if new.get(key) != old.get(key):
            value = _shown(new.get(key))
            # Two checks of a real server say the same about these.
            causes += [invalid(f"metadata.{key}", value, "field is immutable")] * 2
    if old.get("deletionTimestamp"):
        added = [f for f in new.get("finalizers", []) if f not in old.get("finalizers", [])]
        if added:
            names = ", ".join(f'"{name}"' for name in added)
            causes += [
                forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, found new"
                    f" finalizers []string{{{names}}}",
                )
            ] * 2
    # Built-in kinds have their maps checked by four layers, each of which reports its finding.
    return causes + _validate_maps(new) * (1 if is_custom else 4)


def _shown(value: object) -> str:
    if isinstance(value, str) and value.endswith("Z"):
        return f"{value[:10]} {value[11:19]} +0000 UTC"
    return "null" if value is None else str(value)


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _validate_maps(metadata: JsonObject) -> list[Cause]:
    causes = _validate_owners(metadata.get("ownerReferences", []))
    for key, value in metadata.get("labels", {}).items():
        causes += validate_label(key, value, "metadata.labels")
    annotations = metadata.get("annotations", {})
    for key in annotations:
        causes += _validate_key(key.lower(), key, "metadata.annotations")
    if sum(len(k) + len(v) for k, v in annotations.items()) > _ANNOTATIONS_LIMIT:
        causes.append(
            Cause(
                reason="FieldValueTooLong",
                message=f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes",
                field="metadata.annotations",
            )
        )
    for finalizer in metadata.get("finalizers", []):
        causes += _validate_key(finalizer, finalizer, "metadata.finalizers")
    return causes


def finalizer_warnings(metadata: JsonObject, former: JsonObject) -> list[str]:
    """Return what to say about new finalizers that name no domain."""
    known = former.get("finalizers", [])
    return [
        f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name to avoid'
        " accidental conflicts with other finalizer writers"
        for name in metadata.get("finalizers", [])
        if "/" not in name and name not in known and name not in _STANDARD_FINALIZERS
    ]


def validate_label(key: str, value: str, field: str) -> list[Cause]:
    """Return what is wrong with one label."""
    causes = _validate_key(key, key, field)
    if len(value) > 63:
        causes.append(invalid(field, _quote(value), "must be no more than 63 characters"))
    if re.fullmatch(_VALUE, value) is None:
        causes.append(invalid(field, _quote(value), _VALUE_SENTENCE))
    return causes


def _validate_key(key: str, shown: str, field: str) -> list[Cause]:
    prefix, slash, name = key.rpartition("/")
    sentences: list[str] = []
    if slash and "/" in prefix:
        sentences.append(
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must"
            " start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or"
            f" '123-abc', regex used for validation is '{_QUALIFIED}') with an optional DNS"
            " subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )
    else:
        if slash and not prefix:
            sentences.append("prefix part must be non-empty")
        elif slash:
            sentences += [
                f"prefix part {s}" for s in _dns(prefix, _SUBDOMAIN, SUBDOMAIN_SENTENCE, 253)
            ]
        if not name:
            sentences.append("name part must be non-empty")
        elif len(name) > 63:
            sentences.append("name part must be no more than 63 characters")
        if re.fullmatch(_QUALIFIED, name) is None:
            sentences.append(_QUALIFIED_SENTENCE)
    return [invalid(field, _quote(shown), sentence) for sentence in sentences]


def _validate_owners(owners: list[JsonObject]) -> list[Cause]:
    field = "metadata.ownerReferences"
    causes: list[Cause] = []
    for owner in owners:
        causes += [
            invalid(f"{field}.{key}", '""', f"{words} must not be empty")
            for key, words in (
                ("apiVersion", "version"),
                ("kind", "kind"),
                ("name", "name"),
                ("uid", "uid"),
            )
            if not owner.get(key)
        ]
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        first, second = (f"{owner.get('kind')}/{owner.get('name')}" for owner in controllers[:2])
        causes.append(
            invalid(
                field,
                f"[]v1.OwnerReference{{{', '.join(_go_owner(owner) for owner in owners)}}}",
                "Only one reference can have Controller set to true. Found"
                f' "true" in references for {first} and {second}',
            )
        )
    return causes


def _go_owner(owner: JsonObject) -> str:
    flags = ", ".join(
        f"{name}:(*bool)({'nil' if owner.get(key) is None else '0x0'})"
        for key, name in (
            ("controller", "Controller"),
            ("blockOwnerDeletion", "BlockOwnerDeletion"),
        )
    )
    return (
        f'v1.OwnerReference{{APIVersion:"{owner.get("apiVersion", "")}",'
        f' Kind:"{owner.get("kind", "")}", Name:"{owner.get("name", "")}",'
        f' UID:"{owner.get("uid", "")}", {flags}}}'
    )

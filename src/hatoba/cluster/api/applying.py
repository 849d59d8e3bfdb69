"""Server-side apply: an update of what is there, or the creation of what is not.

Spec: Kubernetes "Server-Side Apply"; refusals as a real server was recorded to say them.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import yaml

from hatoba.cluster.api.bodies import MalformedJson, parse_json
from hatoba.cluster.api.documents import clone
from hatoba.cluster.api.metadata import invalid
from hatoba.cluster.api.ownership import Ownership
from hatoba.cluster.api.requests import Write
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import (
    BadRequest,
    InternalError,
    Invalid,
    ObjectConflict,
    ObjectNotFound,
)
from hatoba.cluster.api.store import Store
from hatoba.cluster.api.versions import to_version
from hatoba.cluster.api.writing import STALE, Writer, key_of
from hatoba.kernel.json import JsonObject, JsonValue


def parse_applied(body: bytes, *, strict: bool) -> JsonValue:
    """Read an applied configuration: YAML, of which JSON is the common case.

    Raises:
        BadRequest: it is neither, or `strict` and a member occurs twice.
    """
    with contextlib.suppress(MalformedJson):
        parsed = parse_json(body)
        if not (strict and parsed.duplicates):
            return parsed.document
    try:
        if strict and (twice := list(_twice(yaml.compose(body, Loader=yaml.CSafeLoader)))):
            raise BadRequest(
                "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:"
                + "".join(f'\n  line {line}: key "{key}" already set in map' for line, key in twice)
            )
        return yaml.load(body, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise BadRequest(
            f"error decoding YAML: error converting YAML to JSON: yaml: {_words(error)}"
        ) from error


def _twice(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, key.value
            seen.add(key.value)
            yield from _twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _twice(item)


def _words(error: yaml.YAMLError) -> str:
    """Count lines as the YAML parser of a real server does: from zero, but for the scanner."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error)
    marks = [mark.line for mark in (error.context_mark, error.problem_mark) if mark is not None]
    line = next((number for number in marks if number), 0)
    if isinstance(error, yaml.scanner.ScannerError) and line:
        line += 1
    return f"line {line}: {error.problem}" if line else str(error.problem)


class Applier:
    """Applies configurations."""

    def __init__(self, store: Store, *, writer: Writer, ownership: Ownership) -> None:
        self._store = store
        self._writer = writer
        self._ownership = ownership

    def apply(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        applied: JsonValue,
        *,
        write: Write,
    ) -> tuple[JsonObject, bool]:
        """Apply a configuration; return the object and whether it was created by this.

        Raises:
            StatusError: as a real server would answer.
        """
        if write.subresource == "scale":
            applied = _through_scale(resource, applied)
        configuration = self._check(resource, name, namespace, applied, write)
        old = self._store.get(key_of(resource, name, namespace))
        metadata = configuration["metadata"]
        uid, version = metadata.pop("uid", None), metadata.pop("resourceVersion", None)
        if old is None:
            return self._create(resource, namespace, configuration, uid, write), True
        if version and version != old["metadata"]["resourceVersion"]:
            raise ObjectConflict.cannot(resource.about(name), STALE)
        if uid and uid != old["metadata"]["uid"]:
            cause = invalid("metadata.uid", f'"{uid}"', "field is immutable")
            raise Invalid.of(resource.about_kind(name), [cause, cause])
        live = to_version(clone(old), resource=resource, version=write.version)
        try:
            merged = self._ownership.apply(live, configuration, resource=resource, write=write)
        except ObjectConflict as conflict:
            raise _told_for(conflict, resource, write) from conflict
        changed = self._writer.update(
            resource, name, namespace, lambda _: merged, write=_recorded(write)
        )
        return changed, False

    def _create(
        self,
        resource: Resource,
        namespace: str | None,
        configuration: JsonObject,
        uid: str | None,
        write: Write,
    ) -> JsonObject:
        name = configuration["metadata"]["name"]
        if write.subresource:
            raise ObjectNotFound.named(resource.about(name))
        if uid:
            raise ObjectConflict.cannot(
                resource.about(name),
                f"uid mismatch: the provided object specified uid {uid}, and no existing object was"
                " found",
            )
        merged = self._ownership.apply(None, configuration, resource=resource, write=write)
        return self._writer.create(resource, merged, namespace, write=_recorded(write))

    @staticmethod
    def _check(
        resource: Resource,
        name: str,
        namespace: str | None,
        applied: JsonValue,
        write: Write,
    ) -> JsonObject:
        configuration: JsonObject = clone(applied) if isinstance(applied, dict) else {}
        api_version, kind = configuration.get("apiVersion", ""), configuration.get("kind", "")
        if api_version != resource.api_version(write.version) or kind != resource.kind:
            shown = api_version or "/"
            raise BadRequest(f"invalid object type: {shown}, Kind={kind}")
        metadata = configuration.setdefault("metadata", {})
        if "managedFields" in metadata:
            raise BadRequest("metadata.managedFields must be nil")
        given = metadata.setdefault("name", name)
        if given != name:
            raise BadRequest(
                f"the name of the object ({given}) does not match the name on the URL ({name})"
            )
        if resource.namespaced and metadata.get("namespace", namespace) != namespace:
            raise BadRequest(
                "the namespace of the provided object does not match the namespace sent on the"
                " request"
            )
        return configuration


def _through_scale(resource: Resource, applied: JsonValue) -> JsonObject:
    """Return what a Scale says of the object behind it."""
    if resource.is_custom:
        raise InternalError(
            "failed to create manager for existing fields: failed to convert live object (/;"
            " autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid"
            " group/version: autoscaling/v1"
        )
    scale: JsonObject = applied if isinstance(applied, dict) else {}
    api_version, kind = scale.get("apiVersion", ""), scale.get("kind", "")
    if (api_version, kind) != ("autoscaling/v1", "Scale"):
        raise BadRequest(f"invalid object type: {api_version or '/'}, Kind={kind}")
    return {
        "apiVersion": resource.api_version(),
        "kind": resource.kind,
        "metadata": scale.get("metadata") or {},
        "spec": scale.get("spec") or {},
    }


def _told_for(conflict: ObjectConflict, resource: Resource, write: Write) -> ObjectConflict:
    """Name the version that the caller spoke, not the one the fields are kept in."""
    if write.subresource != "scale":
        return conflict
    stored, spoken = f"using {resource.api_version()}", "using autoscaling/v1"
    causes = [
        replace(cause, message=cause.message.replace(stored, spoken)) for cause in conflict.causes
    ]
    return ObjectConflict(
        conflict.message.replace(stored, spoken), about=conflict.about, causes=causes
    )


def _recorded(write: Write) -> Write:
    return replace(write, applied=True, field_validation="Ignore")

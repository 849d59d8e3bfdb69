"""Server-side apply: an update of what is there, or the creation of what is not.

Spec: Kubernetes "Server-Side Apply"; refusals as a real server was recorded to say them.
"""

import yaml

from hatoba.cluster.api.bodies import MalformedJson, parse_json
from hatoba.cluster.api.documents import clone
from hatoba.cluster.api.metadata import invalid
from hatoba.cluster.api.ownership import Ownership
from hatoba.cluster.api.requests import Write
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import BadRequest, Invalid, ObjectConflict, ObjectNotFound
from hatoba.cluster.api.store import Store
from hatoba.cluster.api.versions import to_version
from hatoba.cluster.api.writing import STALE, Writer, key_of
from hatoba.kernel.json import JsonObject, JsonValue


def parse_applied(body: bytes, *, strict: bool) -> JsonValue:
    """Read an applied configuration: YAML, of which JSON is the common case.

    Raises:
        BadRequest: it is neither.
    """
    try:
        parsed = parse_json(body)
    except MalformedJson:
        pass
    else:
        if not (strict and parsed.duplicates):
            return parsed.document
    try:
        return yaml.load(body, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise BadRequest(
            f"error decoding YAML: error converting YAML to JSON: yaml: {_words(error)}"
        ) from error


def _words(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error)


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
        merged = self._ownership.apply(live, configuration, resource=resource, write=write)
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
        if resource.namespaced:
            place = metadata.setdefault("namespace", namespace)
            if place != namespace:
                raise BadRequest(
                    "the namespace of the provided object does not match the namespace sent on the"
                    " request"
                )
        return configuration


def _recorded(write: Write) -> Write:
    return Write(
        manager=write.manager,
        subresource=write.subresource,
        version=write.version,
        dry_run=write.dry_run,
        force=write.force,
        applied=True,
        warnings=write.warnings,
    )

"""Create and update: how an object comes into the store and changes there.

Spec: Kubernetes API conventions, "Resource Operations", "Concurrency Control and Consistency".
Every function is synchronous and runs on the event loop's thread: nothing can happen between a
check and the write, so that a write is atomic without a lock.
"""

from collections.abc import Callable
from dataclasses import replace

from hatoba.cluster.api import metadata as meta
from hatoba.cluster.api.deletion import is_finished
from hatoba.cluster.api.documents import clone
from hatoba.cluster.api.ownership import Ownership
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.requests import Write
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import (
    AlreadyExists,
    BadRequest,
    Cause,
    InternalError,
    Invalid,
    ObjectConflict,
    ObjectNotFound,
    Refused,
)
from hatoba.cluster.api.store import Key, Store
from hatoba.cluster.api.strategy import Strategy
from hatoba.cluster.api.versions import from_version, to_version
from hatoba.cluster.objects import NAMESPACES
from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject

STALE = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
Transform = Callable[[JsonObject], JsonObject]


def key_of(resource: Resource, name: str, namespace: str | None) -> Key:
    """Return where an object lies."""
    return Key(resource.storage, namespace or "" if resource.namespaced else "", name)


class Writer:
    """Creates and updates objects."""

    def __init__(
        self, store: Store, *, registry: Registry, ownership: Ownership, clock: Clock
    ) -> None:
        self._store = store
        self._registry = registry
        self._ownership = ownership
        self._clock = clock

    def create(
        self, resource: Resource, obj: JsonObject, namespace: str | None, *, write: Write
    ) -> JsonObject:
        """Create an object, which may be changed by this, and return it in the stored version.

        Raises:
            StatusError: as a real server would answer.
        """
        strategy = self._registry.strategy(resource)
        document = from_version(obj, resource=resource, version=write.version)
        kind_causes = _check_kind(resource, obj)
        metadata = document.setdefault("metadata", {})
        self._place(resource, metadata, namespace)
        if metadata.get("resourceVersion"):
            raise InternalError("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = meta.generate_name(metadata["generateName"])
        self._check_namespace(resource, metadata)
        meta.fill_for_create(metadata, self._clock.now())
        self._decode(strategy, document, write)
        strategy.default(document)
        if strategy.splits_status:
            document.pop("status", None)
        if not write.applied:
            # The writer owns what he wrote, not what admission adds from here on.
            self._ownership.record(document, None, resource=resource, write=write)
        strategy.admit_create(document, self._store)
        strategy.prepare_create(document)
        causes = kind_causes + meta.validate_create(metadata, resource)
        causes += strategy.validate(document)
        write.warnings.extend(meta.finalizer_warnings(metadata, {}))
        causes = strategy.conclude(causes, document, None)
        self._refuse(resource, document, causes, kind=obj.get("kind"))
        return self._insert(resource, document, write)

    def _insert(self, resource: Resource, document: JsonObject, write: Write) -> JsonObject:
        name = document["metadata"]["name"]
        key = key_of(resource, name, document["metadata"].get("namespace"))
        existing = self._store.get(key)
        if existing is not None:
            about = resource.about(name)
            if existing["metadata"].get("deletionTimestamp"):
                raise AlreadyExists(
                    f"object is being deleted: {about.title} already exists", about=about
                )
            raise AlreadyExists(f"{about.title} already exists", about=about)
        if write.dry_run:
            return document
        return self._store.put(key, document)

    @staticmethod
    def _place(resource: Resource, metadata: JsonObject, namespace: str | None) -> None:
        if not resource.namespaced:
            metadata.pop("namespace", None)
            return
        given = metadata.setdefault("namespace", namespace)
        if namespace and given and given != namespace:
            raise BadRequest(
                "the namespace of the provided object does not match the namespace sent on the"
                " request"
            )
        metadata["namespace"] = namespace or given

    def _check_namespace(self, resource: Resource, metadata: JsonObject) -> None:
        if not resource.namespaced:
            return
        name = metadata["namespace"]
        namespace = self._store.get(Key(NAMESPACES, "", name))
        if namespace is None:
            about = self._registry.require(NAMESPACES).about(name)
            raise ObjectNotFound.named(about)
        if namespace["metadata"].get("deletionTimestamp"):
            about = resource.about(metadata.get("name", ""))
            cause = Cause(
                reason="NamespaceTerminating",
                message=f"namespace {name} is being terminated",
                field="metadata.namespace",
            )
            raise Refused(
                f"{about.title} is forbidden: unable to create new content in namespace {name}"
                " because it is being terminated",
                about=about,
                causes=[cause],
            )

    @staticmethod
    def _decode(strategy: Strategy, document: JsonObject, write: Write) -> None:
        whole = clone(document) if write.refuse is not None else document
        try:
            unknown = [*write.duplicates, *strategy.decode(document)]
        except BadRequest as error:
            if write.refuse is None:
                raise
            raise write.refuse(whole, str(error.__cause__ or error)) from error
        if write.field_validation == "Warn":
            write.warnings.extend(unknown)
        elif write.field_validation == "Strict" and unknown:
            if write.refuse is not None:
                raise write.refuse(whole, f"strict decoding error: {', '.join(unknown)}")
            listed = ", ".join(unknown)
            kind = strategy.resource.kind
            raise BadRequest(
                f'{kind} in version "{write.version or strategy.resource.storage_version}" cannot'
                f" be handled as a {kind}: strict decoding error: {listed}"
            )

    @staticmethod
    def _refuse(
        resource: Resource, document: JsonObject, causes: list[Cause], *, kind: str | None
    ) -> None:
        if causes:
            about = resource.about_kind(document["metadata"].get("name", ""))
            if resource.is_custom and kind:
                about = replace(about, kind=kind)
            raise Invalid.of(about, causes)

    def update(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        transform: Transform,
        *,
        write: Write,
    ) -> JsonObject:
        """Replace an object by what `transform` makes of a copy of it in the caller's version.

        Returns the stored version; when nothing changed, the object as it was.

        Raises:
            StatusError: as a real server would answer.
        """
        key = key_of(resource, name, namespace)
        old = self._store.get(key)
        if old is None:
            raise ObjectNotFound.named(resource.about(name))
        strategy = self._registry.strategy(resource)
        given = transform(to_version(clone(old), resource=resource, version=write.version))
        new = from_version(given, resource=resource, version=write.version)
        self._check_preconditions(resource, new, old, strategy, write)
        self._decode(strategy, new, write)
        strategy.default(new)
        meta.keep_identity(new["metadata"], old["metadata"])
        if write.subresource == "status":
            strategy.prepare_status_update(new, old)
            causes = strategy.validate_status_update(new, old)
        else:
            strategy.admit_update(new, old, self._store)
            strategy.prepare_update(new, old, subresource=write.subresource)
            causes = strategy.validate_update(new, old)
        causes = [
            *_check_kind(resource, given),
            *meta.validate_update(new["metadata"], old["metadata"], is_custom=resource.is_custom),
            *causes,
        ]
        write.warnings.extend(meta.finalizer_warnings(new["metadata"], old["metadata"]))
        self._refuse(resource, new, strategy.conclude(causes, new, old), kind=given.get("kind"))
        if not write.applied:
            self._ownership.record(new, old, resource=resource, write=write)
        if write.subresource == "status":
            strategy.settle_status_update(new, old)
        return self._replace(key, new, old, write)

    def _replace(self, key: Key, new: JsonObject, old: JsonObject, write: Write) -> JsonObject:
        if is_finished(new):
            if not write.dry_run:
                self._store.remove(key)
            return new
        if same_but_for_times(new, old):
            return old
        if write.dry_run:
            return new
        return self._store.put(key, new)

    @staticmethod
    def _check_preconditions(
        resource: Resource, new: JsonObject, old: JsonObject, strategy: Strategy, write: Write
    ) -> None:
        metadata = new.setdefault("metadata", {})
        name = old["metadata"]["name"]
        about = resource.about(name)
        given = metadata.get("resourceVersion", "")
        if given in ("", "0") and not strategy.takes_unversioned_updates:
            cause = meta.invalid(
                "metadata.resourceVersion", "0x0", "must be specified for an update"
            )
            raise Invalid.of(about, [cause])
        if given and not given.isdecimal():
            raise InternalError(f'strconv.ParseUint: parsing "{given}": invalid syntax')
        uid = metadata.get("uid") or old["metadata"]["uid"]
        if uid != old["metadata"]["uid"] and write.refuse is not None:
            cause = meta.invalid("metadata.uid", f'"{uid}"', "field is immutable")
            raise Invalid.of(resource.about_kind(name), [cause, cause])
        if uid != old["metadata"]["uid"]:
            path = "/".join(
                part
                for part in (
                    "/registry",
                    resource.group,
                    resource.plural,
                    old["metadata"].get("namespace", ""),
                    name,
                )
                if part
            )
            raise ObjectConflict.cannot(
                about,
                f"StorageError: invalid object, Code: 4, Key: {path}, ResourceVersion: 0,"
                f" AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in"
                f" object meta: {old['metadata']['uid']}",
            )
        if given not in ("", "0") and given != old["metadata"]["resourceVersion"]:
            raise ObjectConflict.cannot(about, STALE)


def same_but_for_times(new: JsonObject, old: JsonObject) -> bool:
    """Whether a write changes nothing but the times at which it was recorded."""
    if {k: v for k, v in new.items() if k != "metadata"} != {
        k: v for k, v in old.items() if k != "metadata"
    }:
        return False
    mine, theirs = dict(new["metadata"]), dict(old["metadata"])
    mine_fields, their_fields = (
        [{k: v for k, v in entry.items() if k != "time"} for entry in m.pop("managedFields", [])]
        for m in (mine, theirs)
    )
    return mine == theirs and mine_fields == their_fields


def _check_kind(resource: Resource, obj: JsonObject) -> list[Cause]:
    kind = obj.get("kind")
    if not resource.is_custom or kind in (None, resource.kind):
        return []
    return [meta.invalid("kind", f'"{kind}"', f"must be {resource.kind}")]

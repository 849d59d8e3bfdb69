"""CRDs at work: names are accepted, resources served, and cleaned up when the CRD goes.

Spec: Kubernetes "Custom Resources"; the conditions and their order are those of a real server. All
of it happens while the CRD is written, so that a resource is served when the answer arrives.
"""

from collections.abc import Iterable
from typing import Final

import structlog

from hatoba.cluster.api.deletion import Remover
from hatoba.cluster.api.documents import clone, reach
from hatoba.cluster.api.kinds.custom import CustomRules
from hatoba.cluster.api.kinds.definitions import CLEANUP
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.requests import Deletion, Write
from hatoba.cluster.api.store import Change, Key, Store
from hatoba.cluster.api.writing import Writer
from hatoba.cluster.objects import DEFINITIONS, ResourceName
from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

_MANAGER: Final = "kube-apiserver"
_ACCEPTED: Final = "the initial names have been accepted"


class Definitions:
    """Keeps the registry in step with the stored CRDs."""

    def __init__(
        self, store: Store, *, registry: Registry, writer: Writer, remover: Remover, clock: Clock
    ) -> None:
        self._store = store
        self._registry = registry
        self._writer = writer
        self._remover = remover
        self._clock = clock
        for definition in store.members(DEFINITIONS, None):
            if _condition(definition, "Established") == "True":
                self._serve(definition)
        store.listen(self._changed)

    def _changed(self, change: Change) -> None:
        if change.resource != DEFINITIONS:
            self._member_changed(change)
            return
        definition = change.object
        if change.type == "DELETED":
            self._registry.remove(_name_of(definition))
        elif definition["metadata"].get("deletionTimestamp"):
            self._clean_up(definition)
        elif change.type == "ADDED":
            self._accept(definition)
        elif change.previous is not None and change.previous["spec"] != definition["spec"]:
            if _condition(definition, "Established") == "True":
                self._serve(definition)
            self._accept(definition)

    def _serve(self, definition: JsonObject) -> None:
        rules = CustomRules(clone(definition))
        self._registry.add(rules)

        def defaulted(document: JsonObject) -> JsonObject:
            shown = clone(document)
            rules.default(shown)
            return shown

        self._store.refresh(rules.resource.storage, defaulted)

    def _accept(self, definition: JsonObject) -> None:
        name = definition["metadata"]["name"]
        names = definition["spec"]["names"]
        conflict, accepted = self._check_names(definition)
        if conflict is not None:
            reason, taken = conflict
            self._report(
                name,
                [
                    ("NamesAccepted", "False", reason, f'"{taken}" is already in use'),
                    ("Established", "False", "NotAccepted", "not all names are accepted"),
                ],
                accepted,
            )
            return
        is_established = _condition(definition, "Established") == "True"
        in_order = ("NamesAccepted", "True", "NoConflicts", "no conflicts found")
        if not is_established:
            installing = ("Established", "False", "Installing", _ACCEPTED)
            self._report(name, [in_order, installing], names)
        established = ("Established", "True", "InitialNamesAccepted", _ACCEPTED)
        updated = self._report(name, [in_order, established], names)
        if not is_established:
            self._serve(updated)
            log.info("resource served", definition=name)

    def _check_names(self, definition: JsonObject) -> tuple[tuple[str, str] | None, JsonObject]:
        """Return the conflict that is reported, and the names that are accepted anyway."""
        names: JsonObject = definition["spec"]["names"]
        group = definition["spec"]["group"]
        own = _name_of(definition)
        others = [r for r in self._registry if r.group == group and r.name != own]
        words = {w for r in others for w in (r.plural, r.singular, *r.short_names)}
        kinds = {w for r in others for w in (r.kind, r.list_kind)}
        conflict: tuple[str, str] | None = None
        accepted: JsonObject = {"plural": "", "kind": ""}
        for key, taken, reason in (
            ("plural", words, "PluralConflict"),
            ("singular", words, "SingularConflict"),
            ("shortNames", words, "ShortNamesConflict"),
            ("kind", kinds, "KindConflict"),
            ("listKind", kinds, "ListKindConflict"),
        ):
            value = names.get(key)
            if not value:
                continue
            clash = [w for w in ([value] if isinstance(value, str) else value) if w in taken]
            if clash:
                conflict = (reason, clash[0])
            else:
                accepted[key] = value
        return conflict, accepted

    def _report(
        self, name: str, conditions: Iterable[tuple[str, str, str, str]], names: JsonObject
    ) -> JsonObject:
        now = rfc3339(self._clock.now())

        def describe(definition: JsonObject) -> JsonObject:
            status = definition.setdefault("status", {})
            former = {c["type"]: c for c in status.get("conditions") or []}
            for kind, state, reason, message in conditions:
                known = former.get(kind)
                since = known["lastTransitionTime"] if known and known["status"] == state else now
                former[kind] = {
                    "type": kind,
                    "status": state,
                    "lastTransitionTime": since,
                    "reason": reason,
                    "message": message,
                }
            status["conditions"] = list(former.values())
            status["acceptedNames"] = names
            stored = [v["name"] for v in definition["spec"]["versions"] if v.get("storage")]
            known_versions = status.setdefault("storedVersions", [])
            status["storedVersions"] = list(dict.fromkeys([*known_versions, *stored]))
            return definition

        write = Write(manager=_MANAGER, subresource="status")
        resource = self._registry.require(DEFINITIONS)
        return self._writer.update(resource, name, None, describe, write=write)

    def _clean_up(self, definition: JsonObject) -> None:
        if CLEANUP not in definition["metadata"].get("finalizers", []):
            return
        name = _name_of(definition)
        resource = self._registry.find(name)
        for obj in self._store.members(name, None):
            metadata = obj["metadata"]
            if resource is not None and not metadata.get("deletionTimestamp"):
                key = Key(name, metadata.get("namespace", ""), metadata["name"])
                self._remover.delete(resource, key, deletion=Deletion())
        self._finish(definition["metadata"]["name"], name)

    def _member_changed(self, change: Change) -> None:
        """Finish the clean-up of a CRD when its last object goes."""
        if change.type != "DELETED":
            return
        name = f"{change.resource.plural}.{change.resource.group}"
        definition = self._store.get(Key(DEFINITIONS, "", name))
        if definition is not None and definition["metadata"].get("deletionTimestamp"):
            self._finish(name, change.resource)

    def _finish(self, definition: str, resource: ResourceName) -> None:
        if self._store.members(resource, None) or not self._store.get(
            Key(DEFINITIONS, "", definition)
        ):
            return

        def release(obj: JsonObject) -> JsonObject:
            finalizers = obj["metadata"].get("finalizers", [])
            obj["metadata"]["finalizers"] = [f for f in finalizers if f != CLEANUP]
            return obj

        write = Write(manager=_MANAGER)
        kind = self._registry.require(DEFINITIONS)
        self._writer.update(kind, definition, None, release, write=write)


def _name_of(definition: JsonObject) -> ResourceName:
    spec = definition["spec"]
    return ResourceName(spec["names"]["plural"], spec["group"])


def _condition(definition: JsonObject, kind: str) -> str | None:
    conditions: list[JsonObject] = reach(definition, "status", "conditions") or []
    return next((c["status"] for c in conditions if c["type"] == kind), None)

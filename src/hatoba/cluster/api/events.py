"""Events in their newer API form, `events.k8s.io/v1`: the same object with other names.

Spec: API reference, Event (events.k8s.io/v1): the `deprecated*` members are core/v1's.
"""

from typing import Final

from hatoba.kernel.json import JsonObject

_NAMES: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_BACK: Final = {new: old for old, new in _NAMES.items()}


def to_new_event(event: JsonObject) -> JsonObject:
    """Return a core/v1 event in the newer form."""
    renamed = {_NAMES.get(key, key): value for key, value in event.items()}
    return {**renamed, "apiVersion": "events.k8s.io/v1"}


def from_new_event(event: JsonObject) -> JsonObject:
    """Return an event of the newer form as core/v1."""
    return {_BACK.get(key, key): value for key, value in event.items()}

"""What a caller asks of the verbs besides the object itself; the edge parses queries into these."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from hatoba.cluster.api.status import Invalid
from hatoba.cluster.objects import Propagation
from hatoba.kernel.json import JsonObject


@dataclass(slots=True, frozen=True, kw_only=True)
class Write:
    """How to create, update or patch."""

    manager: str
    subresource: str = ""
    version: str | None = None
    """The API version that the caller speaks; None for the one objects are stored in."""
    dry_run: bool = False
    force: bool = False
    applied: bool = False
    """Whether ownership was already recorded, by server-side apply."""
    field_validation: Literal["Ignore", "Warn", "Strict"] = "Ignore"
    duplicates: tuple[str, ...] = ()
    """What the parser found wrong already, in the words of strict decoding."""
    warnings: list[str] = field(default_factory=list)
    """Filled while the request is served; sent as Warning headers."""
    refuse: Callable[[JsonObject, str], Invalid] | None = None
    """How a patch says that its result cannot be decoded; None for whole objects."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Deletion:
    """How to delete."""

    propagation: Propagation | None = None
    uid: str | None = None
    resource_version: str | None = None
    grace_seconds: int | None = None
    dry_run: bool = False


@dataclass(slots=True, frozen=True, kw_only=True)
class Selection:
    """Which objects of a collection: selectors in the syntax of the query parameters."""

    namespace: str | None = None
    labels: str = ""
    fields: str = ""

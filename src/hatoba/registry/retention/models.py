"""Values of the retention room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

QUARANTINE: Final = timedelta(minutes=15)
"""Longer than any process remembers a blob, and than a client needs between HEAD and manifest."""


@dataclass(slots=True, frozen=True, kw_only=True)
class RetentionPolicy:
    """How long and in what portions."""

    quarantine: timedelta = QUARANTINE
    """How long a blob that nothing refers to stays before its bytes go."""
    tags_per_batch: int = 100
    manifests_per_batch: int = 200
    repositories_per_page: int = 100
    rows_per_page: int = 2000
    """How many rows a sweep looks at in one statement."""
    pages_per_sweep: int = 10
    """How many pages one run of the sweep takes."""


class Damage(StrEnum):
    """What is wrong with the bytes of a blob."""

    CORRUPT = "corrupt"
    """They are not what their digest says."""
    MISSING = "missing"


class ScrubMode(StrEnum):
    """What a pass over the storage changes; each includes what those before it do."""

    REPORT = "report"
    """Nothing."""
    QUARANTINE = "quarantine"
    """Damaged blobs are set aside and no longer offered, until they are pushed again."""
    REPAIR = "repair"
    """Bytes that no row names are removed once they have been known for the grace."""


@dataclass(slots=True, frozen=True, kw_only=True)
class ScrubPolicy:
    """How a pass over the storage goes about it."""

    mode: ScrubMode = ScrubMode.REPORT
    bytes_per_second: int = 10 << 20
    """How fast it reads at most; 0 is without limit."""
    orphan_grace: timedelta = timedelta(days=1)
    interval: timedelta = timedelta(weeks=4)
    """From the beginning of one pass to the next, in the background."""
    rows_per_page: int = 500
    save_every: timedelta = timedelta(seconds=5)
    """How much work a pass that is stopped does again at most, apart from one blob."""
    failures_in_a_row: int = 10
    """After so many blobs that cannot be read the storage counts as unavailable."""


@dataclass(slots=True, frozen=True, kw_only=True)
class HurtTag:
    """A living tag that needs a blob."""

    repository: str
    tag: str


@dataclass(slots=True, frozen=True, kw_only=True)
class DamagedBlob:
    """A blob that is not as it should be, and what it is needed for."""

    digest: str
    kind: Damage
    is_withdrawn: bool
    """It is no longer offered, so that the next push of it brings it back."""
    manifests: int
    """How many manifests need it, through indexes, too."""
    tags: Sequence[HurtTag]


@dataclass(slots=True, kw_only=True)
class ScrubCounts:
    """What a pass has seen and done so far."""

    blobs: int = 0
    bytes: int = 0
    corrupt: int = 0
    missing: int = 0
    withdrawn: int = 0
    healed: int = 0
    """Blobs that were withdrawn and are there again."""
    unreadable: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    orphans_removed: int = 0


@dataclass(slots=True, frozen=True, kw_only=True)
class ScrubRun:
    """A pass over the storage, finished or not."""

    id: int
    started_at: datetime
    finished_at: datetime | None
    phase: str
    after: str | None
    """The digest that was looked at last."""
    counts: ScrubCounts


@dataclass(slots=True, frozen=True, kw_only=True)
class Times:
    """The present moment as tag rows see it."""

    now_ms: int
    restorable_after_ms: int
    """A tag that ended later than this can be restored."""
    held_after_ms: int
    """A hold without an end that began later than this belongs to a push that may be under way."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Claim:
    """A repository that is ours until the end of the transaction."""

    repository_id: int
    times: Times


@dataclass(slots=True, frozen=True, kw_only=True)
class Node:
    """A manifest, as far as keeping it goes."""

    id: int
    digest: str
    subject: str | None = None
    is_tagged: bool = False
    """A tag names it that lives, can be restored, or holds a push that is under way."""
    is_held: bool = False
    """A hidden tag without an end names it: it stays as long as its subject does."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Family:
    """Manifests of one repository with all that they refer to and that refers to them."""

    nodes: Mapping[int, Node]
    children: Sequence[tuple[int, int]] = ()
    """Pairs of an index and a manifest that it names."""


@dataclass(slots=True, kw_only=True)
class Collected:
    """What a collection did; added up over its steps."""

    namespaces: int = 0
    repositories: int = 0
    tags: int = 0
    manifests: int = 0
    quarantined: int = 0
    taken_back: int = 0
    blobs: int = 0
    bytes: int = 0
    failed: int = 0

    def add(self, other: "Collected") -> None:
        """Add what another step did."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was done."""
        return self == Collected()


@dataclass(slots=True, frozen=True, kw_only=True)
class DoomedManifest:
    """A manifest that the next collection removes."""

    repository: str
    digest: str
    reason: str


@dataclass(slots=True, frozen=True, kw_only=True)
class DoomedBlob:
    """A blob that goes with them, or is on its way already."""

    digest: str
    size_bytes: int
    quarantined_since: datetime | None
    reason: str


@dataclass(slots=True, frozen=True, kw_only=True)
class Plan:
    """What a collection would do now."""

    repositories: Sequence[str]
    expired_tags: int
    manifests: Sequence[DoomedManifest]
    blobs: Sequence[DoomedBlob]

    @property
    def total_bytes(self) -> int:
        """How many bytes would go."""
        return sum(blob.size_bytes for blob in self.blobs)


@dataclass(slots=True, frozen=True, kw_only=True)
class Explanation:
    """Why a digest is kept, in sentences; what does not keep it is said, too."""

    digest: str
    is_known: bool
    is_kept: bool
    reasons: Sequence[str]

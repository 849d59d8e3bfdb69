"""What is removed when nothing refers to it, and how stored bytes are looked after."""

from datetime import timedelta
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from hatoba.config.durations import Duration, format_duration, parse_duration
from hatoba.config.schema.group import Group

SHORTEST_QUARANTINE: Final = timedelta(minutes=2)
"""Twice as long as a process remembers blobs that it served."""
SHORTEST_ORPHAN_GRACE: Final = timedelta(hours=1)
"""Longer than the clocks of replicas differ, and than the last step of any push takes."""

SHORTEST_UPLOAD_LIFETIME: Final = timedelta(hours=1)
"""What a large layer over a slow line may well take."""
SHORTEST_SWEEP_MARGIN: Final = timedelta(minutes=1)
"""By how much clocks of machines that somebody looks after differ at most."""


def _at_least(shortest: timedelta) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if value < shortest:
            raise ValueError(f"must be at least {format_duration(shortest)}")
        return value

    return AfterValidator(check)


class RetentionSettings(Group):
    """Garbage collection, and scrubbing of the storage."""

    title: ClassVar[str] = "Garbage collection"
    field_group: ClassVar[str] = "GarbageCollection"

    feature_garbage_collection: bool = True
    """False keeps what nothing refers to any more."""
    garbage_collection_frequency: int = Field(default=30, ge=1)
    """Seconds between two looks for what nothing refers to any more."""
    garbage_collection_quarantine: Annotated[Duration, _at_least(SHORTEST_QUARANTINE)] = (
        parse_duration("15m")
    )
    """How long a blob that nothing refers to stays before its bytes go; a push takes it back."""
    garbage_collection_batch: int = Field(default=100, ge=1, le=10_000)
    """How many tags, and twice as many manifests, one transaction of the collection removes."""
    upload_lifetime: Annotated[Duration, _at_least(SHORTEST_UPLOAD_LIFETIME)] = parse_duration("2d")
    """How long the upload of a blob may take from its beginning; after that it is forgotten."""
    upload_sweep_margin: Annotated[Duration, _at_least(SHORTEST_SWEEP_MARGIN)] = parse_duration(
        "6h"
    )
    """How much longer than UPLOAD_LIFETIME the bytes of an upload that nobody knows any more stay:
    the clock of the storage may be wrong by as much."""
    feature_storage_scrub: bool = False
    """True reads all stored blobs again and again in the background and compares their digests."""
    storage_scrub_interval: Duration = parse_duration("4w")
    """The time from the beginning of one pass over the storage to the next."""
    storage_scrub_rate: int = Field(default=10 << 20, ge=0)
    """How many bytes a second a pass reads in the background at most; 0 is without limit."""
    storage_scrub_mode: Literal["report", "quarantine", "repair"] = "quarantine"
    """What a pass in the background does: only `report`; set damaged blobs aside, too, so that the
    next push of the same digest heals them (`quarantine`); or also remove bytes that no row names
    (`repair`), which must not be chosen where another registry uses the same storage."""
    storage_scrub_orphan_grace: Annotated[Duration, _at_least(SHORTEST_ORPHAN_GRACE)] = (
        parse_duration("1d")
    )
    """How long bytes that no row names have been known before they are removed."""

"""What is known about the scanning of a manifest."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from hatoba.kernel.json import JsonObject


class IndexStatus(IntEnum):
    """`manifestsecuritystatus.index_status`."""

    RETRIES_EXHAUSTED = -4
    LAYER_TOO_LARGE = -3
    UNSUPPORTED = -2
    FAILED = -1
    PENDING = 0
    IN_PROGRESS = 1
    COMPLETED = 2


@dataclass(slots=True, frozen=True, kw_only=True)
class IndexCandidate:
    """A manifest that is to be indexed, with what the last attempt left."""

    manifest_id: int
    repository_id: int
    namespace: str
    repository: str
    digest: str
    media_type: str
    content: str
    retries: int


@dataclass(slots=True, frozen=True, kw_only=True)
class IndexRecord:
    """A row of `manifestsecuritystatus`."""

    status: IndexStatus
    indexer_hash: str
    last_indexed: datetime
    retries: int


@dataclass(slots=True, frozen=True, kw_only=True)
class SecurityReport:
    """What the API answers: a status, and the findings of a manifest that was scanned."""

    status: str
    data: JsonObject | None = None

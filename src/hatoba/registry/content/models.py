"""Values of the content room."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Final

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.registry.audit.models import Actor
from hatoba.registry.content.upload_ids import UploadId

BLOB_HOLD: Final = timedelta(hours=1)
CACHE_SECONDS: Final = 60.0
"""Where other processes are told of changes, and this bounds what they miss."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Caller:
    """On whose behalf something is pushed, pulled or deleted, for the audit log."""

    actor: Actor
    username: str | None = None
    user_agent: str = ""


@dataclass(slots=True, frozen=True, kw_only=True)
class ContentPolicy:
    """Limits and lifetimes, read from the configuration once."""

    hold_lifetime: timedelta = BLOB_HOLD
    """How long what no tag names is kept for the push that is under way."""
    upload_lifetime: timedelta = timedelta(days=2)
    """How long an upload may take; after that it is forgotten (UPLOAD_LIFETIME)."""
    sweep_margin: timedelta = timedelta(hours=6)
    """By how much the clocks of storage and registry may differ (UPLOAD_SWEEP_MARGIN)."""
    maximum_blob_bytes: int = 20 << 30
    maximum_manifest_bytes: int = 4 << 20
    location: str = "default"
    """Name of the storage location that the blob driver serves."""
    cache_seconds: float = CACHE_SECONDS
    """The longest time that a pull by digest is answered from memory."""


Reference = TagName | Digest
"""What the path of a manifest names. A `TagName` is a `str` at run time."""


class RepositoryState(IntEnum):
    """Column `repository.state`."""

    NORMAL = 0
    READ_ONLY = 1
    MIRROR = 2
    MARKED_FOR_DELETION = 3
    ORG_MIRROR = 4


@dataclass(slots=True, frozen=True, kw_only=True)
class RepositoryRecord:
    """A repository, as pulls and pushes need to know it."""

    id: int
    namespace_id: int
    name: RepositoryName
    state: RepositoryState


@dataclass(slots=True, frozen=True, kw_only=True)
class ManifestRecord:
    """A stored manifest."""

    id: int
    repository: RepositoryRecord
    digest: Digest
    media_type: str
    content: bytes


@dataclass(slots=True, frozen=True, kw_only=True)
class BlobRecord:
    """A blob that a repository holds."""

    repository: RepositoryRecord
    digest: Digest
    size: int


@dataclass(slots=True, frozen=True, kw_only=True)
class UploadRecord:
    """An upload in progress."""

    id: int | None
    """None while it is only begun: no row tells of it."""
    upload_id: UploadId
    repository_id: int
    received: int
    hash_state: str | None
    storage_state: str | None
    chunks: int


@dataclass(slots=True, frozen=True, kw_only=True)
class PushedManifest:
    """The outcome of a push."""

    digest: Digest
    media_type: str
    subject: Digest | None


@dataclass(slots=True, frozen=True, kw_only=True)
class ReferrerRecord:
    """A manifest whose subject is another one."""

    digest: Digest
    media_type: str
    artifact_type: str | None
    content: bytes


@dataclass(slots=True, frozen=True, kw_only=True)
class Page:
    """A part of an ordered list of names."""

    items: Sequence[str]
    has_more: bool

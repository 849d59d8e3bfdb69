"""Values of the mirroring room."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final

from hatoba.kernel.names import RepositoryName
from hatoba.net.registry.reference import RemoteRepository

MAXIMUM_RETRIES: Final = 3


class SyncStatus(IntEnum):
    """Where a synchronisation stands; the numbers are those of Quay's column."""

    CANCEL = -2
    FAIL = -1
    NEVER_RUN = 0
    SUCCESS = 1
    SYNCING = 2
    SYNC_NOW = 3


@dataclass(slots=True, frozen=True, kw_only=True)
class ProxySettings:
    """How to reach the other registry."""

    http_proxy: str | None = None
    https_proxy: str | None = None
    no_proxy: str | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class ExternalRegistry:
    """What Quay keeps as `external_registry_config`."""

    verify_tls: bool = True
    unsigned_images: bool = False
    proxy: ProxySettings = field(default_factory=ProxySettings)


@dataclass(slots=True, frozen=True, kw_only=True)
class MirrorRecord:
    """One repository's mirror configuration; the password is in clear text."""

    id: int
    repository_id: int
    repository: RepositoryName
    is_enabled: bool
    external_reference: str
    username: str | None
    password: str | None = field(repr=False)
    registry: ExternalRegistry
    interval_seconds: int
    start_at: datetime | None
    expires_at: datetime | None
    retries_remaining: int
    status: SyncStatus
    transaction_id: str | None
    patterns: tuple[str, ...]
    robot: str
    robot_id: int
    timeout_seconds: int
    architectures: tuple[str, ...] = ()

    @property
    def source(self) -> RemoteRepository:
        """The repository that is copied from."""
        return RemoteRepository.parse(self.external_reference)


@dataclass(slots=True, frozen=True, kw_only=True)
class Schedule:
    """The columns that a claim, a cancellation or an outcome changes."""

    status: SyncStatus
    start_at: datetime | None
    expires_at: datetime | None
    retries_remaining: int


@dataclass(slots=True, frozen=True, kw_only=True)
class TagOutcome:
    """What became of one tag; `error` is None where it was copied."""

    tag: str
    error: str | None = None

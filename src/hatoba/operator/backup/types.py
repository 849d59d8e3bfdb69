"""The resources, as their users see them; the CRDs in deploy/ are generated from this.

They are ours: Quay has no such kinds. Group and version are those of the QuayRegistry.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hatoba.operator.names import MAXIMUM_NAME_LENGTH, NAME_FORM
from hatoba.operator.types import Condition

NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
PATH = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class BucketTarget(_Wire):
    """A bucket of any storage that speaks S3."""

    bucket: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The bucket's name."""
    endpoint: str | None = Field(default=None, pattern=r"^https?://[^/\s]+/?$")
    """Where the storage is; Amazon S3 when this is left out."""
    region: str | None = None
    """The bucket's region."""
    credentialsSecret: str = Field(pattern=NAME)  # noqa: N815 -- wire name
    """Name of a Secret in the same namespace with the keys AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY."""


class Vault(_Wire):
    """Where backups lie: exactly one of claimName and s3."""

    claimName: str | None = Field(default=None, pattern=NAME)  # noqa: N815 -- wire name
    """Name of a PersistentVolumeClaim in the same namespace."""
    s3: BucketTarget | None = None
    """A bucket."""
    path: str | None = Field(default=None, pattern=PATH)
    """The directory within; the name of the registry when this is left out. A vault belongs to one
    registry."""
    keySecret: str = Field(pattern=NAME)  # noqa: N815 -- wire name
    """Name of a Secret in the same namespace whose key `key` seals the vault, as `hatoba backup
    key` prints it. Without it nobody can restore: keep a copy outside of the cluster."""


class BackupSpec(_Wire):
    """What to back up, where to, and when."""

    registryName: str = Field(pattern=NAME)  # noqa: N815 -- wire name
    """The QuayRegistry in the same namespace."""
    vault: Vault
    """Where backups lie."""
    blobs: Literal["Copy", "Reference"] | None = None
    """Copy (which is what happens when this is left out) keeps the bytes of images. Reference only
    notes which there are: restoring then needs the same object storage."""
    schedule: str | None = Field(default=None, max_length=120)
    """When, as five fields of cron in UTC; once and at once when this is left out."""
    keep: int | None = Field(default=None, ge=1, le=10000)
    """How many backups stay in the vault; all of them when this is left out."""
    suspend: bool | None = None
    """True makes no more backups for now."""


class BackupFacts(_Wire):
    """What a backup holds."""

    id: str | None = None
    """Its name in the vault."""
    startedAt: str | None = None  # noqa: N815 -- wire name
    """The moment that it keeps."""
    finishedAt: str | None = None  # noqa: N815 -- wire name
    """When it was whole."""
    databaseBytes: int | None = Field(  # noqa: N815 -- wire name
        default=None, json_schema_extra={"format": "int64"}
    )
    """Size of the dump of the database."""
    blobs: int | None = Field(default=None, json_schema_extra={"format": "int64"})
    """How many blobs belong to it."""
    blobBytes: int | None = Field(  # noqa: N815 -- wire name
        default=None, json_schema_extra={"format": "int64"}
    )
    """Their size."""
    copiedBytes: int | None = Field(  # noqa: N815 -- wire name
        default=None, json_schema_extra={"format": "int64"}
    )
    """The size of those that no earlier backup had."""
    missingBlobs: int | None = Field(  # noqa: N815 -- wire name
        default=None, json_schema_extra={"format": "int64"}
    )
    """How many blobs the registry itself has lost."""


class BackupStatus(_Wire):
    """How backups go."""

    observedGeneration: int | None = Field(  # noqa: N815 -- wire name
        default=None, json_schema_extra={"format": "int64"}
    )
    """The generation of the spec that this status is about."""
    job: str | None = None
    """The Job that runs now or ran last."""
    lastScheduledTime: str | None = None  # noqa: N815 -- wire name
    """The due time of that Job."""
    nextScheduledTime: str | None = None  # noqa: N815 -- wire name
    """When the next backup is due."""
    lastBackup: BackupFacts | None = None  # noqa: N815 -- wire name
    """The newest backup that succeeded."""
    conditions: list[Condition] | None = None
    """Ready: backups can be made. Complete: the last one succeeded."""


class QuayRegistryBackup(_Wire):
    """Backups of a container registry, once or on a schedule."""

    spec: BackupSpec
    """What is asked for."""
    status: BackupStatus | None = None
    """What was done."""


class RestoreSpec(_Wire):
    """What to restore, from where."""

    registryName: str = Field(  # noqa: N815 -- wire name
        pattern=NAME_FORM, max_length=MAXIMUM_NAME_LENGTH
    )
    """The QuayRegistry that is made in the same namespace; there must be none of this name."""
    vault: Vault
    """Where the backup lies."""
    backup: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")
    """Name of the backup in the vault; the newest when this is left out."""
    configBundleSecret: str | None = Field(  # noqa: N815 -- wire name
        default=None, pattern=NAME
    )
    """Name of a Secret to use instead of the configuration bundle in the backup: for a registry
    whose database or storage, which the operator does not manage, is another one now."""


class RestoreStatus(_Wire):
    """How far the restoration is."""

    observedGeneration: int | None = Field(  # noqa: N815 -- wire name
        default=None, json_schema_extra={"format": "int64"}
    )
    """The generation of the spec that this status is about."""
    backup: str | None = None
    """The backup that is restored."""
    conditions: list[Condition] | None = None
    """Complete: the registry is there with everything that the backup holds."""


class QuayRegistryRestore(_Wire):
    """The restoration of a container registry into an empty namespace."""

    spec: RestoreSpec
    """What is asked for; it cannot be changed."""
    status: RestoreStatus | None = None
    """What was done."""

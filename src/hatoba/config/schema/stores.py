"""What the registry keeps its data in: database, Redis, blob storage."""

from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hatoba.config.schema.group import Group
from hatoba.config.schema.storage import Location, parse_location

DEFAULT_CONNECTIONS: Final = 16
"""Of each process: two pods of two workers, with their duties, fit into PostgreSQL's default."""
LEAST_CONNECTIONS: Final = 8
"""What a process needs, so that none of its pools waits for itself."""


class DatabaseSettings(Group):
    """Where accounts, repositories and tags are kept."""

    title: ClassVar[str] = "Database"
    field_group: ClassVar[str] = "Database"

    db_uri: str = ""
    """`postgresql://user:password@host:port/name`, or `sqlite:///path` for a single process."""
    db_connection_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the connection: `sslmode`, `sslrootcert`, and how many `max_connections` each
    process opens (16; fewer than 8 are taken for 8). Others are tolerated."""

    @property
    def database_connections(self) -> int:
        """How many connections to the database each process opens at most."""
        wanted: int = self.db_connection_args.get("max_connections") or DEFAULT_CONNECTIONS
        return max(wanted, LEAST_CONNECTIONS)

    @field_validator("db_connection_args")
    @classmethod
    def _counts_connections(cls, value: dict[str, Any]) -> dict[str, Any]:
        wanted = value.get("max_connections")
        if wanted is not None and (type(wanted) is not int or wanted < 1):
            raise ValueError("max_connections must be a whole number above 0")
        return value

    @field_validator("db_uri")
    @classmethod
    def _is_a_known_database(cls, value: str) -> str:
        schemes = ("postgresql://", "postgresql+psycopg2://", "sqlite:///")
        if value and not value.startswith(schemes):
            raise ValueError("must begin with postgresql:// or sqlite:///")
        return value


class RedisServer(BaseModel):
    """Address of a Redis server."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    host: str
    port: int = Field(default=6379, ge=1, le=65535)
    password: str | None = None
    db: int = Field(default=0, ge=0)
    ssl: bool = False


class RedisSettings(Group):
    """Redis carries events and hints; without it the registry goes on serving."""

    title: ClassVar[str] = "Redis"
    field_group: ClassVar[str] = "Redis"

    buildlogs_redis: RedisServer | None = None
    """Redis for hints and locks that only save work."""
    user_events_redis: RedisServer | None = None
    """Redis for events."""


class StorageSettings(Group):
    """Where blobs are kept."""

    title: ClassVar[str] = "Storage"
    field_group: ClassVar[str] = "DistributedStorage"

    distributed_storage_config: dict[str, Any] = Field(default_factory=dict)
    """Location to `[driver, parameters]`; a relative storage_path lies below HATOBA_DATA."""
    distributed_storage_preference: list[str] = Field(default_factory=list)
    """Locations to write to, most wanted first."""
    distributed_storage_default_locations: list[str] = Field(default_factory=list)
    """Locations that hold every blob."""
    feature_proxy_storage: bool = False
    """True never redirects a client to the storage."""
    feature_storage_replication: bool = False
    """Replication between locations; not offered, and refused when true."""

    @property
    def storage_locations(self) -> dict[str, Location]:
        """Every location by its name, that which is written to first."""
        names = [*self.distributed_storage_preference, *self.distributed_storage_config]
        return {
            name: parse_location(name, self.distributed_storage_config[name])
            for name in dict.fromkeys(names)
        }

    @field_validator("distributed_storage_config")
    @classmethod
    def _locations(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, location in value.items():
            parse_location(name, location)
        return value

    @field_validator("feature_storage_replication")
    @classmethod
    def _not_replicated(cls, value: bool) -> bool:  # noqa: FBT001 -- pydantic calls it so
        if value:
            raise ValueError("must be false: this release keeps one copy of each blob")
        return value

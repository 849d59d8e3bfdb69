"""The tables, one file per noun. Importing this package fills `METADATA` with all of them."""

from hatoba.registry.db.tables import (
    blobs,
    hatoba,
    logs,
    manifests,
    mirrors,
    oauth,
    permissions,
    queue,
    repositories,
    robots,
    security,
    service_keys,
    tags,
    teams,
    tokens,
    users,
)
from hatoba.registry.db.tables.columns import METADATA

__all__ = [
    "METADATA",
    "blobs",
    "hatoba",
    "logs",
    "manifests",
    "mirrors",
    "oauth",
    "permissions",
    "queue",
    "repositories",
    "robots",
    "security",
    "service_keys",
    "tags",
    "teams",
    "tokens",
    "users",
]

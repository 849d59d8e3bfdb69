"""Which keys of config.yaml belong to which component of a QuayRegistry.

Source: Quay operator 3.6.0. A bundle "contains configuration for" a component when any one of
these keys exists at its top level. The config editor shows the fields of managed components
read-only, by their field group.
"""

from collections.abc import Mapping
from typing import Final

from hatoba.kernel.json import JsonObject

COMPONENT_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "postgres": frozenset({"DB_CONNECTION_ARGS", "DB_URI"}),
    "redis": frozenset({"BUILDLOGS_REDIS", "USER_EVENTS_REDIS"}),
    "objectstorage": frozenset(
        {
            "DISTRIBUTED_STORAGE_CONFIG",
            "DISTRIBUTED_STORAGE_PREFERENCE",
            "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS",
            "FEATURE_STORAGE_REPLICATION",
        }
    ),
    "route": frozenset({"EXTERNAL_TLS_TERMINATION", "PREFERRED_URL_SCHEME", "SERVER_HOSTNAME"}),
    "mirror": frozenset(
        {
            "FEATURE_REPO_MIRROR",
            "REPO_MIRROR_INTERVAL",
            "REPO_MIRROR_SERVER_HOSTNAME",
            "REPO_MIRROR_TLS_VERIFY",
        }
    ),
    "clair": frozenset(
        {
            "FEATURE_SECURITY_SCANNER",
            "SECURITY_SCANNER_ENDPOINT",
            "SECURITY_SCANNER_INDEXING_INTERVAL",
            "SECURITY_SCANNER_NOTIFICATIONS",
            "SECURITY_SCANNER_REGISTRY_URL",
            "SECURITY_SCANNER_V4_ENDPOINT",
            "SECURITY_SCANNER_V4_NAMESPACE_WHITELIST",
        }
    ),
    "horizontalpodautoscaler": frozenset(),
    "monitoring": frozenset(),
    "tls": frozenset(),
}
"""Component kind to the keys that configure it; `tls` is configured by files instead."""

TLS_FILES: Final = frozenset({"ssl.cert", "ssl.key"})

FIELD_GROUPS: Final[Mapping[str, str]] = {
    "postgres": "Database",
    "clair": "SecurityScanner",
    "redis": "Redis",
    "objectstorage": "DistributedStorage",
    "route": "HostSettings",
    "mirror": "RepoMirror",
}
"""Component kind to the field group that the config editor locks while it is managed."""


def contains_configuration(kind: str, config: JsonObject, files: frozenset[str]) -> bool:
    """Tell whether a bundle with this config.yaml and these other keys configures a component."""
    if kind == "tls":
        return files >= TLS_FILES
    return not COMPONENT_KEYS[kind].isdisjoint(config)

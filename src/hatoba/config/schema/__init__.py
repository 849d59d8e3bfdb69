"""The keys of config.yaml that Hatoba reads: one model, composed of one group per concern.

Each field's docstring is the documentation that the config editor, `hatoba config schema` and
the reference show. Keys that are not here are accepted and reported as not used (Quay's own
schema tolerates unknown keys as well).
"""

from hatoba.config.schema.accounts import AccountSettings
from hatoba.config.schema.content import ContentSettings
from hatoba.config.schema.group import Group
from hatoba.config.schema.logs import LogSettings
from hatoba.config.schema.mirror import MirrorSettings
from hatoba.config.schema.retention import RetentionSettings
from hatoba.config.schema.scanner import SecurityScannerSettings
from hatoba.config.schema.server import ServerSettings
from hatoba.config.schema.stores import DatabaseSettings, RedisSettings, StorageSettings

GROUPS: tuple[type[Group], ...] = (
    ServerSettings,
    DatabaseSettings,
    RedisSettings,
    StorageSettings,
    AccountSettings,
    ContentSettings,
    RetentionSettings,
    MirrorSettings,
    SecurityScannerSettings,
    LogSettings,
)
"""In the order in which people meet them."""


class QuayConfig(
    LogSettings,
    SecurityScannerSettings,
    MirrorSettings,
    RetentionSettings,
    ContentSettings,
    AccountSettings,
    StorageSettings,
    RedisSettings,
    DatabaseSettings,
    ServerSettings,
):
    """A whole config.yaml; attributes are the keys in lower case."""

    @classmethod
    def keys(cls) -> frozenset[str]:
        """Return every key that is read, as written in the file."""
        return frozenset(name.upper() for name in cls.model_fields)


__all__ = ["GROUPS", "Group", "QuayConfig"]

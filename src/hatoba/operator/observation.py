"""What was found in the cluster for one registry: the input of everything that plans.

`observe` fills it; it is only read after that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hatoba.kernel.json import JsonObject
from hatoba.operator.landscape import Capabilities
from hatoba.operator.model import Bucket, Component, Owned


@dataclass(slots=True, frozen=True, kw_only=True)
class Observation:
    """What was found in the cluster for one registry."""

    registry: JsonObject
    bundle: JsonObject | None = field(default=None, repr=False)
    bundle_error: str = ""
    stored_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    capabilities: Capabilities = field(default_factory=Capabilities)
    owned: Owned
    restore: JsonObject | None = None
    """The QuayRegistryRestore that the registry was made by, if it is still there."""
    bucket: Bucket | None = field(default=None, repr=False)

    def with_owned(self, owned: Owned) -> "Observation":
        """Return the same with other objects."""
        return replace(self, owned=owned)

    @property
    def name(self) -> str:
        """The registry's name."""
        return str(self.registry["metadata"]["name"])

    @property
    def bundle_name(self) -> str:
        """The Secret that the spec names."""
        return str((self.registry.get("spec") or {}).get("configBundleSecret") or "")

    @property
    def listed(self) -> tuple[Component, ...]:
        """The components that the spec lists, as they stand there."""
        entries = self.registry.get("spec", {}).get("components") or []
        return tuple(
            Component(
                kind=str(entry.get("kind", "")),
                managed=bool(entry.get("managed")),
                overrides=entry.get("overrides") or {},
            )
            for entry in entries
        )

    @property
    def status(self) -> JsonObject:
        """The status as it was written last."""
        return dict(self.registry.get("status") or {})

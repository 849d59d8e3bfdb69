"""What was found in the cluster for one registry: the input of everything that plans.

`observe` fills it; it is only read after that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.operator.landscape import Capabilities
from hatoba.operator.model import Bucket, Component, Owned


@dataclass(slots=True, frozen=True, kw_only=True)
class Observation:
    """What was found in the cluster for one registry."""

    registry: JsonObject
    bundle: JsonObject | None = field(default=None, repr=False)
    bundle_error: str = ""
    tls_secret: JsonObject | None = field(default=None, repr=False)
    tls_error: str = ""
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
        return components_of(self.registry)

    @property
    def tls_secret_name(self) -> str:
        """The Secret from which an unmanaged `tls` takes its certificate; "" for the bundle."""
        return tls_secret_of(self.registry)

    @property
    def status(self) -> JsonObject:
        """The status as it was written last."""
        return dict(self.registry.get("status") or {})


def components_of(registry: JsonObject) -> tuple[Component, ...]:
    """Return the components that a registry's spec lists, as they stand there."""
    return tuple(
        Component(
            kind=str(entry.get("kind", "")),
            managed=bool(entry.get("managed")),
            overrides=entry.get("overrides") or {},
            secret=_name_in(entry["secretRef"]) if "secretRef" in entry else None,
        )
        for entry in (registry.get("spec") or {}).get("components") or []
    )


def tls_secret_of(registry: JsonObject) -> str:
    """Return the Secret that a registry's `tls` names, "" when it names none."""
    tls = next((entry for entry in components_of(registry) if entry.kind == "tls"), None)
    return (tls.secret or "") if tls is not None and not tls.managed else ""


def _name_in(reference: JsonValue) -> str:
    return str(reference.get("name") or "") if isinstance(reference, dict) else ""

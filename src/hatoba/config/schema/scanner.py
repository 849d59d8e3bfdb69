"""The security scanner."""

from typing import ClassVar

from pydantic import Field, field_validator

from hatoba.config.schema.group import Group


class SecurityScannerSettings(Group):
    """Vulnerability reports on what was pushed."""

    title: ClassVar[str] = "Security scanner"
    field_group: ClassVar[str] = "SecurityScanner"

    feature_security_scanner: bool = False
    """True indexes what is pushed and answers vulnerability reports."""
    security_scanner_v4_endpoint: str | None = None
    """URL of a Clair v4 compatible scanner."""
    security_scanner_registry_url: str | None = None
    """URL at which the scanner reaches this registry, where it is not that of SERVER_HOSTNAME."""
    security_scanner_v4_psk: str = ""
    """The key shared with the scanner, base64."""
    security_scanner_v4_namespace_whitelist: list[str] = Field(default_factory=list)
    """Accepted for compatibility."""
    security_scanner_indexing_interval: int = Field(default=30, ge=1)
    """Seconds between two looks for manifests that are not indexed."""
    security_scanner_v4_reindex_threshold: int = Field(default=86400, ge=1)
    """Seconds before a manifest may be indexed anew."""
    security_scanner_max_scan_retries: int = Field(default=5, ge=0)
    """How often indexing is tried before it is given up."""
    feature_security_notifications: bool = False
    """True tells people of new vulnerabilities."""

    @field_validator("security_scanner_v4_endpoint", "security_scanner_registry_url")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value

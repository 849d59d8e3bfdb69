"""Repository mirroring."""

from typing import ClassVar

from pydantic import Field

from hatoba.config.schema.group import Group


class MirrorSettings(Group):
    """Copying repositories from other registries."""

    title: ClassVar[str] = "Repository mirroring"
    field_group: ClassVar[str] = "RepoMirror"

    feature_repo_mirror: bool = False
    """True offers mirroring and lets the mirror pods work."""
    repo_mirror_interval: int = Field(default=30, ge=1)
    """Seconds between two looks for repositories that are due."""
    repo_mirror_tls_verify: bool = True
    """False trusts any certificate of the registry that is copied from."""
    repo_mirror_server_hostname: str | None = None
    """Host to push to, where it is not SERVER_HOSTNAME."""
    repo_mirror_rollback: bool = False
    """True undoes a synchronisation that failed halfway."""
    ssrf_allowed_hosts: list[str] = Field(default_factory=list)
    """Hosts that may be copied from although their address is private."""

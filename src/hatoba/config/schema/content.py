"""Repositories, tags, uploads and what the protocol allows."""

import re
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from hatoba.config.durations import PATTERN, Duration, parse_duration
from hatoba.config.schema.group import Group

_SIZE = re.compile(r"([0-9]+)([GM])")


class ContentSettings(Group):
    """What is pushed and how long it is kept."""

    title: ClassVar[str] = "Content"
    field_group: ClassVar[str] = "TimeMachine"

    default_tag_expiration: Duration = parse_duration("2w")
    """How long a deleted tag can be brought back, unless the namespace says otherwise."""
    tag_expiration_options: list[Duration] = Field(
        default_factory=lambda: [parse_duration(text) for text in ("0s", "1d", "1w", "2w", "4w")]
    )
    """The choices that people have."""
    feature_change_tag_expiration: bool = True
    """False fixes every namespace to the default."""
    maximum_layer_size: str = "20G"
    """The largest blob that is accepted, in G or M."""
    maximum_manifest_size: int = Field(default=4 << 20, ge=4 << 20, le=64 << 20)
    """The largest manifest that is accepted, in bytes (the specification asks for 4 MiB)."""
    maximum_ranges_per_request: int = Field(default=16, ge=1, le=1000)
    """How many parts of a blob one request may ask for."""
    feature_library_support: bool = True
    """True maps names without a namespace to LIBRARY_NAMESPACE."""
    library_namespace: str = "library"
    """The namespace of names that have none."""
    feature_extended_repository_names: bool = True
    """True allows slashes in repository names."""
    feature_public_catalog: bool = False
    """True lists public repositories in the catalog for everybody."""
    v2_pagination_size: int = Field(default=50, ge=1, le=1000)
    """How many tags or repositories a page of /v2 holds at most; less than 100 counts as 100."""
    create_private_repo_on_push: bool = True
    """True makes repositories that a push creates private."""
    create_namespace_on_push: bool = False
    """True creates an organization for a push into a namespace that does not exist."""
    label_key_reserved_prefixes: list[str] = Field(
        default_factory=lambda: [
            "com.docker.",
            "io.docker.",
            "org.dockerproject.",
            "org.opencontainers.",
            "io.cncf.",
            "io.kubernetes.",
            "io.k8s.",
            "io.quay",
            "com.coreos",
            "com.tectonic",
            "internal",
            "quay",
        ]
    )
    """Beginnings of label keys that the API refuses; a push may bring any."""
    feature_general_oci_support: bool = True
    """False accepts images only."""
    feature_referrers_api: bool = True
    """False hides the referrers list."""
    disable_pushes: bool = False
    """True refuses every push."""
    push_temp_tag_expiration_sec: int = Field(default=3600, ge=60)
    """Seconds that blobs of an unfinished push are protected."""
    registry_jwt_auth_max_fresh_s: int = Field(default=3660, ge=60)
    """Seconds that a registry token may be valid for."""
    registry_token_lifetime_s: int = Field(default=300, ge=60, le=3600)
    """Seconds that a registry token is issued for: how long a permission that was taken away can
    still be used, but for 30 seconds that clocks may differ by."""
    registry_token_reuse_s: int = Field(default=60, ge=0, le=300)
    """Seconds that the same question for a token is answered with the same token; a change over
    the API ends them at once."""

    @property
    def maximum_layer_bytes(self) -> int:
        """MAXIMUM_LAYER_SIZE in bytes."""
        number, unit = self.maximum_layer_size[:-1], self.maximum_layer_size[-1]
        return int(number) << (30 if unit == "G" else 20)

    @field_validator("maximum_layer_size")
    @classmethod
    def _is_a_size(cls, value: str) -> str:
        if _SIZE.fullmatch(value) is None:
            raise ValueError("must be a number and G or M, as in 20G")
        return value

    @model_validator(mode="before")
    @classmethod
    def _default_is_an_option(cls, value: object) -> object:
        """Complete TAG_EXPIRATION_OPTIONS where only the default was given."""
        if isinstance(value, dict) and "TAG_EXPIRATION_OPTIONS" not in value:
            default = value.get("DEFAULT_TAG_EXPIRATION", "2w")
            options = ["0s", "1d", "1w", "2w", "4w"]
            if isinstance(default, str) and re.fullmatch(PATTERN, default):
                options += {default} - {*options}
            return {**value, "TAG_EXPIRATION_OPTIONS": options}
        return value

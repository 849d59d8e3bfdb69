"""What the parameters of all object storages have in common; `storage` and `containers` use it."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

SMALLEST_PART_MB: Final = 5
"""What S3 asks of every part but the last. Amazon S3 User Guide, "Multipart upload limits"."""

Text = Annotated[str, StringConstraints(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^/\s?#]+/?$")]
UrlWithPath = Annotated[str, StringConstraints(pattern=r"^https?://[^/\s?#]+(/[^\s?#]*)?$")]


class Parameters(BaseModel):
    """The parameters of a driver, by Quay's names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    def location(self) -> Any:
        """Return what the parameters describe."""
        raise NotImplementedError


class StorageOptions(Parameters):
    """What every driver for an object storage understands."""

    storage_path: str = ""
    """What all keys begin with."""
    minimum_chunk_size_mb: int = Field(default=SMALLEST_PART_MB, ge=SMALLEST_PART_MB, le=512)
    """Size of the parts in which uploads are written, in MiB; each upload holds two in memory."""
    verify_tls: bool = True
    """False does not check the storage's certificate."""
    ca_bundle: str | None = None
    """File with the authorities that sign the storage's certificate."""
    link_expiry_seconds: int = Field(default=60, ge=5, le=3600)
    """How long a client may begin a download that it was sent to."""
    public_endpoint_url: Url | None = None
    """Where clients reach the storage, if it is not where the registry does."""
    connect_timeout_seconds: float = Field(default=5, gt=0, le=60)
    """How long a connection may take."""
    read_timeout_seconds: float = Field(default=60, gt=0, le=600)
    """The longest silence of the storage."""
    attempts: int = Field(default=4, ge=1, le=10)
    """How often a call is made before the storage counts as unavailable."""
    connections: int = Field(default=50, ge=1, le=1000)
    """Connections that each worker keeps at most."""

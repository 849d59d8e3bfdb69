"""The parameters of OpenStack Swift, by Quay's names; `storage` knows it by its driver's name."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from typing_extensions import override

from hatoba.config.schema.storage_options import (
    SMALLEST_PART_MB,
    StorageOptions,
    Text,
    UrlWithPath,
)

LARGEST_OBJECT_MB: Final = 5120
"""Swift documentation, "Object Storage API reference": what an object may have at most."""
_QUAYS_AUTH_VERSION: Final = 2

SwiftContainerName = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^/]{1,256}$")]


class OsOptions(BaseModel):
    """What OpenStack's clients call so: the scope of a user, and which of several places it is."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    tenant_id: Text | None = None
    """Version 2's word for a project."""
    tenant_name: Text | None = None
    project_id: Text | None = None
    project_name: Text | None = None
    project_domain_id: Text | None = None
    project_domain_name: Text | None = None
    user_id: Text | None = None
    user_domain_id: Text | None = None
    user_domain_name: Text | None = None
    region_name: Text | None = None
    """Which of the catalog's regions; its first without one."""
    endpoint_type: Literal["publicURL", "internalURL", "adminURL"] = "publicURL"
    """Which of the catalog's addresses."""
    object_storage_url: UrlWithPath | None = None
    """The account's address, where it is not the one that the authentication tells."""


@dataclass(slots=True, frozen=True, kw_only=True)
class SwiftLocation:
    """Blobs in a container of a Swift account."""

    container: str
    prefix: str
    """What all keys begin with; with its slash, if it has one."""
    auth_url: str
    """Without a slash at its end."""
    auth_version: int
    user: str
    password: str = field(repr=False)
    scope: OsOptions
    temp_url_key: str | None = field(repr=False)
    options: "SwiftStorage"


class SwiftStorage(StorageOptions):
    """OpenStack Swift, by its own authentication (version 1) or by Keystone (2 and 3)."""

    swift_container: SwiftContainerName
    auth_url: UrlWithPath
    swift_user: Text
    swift_password: Text = Field(repr=False)
    auth_version: Literal[1, 2, 3] = _QUAYS_AUTH_VERSION
    os_options: OsOptions = OsOptions()
    temp_url_key: Text | None = Field(default=None, repr=False)
    """The key that the account or the container has for links; without it there are none."""
    temp_url_digest: Literal["sha256", "sha512", "sha1"] = "sha256"
    """What signs links; `sha1` for clusters before Swift 2.17."""
    simple_path_concat: bool = False
    """True: keys begin with `storage_path` as it is written, without a slash in between."""
    maximum_chunk_size_mb: int = Field(
        default=LARGEST_OBJECT_MB, ge=SMALLEST_PART_MB, le=LARGEST_OBJECT_MB
    )
    """A blob up to this size is one object; a larger one is a list of such, in MiB."""
    ca_cert_path: str | None = None
    """Quay's name of `ca_bundle`; wins over it."""
    connect_timeout: float | None = Field(default=None, gt=0, le=60)
    """Quay's name of `connect_timeout_seconds`; wins over it."""
    retry_count: int | None = Field(default=None, ge=0, le=9)
    """Quay's: attempts after the first one; wins over `attempts`."""
    retry_on_ratelimit: Literal[True] = True
    """Quay's: what is answered with "too many requests" is always asked again."""

    @model_validator(mode="before")
    @classmethod
    def _names_of_quay(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        told = {
            "ca_bundle": value.get("ca_cert_path"),
            "connect_timeout_seconds": value.get("connect_timeout"),
        }
        if isinstance(retries := value.get("retry_count"), int):
            told["attempts"] = retries + 1
        version = value.get("auth_version")
        if isinstance(version, str) and version.isdigit():
            told["auth_version"] = int(version)
        elif "auth_version" in value and version is None:
            told["auth_version"] = _QUAYS_AUTH_VERSION
        return {**value, **{name: given for name, given in told.items() if given is not None}}

    @override
    def location(self) -> SwiftLocation:
        path = self.storage_path.lstrip("/")
        if path and not self.simple_path_concat:
            path = path.rstrip("/") + "/"
        return SwiftLocation(
            container=self.swift_container,
            prefix=path,
            auth_url=self.auth_url.rstrip("/"),
            auth_version=self.auth_version,
            user=self.swift_user,
            password=self.swift_password,
            scope=self.os_options,
            temp_url_key=self.temp_url_key,
            options=self,
        )

"""The parameters of each storage driver, as `[driver, {parameters}]` in config.yaml.

Quay's names, spelt as each of its drivers spells them, become a value for each kind of place: a
directory, a bucket, a container. `registry.blobs` opens what they describe. Parameters that are
not Quay's are ours and exist for storages with an accent (docs/reference/storage.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, model_validator
from typing_extensions import override

from hatoba.config.schema.containers import AzureLocation, AzureStorage
from hatoba.config.schema.storage_options import (
    SMALLEST_PART_MB,
    Parameters,
    Port,
    StorageOptions,
    Text,
    Url,
)
from hatoba.config.schema.swift import SwiftLocation, SwiftStorage


@dataclass(slots=True, frozen=True, kw_only=True)
class DirectoryLocation:
    """Blobs as files."""

    path: str
    """A relative path lies below HATOBA_DATA."""


@dataclass(slots=True, frozen=True, kw_only=True)
class CloudFront:
    """A distribution in front of a bucket, which serves whoever has a signed URL."""

    domain: str
    key_id: str
    key_file: str
    """The private key's file, relative to the configuration directory."""


@dataclass(slots=True, frozen=True, kw_only=True)
class BucketLocation:
    """Blobs as objects of a bucket."""

    bucket: str
    prefix: str
    """What all keys begin with; without slashes around it, may be empty."""
    endpoint_url: str | None
    """None is Amazon S3 itself."""
    region: str | None
    access_key: str | None = None
    """None asks the surroundings: the role of the machine or of the service account."""
    secret_key: str | None = field(default=None, repr=False)
    options: "BucketOptions"
    cloudfront: CloudFront | None = None
    joins: bool = True
    """Whether the storage copies ranges of objects into parts of another one."""


Location = DirectoryLocation | BucketLocation | AzureLocation | SwiftLocation


class LocalStorage(Parameters):
    """A directory, shared by all pods."""

    storage_path: Text

    @override
    def location(self) -> Location:
        return DirectoryLocation(path=self.storage_path)


class BucketOptions(StorageOptions):
    """What every driver for buckets understands."""

    maximum_chunk_size_mb: int = Field(default=128, ge=SMALLEST_PART_MB, le=2560)
    """Size of the parts that the storage copies by itself, in MiB."""
    server_side_assembly: bool = True
    """False for storages that cannot copy: the registry then reads and writes the bytes itself."""
    signature_version: Literal["s3v4", "s3"] = "s3v4"
    """`s3` is the old signature, for storages that know no other."""
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    """Where the bucket's name stands; `auto` is the path for any endpoint but Amazon's."""
    checksums: bool = False
    """True adds CRC headers to uploads, which Amazon checks and many others refuse."""

    def _bucket(self, **named: Any) -> BucketLocation:
        return BucketLocation(prefix=self.storage_path.strip("/"), options=self, **named)


class S3Storage(BucketOptions):
    """Amazon S3, or whatever speaks it at `host` or `endpoint_url`."""

    s3_bucket: Text
    s3_access_key: Text | None = None
    s3_secret_key: Text | None = Field(default=None, repr=False)
    s3_region: Text | None = None
    host: Text | None = None
    port: Port | None = None
    is_secure: bool = True
    endpoint_url: Url | None = None

    @override
    def location(self) -> BucketLocation:
        endpoint = self.endpoint_url
        if endpoint is None and self.host is not None:
            endpoint = _endpoint(self.host, port=self.port, is_secure=self.is_secure)
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("gives one of s3_access_key and s3_secret_key without the other")
        return self._bucket(
            bucket=self.s3_bucket,
            endpoint_url=endpoint,
            region=self.s3_region,
            access_key=self.s3_access_key,
            secret_key=self.s3_secret_key,
        )


class CloudFrontedS3Storage(S3Storage):
    """Amazon S3 behind CloudFront: clients are sent to the distribution."""

    cloudfront_distribution_domain: Text
    cloudfront_key_id: Text
    cloudfront_privatekey_filename: Text

    @override
    def location(self) -> BucketLocation:
        found = super().location()
        return BucketLocation(
            bucket=found.bucket,
            prefix=found.prefix,
            endpoint_url=found.endpoint_url,
            region=found.region,
            access_key=found.access_key,
            secret_key=found.secret_key,
            options=self,
            cloudfront=CloudFront(
                domain=self.cloudfront_distribution_domain,
                key_id=self.cloudfront_key_id,
                key_file=self.cloudfront_privatekey_filename,
            ),
        )


class RadosGWStorage(BucketOptions):
    """A storage of one's own: Ceph's gateway, NooBaa (RHOCSStorage), MinIO, IBM Cloud."""

    hostname: Text
    is_secure: bool = True
    port: Port | None = None
    access_key: Text
    secret_key: Text = Field(repr=False)
    bucket_name: Text
    region: Text | None = None

    @override
    def location(self) -> Location:
        return self._bucket(
            bucket=self.bucket_name,
            endpoint_url=_endpoint(self.hostname, port=self.port, is_secure=self.is_secure),
            region=self.region,
            access_key=self.access_key,
            secret_key=self.secret_key,
        )


class GoogleCloudStorage(BucketOptions):
    """Google Cloud Storage by its XML API, with the HMAC key of a service account.

    Cloud Storage documentation, "XML API overview" and "Interoperability with other storage
    providers". It has no copy into a part, and takes `auto` as the region of a signature.
    """

    access_key: Text
    secret_key: Text = Field(repr=False)
    bucket_name: Text
    endpoint_url: Url = "https://storage.googleapis.com"
    boto_timeout: float | None = Field(default=None, gt=0, le=600)
    """Quay's name for the longest silence of the storage; wins over `read_timeout_seconds`."""

    @model_validator(mode="before")
    @classmethod
    def _timeout_of_quay(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("boto_timeout") is not None:
            return {**value, "read_timeout_seconds": value["boto_timeout"]}
        return value

    @override
    def location(self) -> BucketLocation:
        return self._bucket(
            bucket=self.bucket_name,
            endpoint_url=self.endpoint_url,
            region="auto",
            access_key=self.access_key,
            secret_key=self.secret_key,
            joins=False,
        )


DRIVERS: Final[Mapping[str, type[Parameters]]] = {
    "AzureStorage": AzureStorage,
    "CloudFrontedS3Storage": CloudFrontedS3Storage,
    "GoogleCloudStorage": GoogleCloudStorage,
    "IBMCloudStorage": RadosGWStorage,
    "LocalStorage": LocalStorage,
    "RHOCSStorage": RadosGWStorage,
    "RadosGWStorage": RadosGWStorage,
    "S3Storage": S3Storage,
    "SwiftStorage": SwiftStorage,
}
"""Drivers that exist; a configuration that names another one is refused before it is rolled out."""


def parse_location(name: str, value: object) -> Location:
    """Read one entry of DISTRIBUTED_STORAGE_CONFIG.

    Raises:
        ValueError: with every fault, in a sentence that continues the key's name.
    """
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f"must give [driver, parameters] for the location {name}")
    driver, parameters = value
    if not isinstance(driver, str) or driver not in DRIVERS:
        raise ValueError(
            f"names the driver {driver!r} for {name}; this release has {', '.join(sorted(DRIVERS))}"
        )
    if not isinstance(parameters, dict):
        raise ValueError(f"must give {driver} of {name} a mapping of parameters")  # noqa: TRY004 -- pydantic wants it
    try:
        found: Location = DRIVERS[driver].model_validate(parameters).location()
    except ValidationError as error:
        faults = [
            _fault(driver, fault["type"], ".".join(map(str, fault["loc"])), fault["msg"])
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise ValueError(f"is not valid for {name}: {'; '.join(faults)}") from None
    except ValueError as error:
        raise ValueError(f"is not valid for {name}: {driver} {error}") from error
    return found


def _fault(driver: str, kind: str, parameter: str, message: str) -> str:
    match kind:
        case "missing":
            return f"{driver} needs {parameter}"
        case "extra_forbidden":
            return f"{driver} has no parameter {parameter}"
        case "value_error":
            return f"{parameter} {message.removeprefix('Value error, ')}"
        case "string_pattern_mismatch" if parameter.endswith("endpoint_url"):
            return f"{parameter} must be http:// or https:// and a host, without a path"
        case _:
            return f"{parameter}: {message[:1].lower()}{message[1:]}"


def _endpoint(host: str, *, port: int | None, is_secure: bool) -> str:
    scheme = "https" if is_secure else "http"
    return f"{scheme}://{host}" if port is None else f"{scheme}://{host}:{port}"

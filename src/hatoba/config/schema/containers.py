"""The parameters of storages that keep objects in containers and speak an API of their own."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator
from typing_extensions import override

from hatoba.config.schema.storage_options import StorageOptions, Text, UrlWithPath

AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{3,24}$")]
ContainerName = Annotated[str, StringConstraints(pattern=r"^(\$root|[a-z0-9](-?[a-z0-9]){2,62})$")]


@dataclass(slots=True, frozen=True, kw_only=True)
class AzureLocation:
    """Blobs in a container of an Azure storage account."""

    container: str
    prefix: str
    account: str
    account_key: bytes | None = field(repr=False)
    sas_token: str | None = field(repr=False)
    endpoint_url: str
    """Of the account's blob service, without a slash at its end."""
    options: StorageOptions


class AzureStorage(StorageOptions):
    """Azure Blob Storage, with the key of the account or a token for the container."""

    azure_container: ContainerName
    azure_account_name: AccountName
    azure_account_key: Text | None = Field(default=None, repr=False)
    sas_token: Text | None = Field(default=None, repr=False)
    endpoint_url: UrlWithPath | None = None
    """The blob service of the account, where it is not Azure's public cloud."""

    @field_validator("azure_account_key")
    @classmethod
    def _is_a_key(cls, value: str | None) -> str | None:
        if value is not None:
            _decoded(value)
        return value

    @override
    def location(self) -> AzureLocation:
        if self.azure_account_key is None and self.sas_token is None:
            raise ValueError("needs azure_account_key or sas_token")
        public = f"https://{self.azure_account_name}.blob.core.windows.net"
        return AzureLocation(
            container=self.azure_container,
            prefix=self.storage_path.strip("/"),
            account=self.azure_account_name,
            account_key=None
            if self.azure_account_key is None
            else _decoded(self.azure_account_key),
            sas_token=self.sas_token,
            endpoint_url=(self.endpoint_url or public).rstrip("/"),
            options=self,
        )


def _decoded(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("must be base64, as the portal shows it") from error

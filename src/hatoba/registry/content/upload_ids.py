"""Ids of uploads, which tell by themselves that an upload was begun, and when.

`uploads` makes and reads them. An upload that is only begun is written nowhere: its id is signed,
so that every worker and replica with the same SECRET_KEY knows it. The id gives no right: who may
push is decided with each request. The signature keeps ids from being made up, from being used in
another repository, and from outliving UPLOAD_LIFETIME.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from hatoba.kernel.ids import moment_of, same_secret, timed_uuid
from hatoba.kernel.names import RepositoryName

_PURPOSE: Final = b"hatoba: ids of uploads"
_SIGNATURE_LENGTH: Final = 32
"""Hexadecimal digits: 128 bits."""


@dataclass(slots=True, frozen=True, kw_only=True)
class UploadId:
    """The id of an upload, as it was given."""

    text: str
    claim: UUID | None = None
    """What is written once the upload is more than begun; None for one that we did not sign,
    which is known by its row alone: Quay began it."""

    @property
    def begun_at(self) -> datetime:
        """When a signed one was begun."""
        assert self.claim is not None
        return moment_of(self.claim)


@dataclass(slots=True, frozen=True)
class UploadIds:
    """Makes ids and knows them again."""

    key: bytes = field(repr=False)

    @classmethod
    def of_secret(cls, secret: bytes) -> "UploadIds":
        """Return the ids of a secret that serves other ends, too."""
        return cls(hmac.digest(secret, _PURPOSE, hashlib.sha256))

    def new(self, name: RepositoryName, *, now: datetime) -> UploadId:
        """Return the id of an upload that begins now."""
        claim = timed_uuid(now)
        return UploadId(text=f"{claim}-{self._signature(str(claim), name)}", claim=claim)

    def read(self, text: str, *, name: RepositoryName) -> UploadId:
        """Return an id; with a claim, if it was made here for this repository."""
        claim, _, signature = text.rpartition("-")
        if not same_secret(signature, self._signature(claim, name)):
            return UploadId(text=text)
        return UploadId(text=text, claim=UUID(claim))

    def _signature(self, claim: str, name: RepositoryName) -> str:
        signed = hmac.digest(self.key, f"{claim} {name}".encode(), hashlib.sha256)
        return signed.hex()[:_SIGNATURE_LENGTH]

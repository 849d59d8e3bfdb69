"""Content digests.

Spec: image-spec "Descriptors", section "Digests": `algorithm ":" encoded`; sha256 and sha512 are
registered. A `Digest` is always well formed; whether bytes match it is for the hasher to prove.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from typing_extensions import override

from hatoba.kernel.errors import InvalidInput

HEX_LENGTH: Final = {"sha256": 64, "sha512": 128}
REMEMBERED_DIGESTS: Final = 4096
"""Digests that were read lately are not read again."""
_SHAPE = re.compile(r"(sha256):([a-f0-9]{64})|(sha512):([a-f0-9]{128})")
_COMPONENT = "[a-z0-9]+"
_GRAMMAR = re.compile(rf"({_COMPONENT}(?:[+._-]{_COMPONENT})*):[a-zA-Z0-9=_-]+")
MAXIMUM_DIGEST_LENGTH: Final = 255


class MalformedDigest(InvalidInput):
    """A digest that is not `sha256:<64 hex>` or `sha512:<128 hex>`."""


def is_digest(text: str) -> bool:
    """Say whether a text obeys the grammar of digests, of any algorithm.

    Of those that are registered the length and the letters are known, too.
    """
    match = _GRAMMAR.fullmatch(text) if len(text) <= MAXIMUM_DIGEST_LENGTH else None
    if match is None:
        return False
    return match[1] not in HEX_LENGTH or _SHAPE.fullmatch(text) is not None


class Hasher(Protocol):
    """What hashlib objects and the resumable hash have in common."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Feed bytes."""

    def hexdigest(self) -> str:
        """Return the hash of all bytes so far, lower-case hex."""


@dataclass(slots=True, frozen=True, order=True)
class Digest:
    """A well-formed digest."""

    algorithm: str
    hex: str

    @classmethod
    @lru_cache(maxsize=REMEMBERED_DIGESTS)
    def parse(cls, text: str) -> "Digest":
        """Read `algorithm:hex`.

        Raises:
            MalformedDigest: for any other shape, an unknown algorithm or upper-case hex.
        """
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise MalformedDigest(
                f"provided digest {text[:200]!r} is not a sha256 or sha512 digest"
            )
        algorithm, _, encoded = text.partition(":")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> "Digest":
        """Return the digest of bytes in memory."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    @override
    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

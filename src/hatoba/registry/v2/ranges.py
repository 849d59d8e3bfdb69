"""Ranges of bytes: of a download (`Range`) and of an uploaded chunk (`Content-Range`). Pure.

Spec: RFC 9110 14.1.2, 14.2; distribution-spec "Pushing a blob in chunks".
"""

import re
from dataclasses import dataclass

from hatoba.registry.v2.messages import RequestInvalid

_SINGLE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)
_CHUNK = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


@dataclass(slots=True, frozen=True)
class ByteRange:
    """From `start` up to, not including, `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Return how many bytes it spans."""
        return self.end - self.start


class Unsatisfiable(Exception):
    """A well-formed range that lies outside the blob."""


def parse_range(header: str | None, *, size: int) -> ByteRange | None:
    """Read a `Range` header; None where the whole is to be sent.

    A header that is malformed or asks for several ranges is ignored, as RFC 9110 allows.

    Raises:
        Unsatisfiable: it asks for nothing that exists.
    """
    if header is None:
        return None
    match = _SINGLE.fullmatch(header)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        wanted = min(int(last), size)
        if wanted == 0:
            raise Unsatisfiable
        return ByteRange(size - wanted, size)
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return ByteRange(start, end)


def parse_content_range(header: str | None) -> ByteRange | None:
    """Read the `Content-Range` of a chunk, `<start>-<end>` with an inclusive end.

    Raises:
        RequestInvalid: any other shape.
    """
    if header is None:
        return None
    match = _CHUNK.fullmatch(header.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise RequestInvalid("Invalid range header")
    return ByteRange(int(match[1]), int(match[2]) + 1)

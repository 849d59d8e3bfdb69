"""Ranges of bytes: of a download (`Range`) and of an uploaded chunk (`Content-Range`). Pure.

Spec: RFC 9110 14.1.2, 14.2; distribution-spec "Pushing a blob in chunks".
"""

import re
from dataclasses import dataclass
from typing import Final

from hatoba.registry.v2.problems import ContentRangeMalformed

_UNIT: Final = re.compile(r"\s*bytes\s*=(.*)", re.IGNORECASE | re.DOTALL)
_PART: Final = re.compile(r"[ \t]*([0-9]{0,18})[ \t]*-[ \t]*([0-9]{0,18})[ \t]*")
_CHUNK: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


@dataclass(slots=True, frozen=True)
class ByteRange:
    """From `start` up to, not including, `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Return how many bytes it spans."""
        return self.end - self.start

    def shown(self, size: int) -> str:
        """Return the value of `Content-Range` for this part of `size` bytes."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


class Unsatisfiable(Exception):
    """Well-formed ranges that lie outside the blob, or ask for more than is given at once."""


def parse_ranges(header: str | None, *, size: int, maximum: int) -> tuple[ByteRange, ...]:
    """Read a `Range` header; empty where the whole is to be sent.

    A header that is malformed or counts in another unit is ignored. Ranges outside the blob are
    left out while another one lies within.

    Args:
        header: the header, if any.
        size: of the blob.
        maximum: how many ranges one request may name.

    Raises:
        Unsatisfiable: it asks for nothing that exists, for more than `maximum` ranges, or for
            ranges that overlap so much that they are longer than the blob (RFC 9110 14.2 warns
            of both).
    """
    unit = None if header is None else _UNIT.fullmatch(header)
    if unit is None:
        return ()
    if unit[1].count(",") >= maximum:
        raise Unsatisfiable
    parts = [_PART.fullmatch(text) for text in unit[1].split(",")]
    wanted: list[ByteRange] = []
    for part in parts:
        if part is None or not any(part.groups()):
            return ()
        if part[1] and part[2] and int(part[2]) < int(part[1]):
            return ()
        if (found := _within(part[1], part[2], size=size)) is not None:
            wanted.append(found)
    if not wanted or sum(part.length for part in wanted) > size:
        raise Unsatisfiable
    return tuple(wanted)


def _within(first: str, last: str, *, size: int) -> ByteRange | None:
    """Return what a well-formed range means; None where it lies outside."""
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    return ByteRange(start, end) if start < end else None


def parse_content_range(header: str | None) -> ByteRange | None:
    """Read the `Content-Range` of a chunk, `<start>-<end>` with an inclusive end.

    Raises:
        ContentRangeMalformed: any other shape.
    """
    if header is None:
        return None
    match = _CHUNK.fullmatch(header.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise ContentRangeMalformed("Invalid range header")
    return ByteRange(int(match[1]), int(match[2]) + 1)

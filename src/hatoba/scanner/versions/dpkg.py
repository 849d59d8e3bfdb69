"""Debian's order of versions: `[epoch:]upstream[-revision]`.

Spec: deb-version(7), "Sorting algorithm".
"""

import re
from functools import lru_cache
from typing import Final, TypeAlias

from hatoba.scanner.versions.errors import MalformedVersion

Fragment: TypeAlias = tuple[tuple[int, ...], int]
Key: TypeAlias = tuple[int, tuple[Fragment, ...], tuple[Fragment, ...]]
_PARTS = re.compile(r"([^0-9]*)([0-9]*)")
_SHAPE = re.compile(r"[A-Za-z0-9.+~:\-_]+")
_END: Final = 0
_TILDE: Final = -1


def _weight(character: str) -> int:
    """Letters sort before everything else, a tilde before even the end."""
    if character == "~":
        return _TILDE
    return ord(character) if character.isalpha() else ord(character) + 256


def _fragments(text: str) -> tuple[Fragment, ...]:
    """Split into alternating non-digits and numbers, as values that tuples compare rightly.

    Each run of non-digits is closed by the weight of "end", which a tilde is less than.
    """
    found = [
        ((*map(_weight, letters), _END), int(digits or "0"))
        for letters, digits in _PARTS.findall(text)
        if letters or digits
    ]
    # Where one version ends, the other is compared with nothing: all but the first fragment have
    # letters, so this tells "1.0" from "1.0~" and "1.0+". "" and "0" are the same.
    nothing: Fragment = ((_END,), 0)
    return (*(found or [nothing]), nothing)


@lru_cache(maxsize=65_536)
def key(version: str) -> Key:
    """Return a value that orders as the version does.

    Raises:
        MalformedVersion: not a version at all.
    """
    text = version.strip()
    if _SHAPE.fullmatch(text) is None:
        raise MalformedVersion(f"{version[:100]!r} is not a Debian version")
    epoch, colon, rest = text.partition(":")
    if not colon:
        epoch, rest = "0", text
    if not epoch.isdigit() or not rest:
        raise MalformedVersion(f"{version[:100]!r} is not a Debian version")
    upstream, hyphen, revision = rest.rpartition("-")
    if not hyphen:
        upstream, revision = rest, ""
    return int(epoch), _fragments(upstream), _fragments(revision)

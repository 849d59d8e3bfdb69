"""Alpine's order of versions: `1.2.3b_rc1_p2-r4`.

Spec: apk-tools `doc/apk-package.5.scd`, "PACKAGE METADATA", pkgver; src/version.c for what it
leaves open: components with a leading zero compare as decimal fractions.
"""

import re
from functools import lru_cache
from typing import Final, TypeAlias

from hatoba.scanner.versions.errors import MalformedVersion

Key: TypeAlias = tuple[tuple[int | str, ...], ...]
_SHAPE = re.compile(
    r"(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?P<letter>[a-z]?)"
    r"(?P<suffixes>(?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*)"
    r"(?P<commit>~[0-9a-f]+)?(?:-r(?P<revision>[0-9]+))?"
)
_SUFFIX = re.compile(r"_([a-z]+)([0-9]*)")
_SUFFIXES: Final = {
    "alpha": -4,
    "beta": -3,
    "pre": -2,
    "rc": -1,
    "cvs": 1,
    "svn": 2,
    "git": 3,
    "hg": 4,
    "p": 5,
}


def _component(digits: str) -> tuple[int | str, ...]:
    """Return the rank of a number after the first dot.

    One with a leading zero is a fraction, compared as text and less than any whole number but 0.
    """
    if digits.startswith("0") and len(digits) > 1:
        return (1, 0, digits)
    return (1, 1, "", int(digits)) if digits != "0" else (1, 0, "0")


@lru_cache(maxsize=65_536)
def key(version: str) -> Key:
    """Return a value that orders as the version does.

    Raises:
        MalformedVersion: not a version at all.
    """
    match = _SHAPE.fullmatch(version.strip())
    if match is None:
        raise MalformedVersion(f"{version[:100]!r} is not an Alpine version")
    first, *others = match["numbers"].split(".")
    numbers = ((2, int(first)), *map(_component, others), (0,))
    suffixes = [
        (_SUFFIXES[name], int(digits or "0")) for name, digits in _SUFFIX.findall(match["suffixes"])
    ]
    return (
        *numbers,
        (match["letter"],),
        *suffixes,
        (0, -1),
        (int(match["revision"] or "0"),),
    )

"""Names that come in from outside, parsed once at the edge.

Spec: distribution-spec "Pulling manifests": the regular expressions of `<name>` and
`<reference>`. Below the edge no name is a bare `str`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NewType

from typing_extensions import override

from hatoba.kernel.errors import InvalidInput

TagName = NewType("TagName", str)
NamespaceName = NewType("NamespaceName", str)

MAXIMUM_NAME_LENGTH: Final = 255
MAXIMUM_TAG_LENGTH: Final = 128
REMEMBERED_NAMES: Final = 4096
"""Names that were read lately are not read again: the same few are asked for all the time."""
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


class MalformedName(InvalidInput):
    """A repository name outside the specification's grammar."""


class MalformedTag(InvalidInput):
    """A tag outside the specification's grammar."""


@dataclass(slots=True, frozen=True, order=True)
class RepositoryName:
    """`namespace/name`; the name may itself hold slashes."""

    namespace: NamespaceName
    name: str

    @classmethod
    @lru_cache(maxsize=REMEMBERED_NAMES)
    def parse(cls, text: str, library: str | None = None) -> "RepositoryName":
        """Read a repository path.

        A path of a single component belongs to the `library` namespace where one is configured
        (Quay: LIBRARY_NAMESPACE).

        Raises:
            MalformedName: outside the grammar, too long, or without a namespace.
        """
        if len(text) > MAXIMUM_NAME_LENGTH or _NAME.fullmatch(text) is None:
            raise MalformedName(f"invalid repository name {text[:MAXIMUM_NAME_LENGTH]!r}")
        namespace, slash, name = text.partition("/")
        if slash:
            return cls(NamespaceName(namespace), name)
        if library is None:
            raise MalformedName(f"repository name {text!r} has no namespace")
        return cls(NamespaceName(library), text)

    @override
    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def parse_tag(text: str) -> TagName:
    """Read a tag.

    Raises:
        MalformedTag: outside the specification's grammar.
    """
    if _TAG.fullmatch(text) is None:
        raise MalformedTag(f"invalid tag {text[:MAXIMUM_TAG_LENGTH]!r}")
    return TagName(text)

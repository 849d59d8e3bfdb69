"""Where an image lies in another registry."""

import re
from dataclasses import dataclass
from typing import Final

from typing_extensions import override

from hatoba.kernel.names import MAXIMUM_NAME_LENGTH
from hatoba.net.registry.errors import ReferenceMalformed

_HOST = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?"
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
DOCKER_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclass(slots=True, frozen=True)
class RemoteRepository:
    """`host[:port]/path`, as `external_reference` of a mirror names it."""

    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> "RemoteRepository":
        """Read a reference without scheme, tag or digest.

        Raises:
            ReferenceMalformed: for any other shape.
        """
        host, slash, path = text.partition("/")
        if not slash or _HOST.fullmatch(host) is None:
            raise ReferenceMalformed(f"{text[:MAXIMUM_NAME_LENGTH]!r} is not host/repository")
        if len(path) > MAXIMUM_NAME_LENGTH or _PATH.fullmatch(path) is None:
            raise ReferenceMalformed(f"{path[:MAXIMUM_NAME_LENGTH]!r} is not a repository name")
        return cls(host, path)

    @property
    def authority(self) -> str:
        """The host to connect to; Docker Hub's registry is not where its name points."""
        return "registry-1.docker.io" if self.host in DOCKER_HUB else self.host

    @property
    def repository(self) -> str:
        """The name in URLs; Docker Hub's official images lie below `library`."""
        if self.host in DOCKER_HUB and "/" not in self.path:
            return f"library/{self.path}"
        return self.path

    @override
    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

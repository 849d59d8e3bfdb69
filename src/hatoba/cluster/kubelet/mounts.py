"""The directory that stands for a container's file system: mounts become symbolic links.

Processes share the machine's files, so a mount at `/conf/stack` is a link at
`<root>/conf/stack`, and every word of the command line and every variable that names a path at or
below a mount is rewritten to that link. Programs of a catalog that look for files elsewhere are
told by their launcher.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from hatoba.kernel.errors import InvalidInput

_FLAG: Final = "="


class MountUnusable(InvalidInput):
    """A mount that leaves its volume or does not fit the others."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Mount:
    """One volume (or a path within it) at one place."""

    path: str
    """Where the container's program expects it, normalised, absolute."""
    source: Path
    """What lies there: a volume's directory, or a path below it."""


def normalise(path: str) -> str:
    """Return the mount path without trailing or double slashes.

    Raises:
        MountUnusable: not absolute, or leading out of the root.
    """
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts or len(pure.parts) < 2:
        raise MountUnusable(f"mountPath {path!r} is not usable")
    return "/" + "/".join(pure.parts[1:])


def source_below(volume: Path, sub_path: str) -> Path:
    """Return the place in a volume that a `subPath` names.

    Raises:
        MountUnusable: the path leads out of the volume.
    """
    pure = PurePosixPath(sub_path)
    if pure.is_absolute() or ".." in pure.parts:
        raise MountUnusable(f"subPath {sub_path!r} leads out of its volume")
    return volume / sub_path


def build_root(root: Path, mounts: Iterable[Mount]) -> None:
    """Make the root directory anew, with one link per mount; outer mounts come first.

    A mount inside another one becomes a link inside the outer volume, as a container runtime
    would make a directory there to mount on.
    """
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True, mode=0o755)
    for mount in sorted(mounts, key=lambda mount: mount.path):
        link = root / mount.path.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            link.unlink()
        elif link.is_dir() and not any(link.iterdir()):
            link.rmdir()
        elif link.exists():
            raise MountUnusable(f"mountPath {mount.path!r} hides files of the volume around it")
        link.symlink_to(mount.source)


class Rewriter:
    """Turns paths that the container knows into paths that exist."""

    def __init__(self, root: Path, mount_paths: Iterable[str]) -> None:
        self._root = str(root)
        self._paths = sorted(mount_paths, key=len, reverse=True)

    def word(self, text: str) -> str:
        """Rewrite one word: a path, or a flag `--name=path`."""
        name, equals, value = text.partition(_FLAG)
        if equals and name.startswith("-"):
            return name + equals + self.path(value)
        return self.path(text)

    def path(self, text: str) -> str:
        """Rewrite the path if it is at or below a mount."""
        for path in self._paths:
            if text == path or text.startswith(path + "/"):
                return self._root + text
        return text

    def variables(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Rewrite the values of variables."""
        return {name: self.path(value) for name, value in variables.items()}


def give_to(path: Path, *, uid: int, gid: int) -> None:
    """Hand a directory tree to a user, without following links."""
    os.chown(path, uid, gid, follow_symlinks=False)
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            os.chown(Path(directory) / name, uid, gid, follow_symlinks=False)

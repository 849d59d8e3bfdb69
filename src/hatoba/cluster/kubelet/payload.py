"""Directories of files that change together: Secrets, ConfigMaps and projections of them.

The layout is Kubernetes' own: `key -> ..data/key`, `..data -> ..<generation>`. A reader that opens
files through `..data` sees one generation, never a mixture; an update swaps one symbolic link.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hatoba.kernel.ids import random_text

_DATA: Final = "..data"


@dataclass(slots=True, frozen=True, kw_only=True)
class PayloadFile:
    """One file of a payload; `mode` are the permission bits that its owner asked for."""

    content: bytes
    mode: int


def write_payload(
    directory: Path, files: Mapping[str, PayloadFile], *, owner: tuple[int, int] | None
) -> bool:
    """Make the directory hold exactly these files; False when it did already.

    Keys may hold slashes. Files belong to `owner`, and only he may read them: processes share
    this machine with its other users.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if owner is not None:
        os.chown(directory, *owner)
    link = directory / _DATA
    if link.is_symlink() and _read(link) == {name: file.content for name, file in files.items()}:
        return False
    generation = directory / f"..{random_text(12)}"
    _write(generation, files, owner=owner)
    former = directory / link.readlink() if link.is_symlink() else None
    fresh = directory / f"{_DATA}.new"
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(generation.name)
    fresh.replace(link)
    _point(directory, {name.partition("/")[0] for name in files})
    if former is not None:
        shutil.rmtree(former)
    return True


def _write(
    generation: Path, files: Mapping[str, PayloadFile], *, owner: tuple[int, int] | None
) -> None:
    generation.mkdir(mode=0o700)
    for name, file in files.items():
        path = generation / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as writer:
            os.fchmod(descriptor, (file.mode & 0o700) or 0o400)
            writer.write(file.content)
    if owner is not None:
        os.chown(generation, *owner)
        for parent, names, leaves in os.walk(generation):
            for name in (*names, *leaves):
                os.chown(Path(parent) / name, *owner)


def _point(directory: Path, names: set[str]) -> None:
    """Make the visible names links into the current generation, and remove those of former ones.

    Links that lead elsewhere are mounts inside this volume and stay.
    """
    for entry in list(directory.iterdir()):
        is_ours = entry.is_symlink() and entry.readlink().parts[:1] == (_DATA,)
        if is_ours and entry.name not in names:
            entry.unlink()
    for name in names:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(Path(_DATA) / name)


def _read(directory: Path) -> dict[str, bytes]:
    base = directory.resolve()
    return {
        str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()
    }

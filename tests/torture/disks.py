"""Small disks to fill: a tmpfs of one's own, which only root may mount."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, *, size: int) -> Iterator[Path]:
    """Mount a file system of so many bytes; skips where that is not possible."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system to fill")
    path.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no byte free while the block runs."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as output:
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):  # no space left for one more of this size
                    while True:
                        output.write(b"\0" * size)
        yield
    finally:
        ballast.unlink()

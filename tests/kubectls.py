"""Finds the kubectl generations of this machine: versioned clients beside the resolved `kubectl`."""

import re
import shutil
from pathlib import Path

import pytest

_VERSIONED = re.compile(r"kubectl\.(1\.\d+)")


def installed() -> dict[str, Path]:
    """Return the versioned clients by `major.minor`; a plain `kubectl` alone is 'default'."""
    found = shutil.which("kubectl")
    if found is None:
        return {}
    resolved = Path(found).resolve()
    versions = {
        match.group(1): path
        for path in resolved.parent.glob("kubectl.*")
        if (match := _VERSIONED.fullmatch(path.name))
    }
    return versions or {"default": resolved}


def kubectl(version: str = "1.32") -> Path:
    """Return a client, or skip the test loudly where it is not installed."""
    found = installed()
    path = found.get(version) or (found.get("default") if version == "1.32" else None)
    if path is None:
        pytest.skip(f"kubectl {version} is not installed beside the kubectl on PATH")
    return path

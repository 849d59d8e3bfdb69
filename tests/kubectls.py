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


def find(version: str) -> Path | None:
    """Return a client, None where it is not installed; a plain kubectl passes for 1.32."""
    found = installed()
    return found.get(version) or (found.get("default") if version == "1.32" else None)


def kubectl(version: str = "1.32") -> Path:
    """Return a client, or skip the test loudly where it is not installed."""
    path = find(version)
    if path is None:
        pytest.skip(f"kubectl {version} is not installed beside the kubectl on PATH")
    return path

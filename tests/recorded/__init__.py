"""Recordings of the incumbents lie beside the checkout; tests against them are skipped without."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def require(*parts):
    """Return the path of a recording, or skip saying which one is missing."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"recording {path} is not there: nothing is compared with the real thing")
    return path

"""An environment in which programs under test start fast.

Where PYTHONDONTWRITEBYTECODE is set, each start of the registry compiles everything anew, which
takes seconds; tests that start it dozens of times keep the bytecode in a place of their own.
"""

import os
import tempfile
from pathlib import Path


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment, completed by variables, with bytecode kept."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    place = Path(tempfile.gettempdir(), f"hatoba-test-bytecode-{os.geteuid()}")
    return {**kept, "PYTHONPYCACHEPREFIX": str(place), **variables}

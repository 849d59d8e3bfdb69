"""What every embedded cluster begins with, applied in the order of the file names.

Namespaces, the classes that stand for this machine's storage and router, and the CRDs of the
neighbours that an operator expects to find: OpenShift's Routes and Prometheus' monitors.
"""

from collections.abc import Iterator
from importlib.resources import files

import yaml

from hatoba.kernel.json import JsonObject


def initial_objects() -> Iterator[JsonObject]:
    """Yield the objects in the order in which they are to be applied."""
    directory = files(__name__)
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yaml"):
            yield from filter(None, yaml.safe_load_all(entry.read_text()))

import importlib
import pkgutil

import hatoba.registry
from hatoba.kernel.errors import HatobaError
from hatoba.registry.api.problems import form_of

FLOORS = tuple(f"hatoba.{name}" for name in ("registry", "sql", "net", "oci", "config", "kernel"))
"""Where errors come from that a registry can meet; other parts may be loaded beside it."""


def leaves(kind=HatobaError):
    for child in kind.__subclasses__():
        yield child
        yield from leaves(child)


def test_every_error_of_the_registry_has_a_form():
    for module in pkgutil.walk_packages(hatoba.registry.__path__, "hatoba.registry."):
        importlib.import_module(module.name)
    ours = [error for error in leaves() if error.__module__.startswith(FLOORS)]
    assert len(ours) > 40
    formless = [error.__name__ for error in ours if form_of(error.__new__(error)).status == 500]
    assert formless == []

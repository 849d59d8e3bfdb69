from pathlib import Path

from hatoba.registry.api.app import ROWS

GOLDEN = Path(__file__).with_name("routes.txt")


def test_the_routes_are_those_that_were_decided():
    """A difference is a decision: change the golden copy with it."""
    table = [f"{row.method:6} {row.path} needs {row.needs.name}" for row in ROWS]
    assert sorted(table) == GOLDEN.read_text().splitlines()


def test_no_route_hides_another():
    seen = [(row.method, row.path) for row in ROWS]
    assert len(seen) == len(set(seen))

"""What a test of the operator needs of a cluster, by its mark; each is held to it.

A test without a mark is no test that somebody can run against a cluster of his own: its collection
fails. One that uses more than its mark says fails, too.
"""

from pathlib import Path

import pytest

MARKS = {
    "alone": (),
    "api": ("api",),
    "embedded": ("api", "embedded"),
    "nodes": ("api", "nodes"),
}
"""Mark -> what such a test may use."""


class Running:
    """The test that runs; None for tests of other directories, which have no marks."""

    need: str | None = None


def need_of(item):
    """Return the mark that is closest to a test; None: it has none."""
    return next((mark.name for mark in item.iter_markers() if mark.name in MARKS), None)


def check(items, *, elsewhere):
    """Refuse tests without a mark, and skip those that another API server is not enough for.

    There, over TLS, an operator that ends while its watches are still shaking hands leaves their
    sockets to the garbage collector: the HTTP library closes those of finished handshakes only.
    """
    mine = [item for item in items if Path(__file__).parent in item.path.parents]
    if unmarked := sorted({item.nodeid for item in mine if need_of(item) is None}):
        marks = ", ".join(f"pytest.mark.{mark}" for mark in MARKS)
        raise pytest.UsageError(f"no mark of what they need ({marks}): {', '.join(unmarked)}")
    for item in mine if elsewhere else ():
        item.add_marker(
            pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
        )
        if need_of(item) == "embedded":
            item.add_marker(pytest.mark.skip(reason="needs the embedded API server"))


def uses(what):
    """Fail a test whose mark does not speak of this."""
    need = Running.need
    if need is not None and what not in MARKS[need]:
        pytest.fail(f"marked `{need}`, this test uses what `{what}` stands for")

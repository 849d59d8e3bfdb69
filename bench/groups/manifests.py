"""Pulling manifests, by digest and by tag."""

from collections.abc import Sequence
from functools import partial
from typing import Final, Literal

from bench.groups.reading import Reads, script_file
from bench.model import Floor
from bench.rows import Contest, Context
from bench.servers.side import Side
from bench.stock import MANIFEST_TYPE, REPOSITORY, tag_of

BY_DIGEST: Final = (
    Floor(kind="cpu", factor=6),
    Floor(kind="rate", factor=4),
    Floor(kind="p99", factor=1),
)
BY_TAG: Final = (
    Floor(kind="cpu", factor=5),
    Floor(kind="rate", factor=3),
    Floor(kind="p99", factor=1),
)
CONCURRENCIES: Final = (1, 16, 64)
_METHODS: Final[tuple[Literal["GET", "HEAD"], ...]] = ("GET", "HEAD")


def rows(context: Context) -> Sequence[Contest]:
    """Return the rows of this group."""
    ways = (("digest", pull_by_digest, BY_DIGEST), ("tag", pull_by_tag, BY_TAG))
    return [
        Contest(
            key=f"manifest-{method.lower()}-{way}-{concurrency}",
            work=f"manifest {method} by {way}",
            concurrency=concurrency,
            load=Reads(
                plan=context.plan,
                stock=context.stock,
                work=f"manifest by {way}",
                method=method,
                connections=concurrency,
                scope=f"repository:{REPOSITORY}:pull",
                paths=partial(paths, context),
                script=script_file(context),
                accept=MANIFEST_TYPE,
            ),
            floors=floors,
            # A HEAD is no pull, and leaves no audit row behind.
            leaves_work=method == "GET",
        )
        for way, paths, floors in ways
        for method in _METHODS
        for concurrency in CONCURRENCIES
    ]


def pull_by_digest(context: Context, side: Side) -> list[str]:
    """Return the paths of all manifests by digest."""
    return [f"/v2/{REPOSITORY}/manifests/{found}" for found in context.stock.manifests(side)]


def pull_by_tag(context: Context, side: Side) -> list[str]:
    """Return the paths of all manifests by tag."""
    number = len(context.stock.manifests(side))
    return [f"/v2/{REPOSITORY}/manifests/{tag_of(index)}" for index in range(number)]

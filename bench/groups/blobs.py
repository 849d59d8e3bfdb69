"""Pulling blobs, from 1 KiB to 100 MiB."""

from collections.abc import Sequence
from typing import Final, Literal

from bench.groups.reading import WARM_REQUESTS, Reads, script_file
from bench.model import Floor
from bench.plan import MIB
from bench.rows import Contest, Context
from bench.servers.side import Side
from bench.stock import REPOSITORY, SMALL_BYTES

LARGE_WARM_REQUESTS: Final = 8
LARGE_SECONDS: Final = 3
_EIGHTH_OF_CPU: Final = (Floor(kind="cpu", factor=8),)


def rows(context: Context) -> Sequence[Contest]:
    """Return the rows of this group."""
    thrice, as_many = (Floor(kind="bytes", factor=3),), (Floor(kind="bytes", factor=1),)
    large = context.plan.large_bytes
    return [
        _row(context, "HEAD", SMALL_BYTES, connections=16, floors=_EIGHTH_OF_CPU),
        _row(context, "GET", SMALL_BYTES, connections=16, floors=_EIGHTH_OF_CPU),
        _row(context, "GET", MIB, connections=16, floors=thrice),
        _row(context, "GET", large, connections=1, floors=as_many),
        _row(context, "GET", large, connections=16, floors=as_many),
    ]


def size_text(size: int) -> str:
    """Return a size as people write it."""
    return f"{size // MIB} MiB" if size >= MIB else f"{size // 1024} KiB"


def _row(
    context: Context,
    method: Literal["GET", "HEAD"],
    size: int,
    *,
    connections: int,
    floors: Sequence[Floor],
) -> Contest:
    def paths(side: Side) -> list[str]:
        return [f"/v2/{REPOSITORY}/blobs/{found}" for found in context.stock.blobs(side, size=size)]

    shown = size_text(size)
    return Contest(
        key=f"blob-{method.lower()}-{shown.replace(' ', '').lower()}-{connections}",
        work=f"blob {method} {shown}",
        concurrency=connections,
        load=Reads(
            plan=context.plan,
            stock=context.stock,
            work=f"blob of {shown}",
            method=method,
            connections=connections,
            scope=f"repository:{REPOSITORY}:pull",
            paths=paths,
            script=script_file(context),
            warm_requests=WARM_REQUESTS if size <= MIB else LARGE_WARM_REQUESTS,
            least_seconds=0 if size <= MIB else LARGE_SECONDS,
        ),
        floors=floors,
        shows_megabytes=size >= MIB,
    )

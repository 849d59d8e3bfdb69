"""Groups of rows, one file each; `ALL` is the order of the table."""

from collections.abc import Callable, Sequence
from typing import Final

from bench.groups import (
    auth,
    blobs,
    images,
    listings,
    manifests,
    memory,
    operator,
    pushes,
    statements,
)
from bench.rows import Context, Row

ALL: Final[Sequence[Callable[[Context], Sequence[Row]]]] = (
    manifests.rows,
    blobs.rows,
    pushes.rows,
    listings.rows,
    images.rows,
    auth.rows,
    statements.rows,
    memory.rows,
    operator.rows,
)

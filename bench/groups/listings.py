"""Lists: a page of tags, a page of the catalog."""

from collections.abc import Callable, Sequence
from typing import Final

from bench.groups.reading import Reads, script_file
from bench.model import Floor
from bench.rows import Contest, Context
from bench.servers.side import Side
from bench.stock import TAGGED

CONNECTIONS: Final = 16
PAGE: Final = 100
WARM_REQUESTS: Final = 64


def rows(context: Context) -> Sequence[Contest]:
    """Return the rows of this group."""

    def tags(side: Side) -> list[str]:
        context.stock.tagged(side)
        return [f"/v2/{TAGGED}/tags/list?n={PAGE}"]

    def catalog(side: Side) -> list[str]:
        context.stock.catalog(side)
        return [f"/v2/_catalog?n={PAGE}"]

    return [
        _row(context, "tags-list", f"tags list, {PAGE} of {context.plan.tags}", paths=tags),
        _row(
            context,
            "catalog",
            f"catalog page, {PAGE} of {context.plan.repositories}",
            paths=catalog,
        ),
    ]


def _row(
    context: Context, key: str, work: str, *, paths: Callable[[Side], Sequence[str]]
) -> Contest:
    return Contest(
        key=f"{key}-{CONNECTIONS}",
        work=work,
        concurrency=CONNECTIONS,
        load=Reads(
            plan=context.plan,
            stock=context.stock,
            work=work,
            method="GET",
            connections=CONNECTIONS,
            scope=f"repository:{TAGGED}:pull",
            paths=paths,
            script=script_file(context),
            warm_requests=WARM_REQUESTS,
        ),
        floors=[Floor(kind="rate", factor=10)],
    )

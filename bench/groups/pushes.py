"""Pushing: small blobs, manifests, large blobs in one piece and in chunks. Everything is new."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from bench.groups.blobs import size_text
from bench.load.clients import run_lean
from bench.load.spec import LoadSpec, Part, PushBlob, PushManifest, Work
from bench.model import BenchmarkFailed, Floor, Sample
from bench.plan import Plan
from bench.rows import Contest, Context
from bench.servers.side import Side
from bench.stock import MANIFEST_TYPE, REPOSITORY, SMALL_BYTES, Stock, template

WARM_CONNECTIONS: Final = 4
WARM_SECONDS: Final = 10.0
WARM_PUSHES: Final = 40
_FLOORS: Final = (Floor(kind="rate", factor=1.5),)


@dataclass(slots=True, frozen=True, kw_only=True)
class Pushes:
    """Pushes what nobody has seen. `work` is made from the headers and something unique."""

    plan: Plan
    stock: Stock
    name: str
    connections: int
    limit: int
    warm_limit: int
    work: Callable[[dict[str, str], str], Work]

    def prepare(self, side: Side) -> None:
        """Put there what manifests refer to, and push a little.

        Raises:
            BenchmarkFailed: a push failed.
        """
        self.stock.manifests(side)
        self.stock.once(side, f"warm: {self.name}", lambda: self._warm(side))

    def _warm(self, side: Side) -> None:
        spec = self._spec(
            side, connections=WARM_CONNECTIONS, seconds=WARM_SECONDS, limit=self.warm_limit
        )
        if failures := run_lean(spec).failures:
            raise BenchmarkFailed(f"{failures} pushes failed on {side.name} while warming up")

    def run(self, side: Side) -> Sample:
        """Push for one window."""
        plan = self.plan
        return run_lean(
            self._spec(side, connections=self.connections, seconds=plan.seconds, limit=self.limit)
        )

    def _spec(self, side: Side, *, connections: int, seconds: float, limit: int) -> LoadSpec:
        headers = side.authorize(f"repository:{REPOSITORY}:pull,push")
        work = self.work(headers, uuid4().hex[:12])
        part = Part(connections=connections, work=work)
        return LoadSpec(port=side.port, parts=[part], seconds=seconds, limit=limit)


def rows(context: Context) -> Sequence[Contest]:
    """Return the rows of this group."""
    plan = context.plan
    large = size_text(plan.large_bytes)
    ways = (
        ("push-blob-1kib", "push of a 1 KiB blob", blob_push(SMALL_BYTES)),
        ("push-manifest", "manifest PUT", manifest_push),
    )
    large_ways = (
        ("push-large", f"push of {large}, monolithic", blob_push(plan.large_bytes)),
        (
            "push-large-chunked",
            f"push of {large}, {size_text(plan.chunk_bytes)} chunks",
            blob_push(plan.large_bytes, chunk_bytes=plan.chunk_bytes),
        ),
    )
    return [
        *[
            _row(context, key, work, connections=connections, make=make)
            for key, work, make in ways
            for connections in (1, 16)
        ],
        *[
            _row(context, key, work, connections=connections, make=make, is_large=True)
            for key, work, make in large_ways
            for connections in (1, 4)
        ],
    ]


def blob_push(size: int, *, chunk_bytes: int = 0) -> Callable[[dict[str, str], str], Work]:
    """Return what pushes blobs of a size."""

    def make(headers: dict[str, str], nonce: str) -> Work:
        return PushBlob(
            repository=REPOSITORY,
            size_bytes=size,
            headers=headers,
            nonce=nonce,
            chunk_bytes=chunk_bytes,
        )

    return make


def manifest_push(headers: dict[str, str], nonce: str) -> Work:
    """Return what pushes manifests whose blobs are there."""
    return PushManifest(
        repository=REPOSITORY,
        template=template(),
        media_type=MANIFEST_TYPE,
        headers=headers,
        nonce=nonce,
    )


def _row(
    context: Context,
    key: str,
    work: str,
    *,
    connections: int,
    make: Callable[[dict[str, str], str], Work],
    is_large: bool = False,
) -> Contest:
    plan = context.plan
    return Contest(
        key=f"{key}-{connections}",
        work=work,
        concurrency=connections,
        load=Pushes(
            plan=plan,
            stock=context.stock,
            name=work,
            connections=connections,
            limit=connections * plan.large_limit if is_large else plan.limit,
            warm_limit=1 if is_large else WARM_PUSHES,
            work=make,
        ),
        floors=_FLOORS,
        shows_megabytes=is_large,
    )

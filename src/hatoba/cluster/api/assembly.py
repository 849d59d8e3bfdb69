"""The API server put together, without its HTTP edge."""

from dataclasses import dataclass
from pathlib import Path

from hatoba.cluster.api.deletion import Remover
from hatoba.cluster.api.kinds.table import builtin_registry
from hatoba.cluster.api.ownership import LastWriter
from hatoba.cluster.api.patching import Patcher
from hatoba.cluster.api.reading import Reader
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.store import Store
from hatoba.cluster.api.subresources import Subresources
from hatoba.cluster.api.writing import Writer
from hatoba.kernel.clock import Clock

DATABASE_NAME = "objects.sqlite"


@dataclass(slots=True, frozen=True, kw_only=True)
class Api:
    """The verbs, ready to be called."""

    store: Store
    registry: Registry
    reader: Reader
    writer: Writer
    patcher: Patcher
    subresources: Subresources
    remover: Remover
    clock: Clock

    def close(self) -> None:
        """Release the store."""
        self.store.close()


def open_api(state: Path | None, *, clock: Clock) -> Api:
    """Open the cluster's state in a directory, or an empty one in memory."""
    if state is not None:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(state / DATABASE_NAME if state else None)
    registry = builtin_registry()
    ownership = LastWriter()
    writer = Writer(store, registry=registry, ownership=ownership, clock=clock)
    return Api(
        store=store,
        registry=registry,
        reader=Reader(store, registry=registry),
        writer=writer,
        patcher=Patcher(writer),
        subresources=Subresources(writer, registry=registry),
        remover=Remover(store, registry=registry, clock=clock),
        clock=clock,
    )

"""The API server put together, without its HTTP edge."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hatoba.cluster.api.applying import Applier
from hatoba.cluster.api.definitions import Definitions
from hatoba.cluster.api.deletion import Remover
from hatoba.cluster.api.identity import Identities
from hatoba.cluster.api.kinds.services import DEFAULT_NETWORK
from hatoba.cluster.api.kinds.table import builtin_registry
from hatoba.cluster.api.ownership import Ownership
from hatoba.cluster.api.patching import Patcher
from hatoba.cluster.api.reading import Reader
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.roles import Roles
from hatoba.cluster.api.store import Store
from hatoba.cluster.api.subresources import Subresources
from hatoba.cluster.api.writing import Writer
from hatoba.kernel.clock import Clock
from hatoba.kernel.ids import new_uuid

DATABASE_NAME: Final = "objects.sqlite"
KEY_NAME: Final = "tokens.key"
_KEY_BYTES: Final = 32


@dataclass(slots=True, frozen=True, kw_only=True)
class Api:
    """The verbs, ready to be called."""

    store: Store
    registry: Registry
    reader: Reader
    writer: Writer
    patcher: Patcher
    applier: Applier
    subresources: Subresources
    remover: Remover
    identities: Identities
    roles: Roles
    clock: Clock

    def close(self) -> None:
        """Release the store."""
        self.store.close()


def open_api(
    state: Path | None,
    *,
    clock: Clock,
    admin_token: str = "",
    service_network: str = DEFAULT_NETWORK,
) -> Api:
    """Open the cluster's state in a directory, or an empty one in memory.

    Whoever sends `admin_token` is the cluster's administrator; without one nobody is.
    """
    if state is not None:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(state / DATABASE_NAME if state else None)
    registry = builtin_registry(service_network=service_network)
    ownership = Ownership(registry, clock=clock)
    writer = Writer(store, registry=registry, ownership=ownership, clock=clock)
    remover = Remover(store, registry=registry, clock=clock)
    Definitions(store, registry=registry, writer=writer, remover=remover, clock=clock)
    return Api(
        store=store,
        registry=registry,
        reader=Reader(store, registry=registry),
        writer=writer,
        patcher=Patcher(writer),
        applier=Applier(store, writer=writer, ownership=ownership),
        subresources=Subresources(writer, registry=registry, clock=clock),
        remover=remover,
        identities=Identities(
            store, admin_token=admin_token or new_uuid(), key=_signing_key(state), clock=clock
        ),
        roles=Roles(store),
        clock=clock,
    )


def _signing_key(state: Path | None) -> bytes:
    if state is None:
        return secrets.token_bytes(_KEY_BYTES)
    path = state / KEY_NAME
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(secrets.token_bytes(_KEY_BYTES))
    return path.read_bytes()

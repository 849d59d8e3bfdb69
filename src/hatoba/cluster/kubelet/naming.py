"""Keeps the pods' hosts files current, from Services and their endpoints."""

import asyncio
from typing import Final

from hatoba.cluster.controllers.informer import Informers
from hatoba.cluster.controllers.values import key_of, name_of
from hatoba.cluster.kubelet.names import ServiceNames
from hatoba.cluster.objects import ENDPOINTS, NAMESPACES, SERVICES
from hatoba.kernel.json import JsonObject

_SOURCES: Final = (NAMESPACES, SERVICES, ENDPOINTS)


async def keep_names(names: ServiceNames, informers: Informers) -> None:
    """Write what changes until cancelled; several changes at once are one writing."""
    changed = asyncio.Event()

    def note(_old: JsonObject | None, _new: JsonObject | None) -> None:
        changed.set()

    await informers.synced(_SOURCES)
    for resource in _SOURCES:
        informers.of(resource).subscribe(note)
    try:
        while True:
            changed.clear()
            names.update(
                [name_of(one) for one in informers.of(NAMESPACES).items()],
                informers.of(SERVICES).items(),
                {key_of(one): one for one in informers.of(ENDPOINTS).items()},
            )
            await changed.wait()
    finally:
        for resource in _SOURCES:
            informers.of(resource).unsubscribe(note)

"""Watches of objects that registries name, and that carry no label of ours: their bundles.

One watch for each named object, as kubelets watch the Secrets of their pods: the operator neither
labels what belongs to the user nor copies Secrets that are none of its business.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hatoba.kernel.json import JsonObject
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.runtime.controller import Key
from hatoba.operator.runtime.informer import Informer, Scope, WatchRetry


@dataclass(slots=True, frozen=True, kw_only=True)
class Reference:
    """An object that somebody depends on."""

    kind: str
    namespace: str
    name: str


class References:
    """Who depends on which named object; `changed` is called with each of them."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        changed: Callable[[Key], None],
        retry: WatchRetry | None = None,
    ) -> None:
        self._cluster = cluster
        self._retry = retry
        self._changed = changed
        self._wanted: dict[Key, frozenset[Reference]] = {}
        self._followers: dict[Reference, set[Key]] = {}
        self._tasks: dict[Reference, asyncio.Task[None]] = {}

    def follow(self, key: Key, wanted: Iterable[Reference]) -> None:
        """Watch exactly these on behalf of a registry; nothing when it is gone."""
        found = frozenset(wanted)
        known = self._wanted.pop(key, frozenset())
        if found:
            self._wanted[key] = found
        for reference in found - known:
            self._followers.setdefault(reference, set()).add(key)
            if reference not in self._tasks:
                self._tasks[reference] = asyncio.create_task(self._informer(reference).run())
        for reference in known - found:
            self._followers[reference].discard(key)
            if not self._followers[reference]:
                del self._followers[reference]
                self._tasks.pop(reference).cancel()

    @property
    def followed(self) -> list[Reference]:
        """What is watched."""
        return list(self._tasks)

    async def close(self) -> None:
        """End every watch."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        self._wanted.clear()
        self._followers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _informer(self, reference: Reference) -> Informer:
        def changed(_obj: JsonObject) -> None:
            for key in self._followers.get(reference, ()):
                self._changed(key)

        return Informer(
            self._cluster,
            reference.kind,
            changed=changed,
            scope=Scope(namespace=reference.namespace, labelled=False, name=reference.name),
            retry=self._retry,
        )

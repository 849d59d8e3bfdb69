"""The resources served at this moment, each with the rules of its kind."""

from collections.abc import Iterator

from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import ObjectNotFound
from hatoba.cluster.api.strategy import Strategy
from hatoba.cluster.objects import ResourceName


class Registry:
    """Built-in resources and those that CRDs define."""

    def __init__(self) -> None:
        self._strategies: dict[ResourceName, Strategy] = {}
        self._generation = 0

    @property
    def generation(self) -> int:
        """A number that changes with the set of resources, for caches of documents about it."""
        return self._generation

    def __iter__(self) -> Iterator[Resource]:
        return iter([strategy.resource for strategy in self._strategies.values()])

    def find(self, name: ResourceName) -> Resource | None:
        """Return the resource of a plural and group, None when it is not served."""
        strategy = self._strategies.get(name)
        return strategy.resource if strategy else None

    def require(self, name: ResourceName) -> Resource:
        """Return the resource of a plural and group.

        Raises:
            ObjectNotFound: it is not served (yet).
        """
        if (resource := self.find(name)) is None:
            raise ObjectNotFound("the server could not find the requested resource")
        return resource

    def of_kind(self, group: str, kind: str) -> Resource | None:
        """Return the resource whose objects have this kind."""
        for resource in self:
            if resource.group == group and resource.kind == kind:
                return resource
        return None

    def strategy(self, resource: Resource) -> Strategy:
        """Return the rules of a resource that is served."""
        return self._strategies[resource.name]

    def add(self, strategy: Strategy) -> None:
        """Serve a resource, or serve it differently."""
        self._strategies[strategy.resource.name] = strategy
        self._generation += 1

    def remove(self, name: ResourceName) -> None:
        """Stop serving a resource."""
        if self._strategies.pop(name, None) is not None:
            self._generation += 1

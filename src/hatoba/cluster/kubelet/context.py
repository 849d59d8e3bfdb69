"""What all pods of the node share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hatoba.cluster.catalog.images import Catalog
from hatoba.cluster.controllers.events import Recorder
from hatoba.cluster.controllers.informer import Informers
from hatoba.cluster.controllers.values import Key
from hatoba.cluster.home import Home
from hatoba.cluster.kubelet.addresses import Addresses
from hatoba.cluster.objects import (
    CLAIMS,
    CONFIG_MAPS,
    SECRETS,
    SERVICES,
    VOLUMES,
    Objects,
    ResourceName,
)
from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject

MANAGER: Final = "kubelet"
WATCHED: Final = (SECRETS, CONFIG_MAPS, CLAIMS, VOLUMES, SERVICES)
"""What pods refer to."""


@dataclass(slots=True, frozen=True, kw_only=True)
class KubeletSettings:
    """What the cluster's owner decides about the node."""

    node_name: str
    host_ip: str
    api_host: str
    api_port: int
    ca_pem: str
    restart_backoff: float = 10.0
    """Seconds before the second restart of a container; doubles up to `longest_backoff`."""
    longest_backoff: float = 300.0
    allocatable: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, frozen=True, kw_only=True)
class NodeContext:
    """Collaborators of the pods' workers."""

    home: Home
    objects: Objects
    informers: Informers
    clock: Clock
    catalog: Catalog
    recorder: Recorder
    addresses: Addresses
    settings: KubeletSettings
    issue_token: Callable[[str, str, str], str]
    """Issues a token for (namespace, service account, audience)."""
    name_variables: Callable[[str], dict[str, str]]
    """The variables that make Service names resolve in a namespace's pods."""

    def lookup(self, resource: ResourceName, name: str, namespace: str) -> JsonObject | None:
        """Return an object from the caches."""
        return self.informers.of(resource).get(Key(namespace, name))

    def services(self, namespace: str) -> Sequence[JsonObject]:
        """Return the Services of a namespace."""
        return self.informers.of(SERVICES).items(namespace)

    def pod_directory(self, uid: str) -> Path:
        """Return where a pod's state lies."""
        return self.home.pods / uid

"""Service names for pods: a hosts file per namespace, read by nss_wrapper in every program.

A Service name stands for the addresses of its ready endpoints, so that no proxy carries bytes
between pods. While none is ready it stands for the Service's own address, on which nobody listens:
connections are refused at once, as in a cluster, instead of a name being unknown.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from hatoba.cluster.catalog.identity import pod_user
from hatoba.cluster.controllers.values import Key, key_of
from hatoba.cluster.home import write_private
from hatoba.kernel.errors import Unavailable
from hatoba.kernel.json import JsonObject

_LIBRARY: Final = "libnss_wrapper.so"
_READABLE: Final = 0o644
_PLACES: Final = ("/usr/lib/*/", "/usr/lib/", "/usr/lib64/", "/usr/local/lib/")


class WrapperMissing(Unavailable):
    """The library that makes Service names resolve is not installed."""


def find_wrapper() -> Path:
    """Return the path of libnss_wrapper.

    Raises:
        WrapperMissing: not installed; the message names the package.
    """
    for place in _PLACES:
        base, star, _ = place.partition("*")
        found = sorted(Path(base).glob(f"*/{_LIBRARY}*" if star else f"{_LIBRARY}*"))
        if found:
            return found[0]
    raise WrapperMissing(
        f"{_LIBRARY} is not installed: pods find each other by it; "
        "install the package libnss-wrapper (Debian) or nss_wrapper (Fedora)"
    )


def addresses_of(service: JsonObject, endpoints: JsonObject | None) -> list[str]:
    """Return the addresses that a Service's name stands for."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return []
    subsets: Sequence[JsonObject] = (endpoints or {}).get("subsets") or ()
    ready = [one["ip"] for subset in subsets for one in subset.get("addresses") or ()]
    if not ready and spec.get("publishNotReadyAddresses"):
        ready = [one["ip"] for subset in subsets for one in subset.get("notReadyAddresses") or ()]
    cluster_ip = spec.get("clusterIP")
    if not ready and cluster_ip and cluster_ip != "None":
        return [cluster_ip]
    return sorted(set(ready))


def hosts_text(namespace: str, services: Mapping[Key, Sequence[str]]) -> str:
    """Return the hosts file of a namespace's pods."""
    lines = ["127.0.0.1 localhost"]
    for key, addresses in sorted(services.items()):
        full = f"{key.name}.{key.namespace}"
        names = [full, f"{full}.svc", f"{full}.svc.cluster.local"]
        if key.namespace == namespace:
            names.insert(0, key.name)
        lines += [" ".join([address, *names]) for address in addresses]
    return "\n".join(lines) + "\n"


class ServiceNames:
    """Keeps the hosts files current."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._library = find_wrapper()
        self._texts: dict[str, str] = {}
        self._stamp = 0

    def update(
        self,
        namespaces: Iterable[str],
        services: Sequence[JsonObject],
        endpoints: Mapping[Key, JsonObject],
    ) -> None:
        """Write what changed; remove the files of namespaces that are gone."""
        table = {
            key_of(service): addresses_of(service, endpoints.get(key_of(service)))
            for service in services
        }
        current = set(namespaces)
        for namespace in current:
            text = hosts_text(namespace, table)
            if self._texts.get(namespace) != text:
                self._write(namespace, text)
        for namespace in self._texts.keys() - current:
            del self._texts[namespace]
            self.path(namespace).unlink(missing_ok=True)

    def _write(self, namespace: str, text: str) -> None:
        path = self.path(namespace)
        write_private(path, text, mode=_READABLE)
        # The library compares whole seconds: two changes within one must not look the same.
        self._stamp = max(int(time.time()), self._stamp + 1)
        os.utime(path, (self._stamp, self._stamp))
        self._texts[namespace] = text

    def path(self, namespace: str) -> Path:
        """Return a namespace's hosts file."""
        return self._directory / namespace

    def variables(self, namespace: str) -> dict[str, str]:
        """Return what makes a program resolve the names of its namespace."""
        path = self.path(namespace)
        if not path.exists():
            self._write(namespace, hosts_text(namespace, {}))
        return {
            "LD_PRELOAD": str(self._library),
            "NSS_WRAPPER_HOSTS": str(path),
            **self._identity(),
        }

    def _identity(self) -> dict[str, str]:
        """Show the pods' user an entry in passwd: PostgreSQL insists on one."""
        user = pod_user()
        if user is None:
            return {}
        passwd, group = self._directory / ".passwd", self._directory / ".group"
        if not passwd.exists():
            shown = f"hatoba:x:{user.uid}:{user.gid}:Hatoba:/:/usr/sbin/nologin\n"
            write_private(passwd, "root:x:0:0:root:/root:/bin/sh\n" + shown, mode=_READABLE)
            write_private(group, f"root:x:0:\nhatoba:x:{user.gid}:\n", mode=_READABLE)
        return {"NSS_WRAPPER_PASSWD": str(passwd), "NSS_WRAPPER_GROUP": str(group)}

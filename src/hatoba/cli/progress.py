"""What a person sees while a registry comes up, and when it is there."""

import shlex
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from hatoba.kernel.json import JsonObject

_SHOWN_NAMES: Final = {
    "Quay": "registry",
    "Postgres": "database",
    "Clair": "scanner",
    "ClairPostgres": "scanner database",
    "HPA": "autoscaling",
    "ObjectStorage": "storage",
    "TLS": "TLS",
}


class Progress:
    """One line per component that is not ready; without a terminal, a line per change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, refresh_per_second=8)
        self._last: list[str] = []
        self._done: set[str] = set()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._console.is_terminal:
            self._live.stop()

    def show(self, registry: JsonObject, pods: list[JsonObject]) -> None:
        """Show where the registry stands now."""
        waiting, ready = _components(registry)
        for name in ready:
            if name not in self._done:
                self._done.add(name)
                self._console.print(f"{name}  ready")
        lines = waiting or [_first_words(registry, pods)]
        if lines == self._last:
            return
        self._last = lines
        if self._console.is_terminal:
            self._live.update(Group(*(Spinner("dots", text=Text(line)) for line in lines)))
        else:
            for line in lines:
                self._console.print(
                    f"waiting: {line}", markup=False, highlight=False, soft_wrap=True
                )


def _components(registry: JsonObject) -> tuple[list[str], list[str]]:
    """Return a line for each component that is waited for, and the names of those ready."""
    waiting, ready = [], []
    for condition in (registry.get("status") or {}).get("conditions") or []:
        kind = condition["type"]
        if not (kind.startswith("Component") and kind.endswith("Ready")):
            continue
        plain = kind.removeprefix("Component").removesuffix("Ready")
        name = _SHOWN_NAMES.get(plain, plain.lower())
        if condition["status"] == "True":
            if condition.get("reason") == "ComponentReady":
                ready.append(name)
        else:
            waiting.append(f"{name}: {condition.get('message') or condition.get('reason')}")
    return waiting, ready


def _first_words(registry: JsonObject, pods: list[JsonObject]) -> str:
    for condition in (registry.get("status") or {}).get("conditions") or []:
        if condition["type"] in {"Available", "RolloutBlocked"} and condition.get("message"):
            return str(condition["message"])
    return "the operator creates objects" if pods else "the operator starts"


def summary(registry: JsonObject, *, kubeconfig: Path, target: tuple[str, str]) -> str:
    """Return the lines to go on with."""
    namespace, name = target
    endpoint = registry["status"]["registryEndpoint"]
    host = endpoint.partition("://")[2]
    user = (
        '{"username": "quayadmin", "password": "quaypass123", '
        '"email": "quayadmin@example.com", "access_token": true}'
    )
    return f"""
{name} is available at  {endpoint}

Look around:            export KUBECONFIG={shlex.quote(str(kubeconfig))}
                        kubectl get pods -n {namespace}
Create the first user:  curl -k -X POST {endpoint}/api/v1/user/initialize \\
                          --header 'Content-Type: application/json' --data '{user}'
Push a first image:     skopeo copy --dest-tls-verify=false --dest-creds quayadmin:quaypass123 \\
                          docker://docker.io/library/busybox:latest docker://{host}/quayadmin/first:1
Stop:                   make down
"""

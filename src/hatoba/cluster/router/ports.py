"""Which edge is served on which port, kept across restarts.

The file is replaced atomically; a port that is taken by somebody else is given up for a free one.
"""

import json
import socket
from collections.abc import Sequence
from pathlib import Path

import structlog

log = structlog.get_logger()


class Ports:
    """The assignment of ports to edges."""

    def __init__(self, file: Path, *, hosts: Sequence[str], preferred: Sequence[int]) -> None:
        """Read what an earlier process assigned; `preferred` are tried in order for new edges."""
        self._file = file
        self._hosts = hosts
        self._preferred = preferred
        self._assigned: dict[str, int] = _read(file)

    def open(self, name: str) -> tuple[int, list[socket.socket]]:
        """Listen for an edge on each host, on the port that it had before where possible."""
        for port in [*self._candidates(name), 0]:
            sockets = self._listen(port)
            if sockets:
                number = sockets[0].getsockname()[1]
                if self._assigned.get(name) != number:
                    self._assigned[name] = number
                    self._write()
                return number, sockets
        raise OSError(f"no free port for {name}")

    def forget(self, name: str) -> None:
        """Free the port of an edge that does not exist any more."""
        if self._assigned.pop(name, None) is not None:
            self._write()

    def _candidates(self, name: str) -> list[int]:
        taken = {port for other, port in self._assigned.items() if other != name}
        own = [self._assigned[name]] if name in self._assigned else []
        return own + [port for port in self._preferred if port not in taken]

    def _listen(self, port: int) -> list[socket.socket]:
        """Bind all hosts to one port; the first host must succeed, others only where they exist."""
        sockets: list[socket.socket] = []
        for host in self._hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                listener = socket.create_server((host, port), family=family, backlog=512)
            except OSError:
                if not sockets:
                    return []
                log.debug("address not available", host=host, port=port)
                continue
            listener.setblocking(False)
            sockets.append(listener)
            port = listener.getsockname()[1]
        return sockets

    def _write(self) -> None:
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(self._assigned, indent=2, sort_keys=True))
        temporary.replace(self._file)


def _read(file: Path) -> dict[str, int]:
    """Read the assignment; a damaged file costs the old ports, not the start."""
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("assignment of ports unreadable", error=str(error))
        return {}
    return {str(name): int(port) for name, port in content.items()}

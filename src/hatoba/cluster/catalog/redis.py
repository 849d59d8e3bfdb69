"""Launches Redis as the sclorg image does: a password from `REDIS_PASSWORD`, else none.

Nothing is kept on disk unless a volume is mounted at the image's data directory.
"""

import os
import sys
from pathlib import Path

from hatoba.cluster.catalog.launching import read_arguments
from hatoba.config.loader import environment

DATA = "var/lib/redis/data"
PORT = 6379


def configuration(*, address: str, directory: Path, password: str, is_kept: bool) -> str:
    """Return redis.conf; a file, because everybody may read a process's arguments."""
    lines = [
        f"bind {address}",
        f"port {PORT}",
        f'dir "{directory}"',
        "protected-mode no",
        "daemonize no",
        "appendonly " + ("yes" if is_kept else "no"),
        'save ""',
        "maxmemory-policy noeviction",
    ]
    if password:
        escaped = password.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'requirepass "{escaped}"')
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the configuration, become Redis."""
    launch, rest = read_arguments(sys.argv[1:])
    directory = launch.root / DATA
    is_kept = directory.exists()
    launch.own(directory)
    text = configuration(
        address=launch.address,
        directory=directory,
        password=environment().get("REDIS_PASSWORD", ""),
        is_kept=is_kept,
    )
    private = directory / "redis.conf"
    launch.drop()
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    launch.become([str(private), *rest])


if __name__ == "__main__":
    main()

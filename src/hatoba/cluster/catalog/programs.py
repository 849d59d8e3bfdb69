"""The images that every embedded cluster knows: ours, PostgreSQL and Redis as sclorg builds them.

The servers are this machine's own, found on PATH or where Debian hides them.
"""

import shutil
import sys
from pathlib import Path
from typing import Final

from hatoba.cluster.catalog.identity import pod_user
from hatoba.cluster.catalog.images import (
    Catalog,
    Entry,
    Image,
    ImageUnknown,
    Situation,
    read_entries,
)
from hatoba.config.loader import environment

HATOBA_PATTERNS: Final = ("hatoba:*", "*/hatoba:*")
POSTGRESQL_PATTERN: Final = "*sclorg/postgresql-*"
REDIS_PATTERN: Final = "*sclorg/redis-*"
_MALLOC: Final = {"MALLOC_ARENA_MAX": "2"}
"""Threads share two heaps instead of getting one each: a laptop runs a dozen of these."""


def find_program(name: str, *, package: str) -> str:
    """Return the path of a server program.

    Raises:
        ImageUnknown: not installed; the message names the package.
    """
    found = shutil.which(name, path=environment().get("PATH"))
    if found is None:
        hidden = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=_version)
        found = str(hidden[-1]) if hidden else None
    if found is None:
        raise ImageUnknown(
            f"{name} is not installed on this machine: install the package {package} (Debian)"
        )
    return found


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.parts[-3].split(".") if part.isdigit())


def _hatoba() -> Image:
    return Image(
        entrypoint=lambda _: [sys.executable, "-m", "hatoba.cli.main"],
        variables=lambda situation: {
            "HATOBA_BIND": situation.address,
            "PYTHONUNBUFFERED": "1",
            **_MALLOC,
        },
        # Our parts drain on SIGTERM: they go on serving until endpoints have changed.
        quick_signal="SIGINT",
        user="own",
    )


def _launcher(module: str, situation: Situation, program: str) -> list[str]:
    user = pod_user()
    identity = [] if user is None else ["--uid", str(user.uid), "--gid", str(user.gid)]
    return [
        sys.executable,
        "-m",
        f"hatoba.cluster.catalog.{module}",
        "--program",
        program,
        "--root",
        str(situation.root),
        "--address",
        situation.address,
        *identity,
    ]


def _postgresql() -> Image:
    # PATH may hold a link beside which the other programs are not. (Redis, though, is one program
    # under several names and must keep the one it was found by.)
    program = str(Path(find_program("postgres", package="postgresql")).resolve())
    return _running_postgresql(program, beside=program)


def _running_postgresql(program: str, *, beside: str) -> Image:
    """Return the image with a server; what is not beside that is found beside this machine's."""
    places = dict.fromkeys(str(Path(path).parent) for path in (program, beside))
    return Image(
        entrypoint=lambda situation: _launcher("postgresql", situation, program),
        # Probes find the server's own programs, and not Debian's Perl script around them.
        variables=lambda _: {"PATH": ":".join([*places, "/usr/local/bin:/usr/bin:/bin"])},
        # Fast shutdown: PostgreSQL answers SIGTERM by waiting for its clients to leave.
        stop_signal="SIGINT",
        quick_signal="SIGINT",
        user="launcher",
        running=lambda other: _running_postgresql(other, beside=beside),
    )


def _redis() -> Image:
    return _running_redis(find_program("redis-server", package="redis-server"))


def _running_redis(program: str) -> Image:
    return Image(
        entrypoint=lambda situation: _launcher("redis", situation, program),
        user="launcher",
        running=_running_redis,
    )


def standard_catalog(additions: Path | None = None) -> Catalog:
    """Return the catalog, with the entries of a file before the built-in ones."""
    known = Catalog(
        [
            *(Entry(pattern=pattern, find=_hatoba) for pattern in HATOBA_PATTERNS),
            Entry(pattern=POSTGRESQL_PATTERN, find=_postgresql),
            Entry(pattern=REDIS_PATTERN, find=_redis),
        ]
    )
    added = read_entries(additions, known=known) if additions is not None else []
    return Catalog([*added, *known.entries])

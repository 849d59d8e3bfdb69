"""pg_dump and pg_restore: where they are found, how they learn passwords, what they say.

Secrets reach them through their environment, which only their own user can read; never through
arguments.
"""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hatoba.config.loader import environment
from hatoba.registry.backup.errors import DumpFailed, ProgramMissing
from hatoba.registry.blobs.driver import READ_BYTES
from hatoba.sql.engine import parse_uri

_DEBIAN: Final = Path("/usr/lib/postgresql")
NEEDED: Final = ("pg_dump", "pg_dumpall", "pg_restore", "psql")
_LAST_WORDS: Final = 2000
"""How much of what a program said is repeated."""
_VARIABLES: Final = {
    "ssl": "PGSSLMODE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


@dataclass(slots=True, frozen=True, kw_only=True)
class PostgresPrograms:
    """The programs, for one database."""

    variables: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, uri: str, *, connection_arguments: Mapping[str, Any]) -> "PostgresPrograms":
        """Return them for Quay's DB_URI and DB_CONNECTION_ARGS."""
        url = parse_uri(uri)
        given = {
            "PGHOST": url.host,
            "PGPORT": str(url.port) if url.port else None,
            "PGUSER": url.username,
            "PGPASSWORD": url.password,
            "PGDATABASE": url.database,
        }
        for name, value in [*url.query.items(), *connection_arguments.items()]:
            if name in _VARIABLES:
                given[_VARIABLES[name]] = str(value)
        return cls(variables={name: value for name, value in given.items() if value})

    @asynccontextmanager
    async def running(
        self, program: str, arguments: Sequence[str], *, reads: bool = False
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a program for as long as the block lasts; it has to end well by then.

        Raises:
            ProgramMissing: it is not installed.
            DumpFailed: it did not end well.
        """
        process = await asyncio.create_subprocess_exec(
            find_program(program),
            *arguments,
            stdin=asyncio.subprocess.PIPE if reads else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL if reads else asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**environment(), **self.variables},
        )
        assert process.stderr is not None
        complaints = asyncio.create_task(process.stderr.read())
        try:
            yield process
            code, said = await process.wait(), await complaints
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            complaints.cancel()
            raise
        if code != 0:
            words = " ".join(said.decode(errors="replace").split())[-_LAST_WORDS:]
            raise DumpFailed(f"{program} ended with {code}: {words}")

    async def dump(self, *, snapshot: str) -> AsyncIterator[bytes]:
        """Yield a dump, in pg_dump's own format, of the database as a snapshot sees it."""
        arguments = ["--format=custom", "--no-owner", "--no-acl", f"--snapshot={snapshot}", "-w"]
        async with self.running("pg_dump", arguments) as process:
            assert process.stdout is not None
            while data := await process.stdout.read(READ_BYTES):
                yield data

    async def restore(self, dump: AsyncIterator[bytes]) -> None:
        """Fill an empty database from a dump, wholly or not at all."""
        arguments = [
            "--single-transaction",
            "--exit-on-error",
            "--no-owner",
            "--no-acl",
            "--no-comments",
            # The schema itself and extensions are there: they are the administrator's.
            "--schema=public",
            "-w",
            f"--dbname={self.variables['PGDATABASE']}",
        ]
        async with self.running("pg_restore", arguments, reads=True) as process:
            assert process.stdin is not None
            try:
                async for data in dump:
                    process.stdin.write(data)
                    await process.stdin.drain()
                process.stdin.close()
                await process.stdin.wait_closed()
            except (BrokenPipeError, ConnectionResetError):
                # It ended before it had read everything; what it said tells why.
                return


def find_program(name: str, *, path: str | None = None, debian: Path = _DEBIAN) -> str:
    """Return the path of a program of PostgreSQL, also where Debian hides it.

    Raises:
        ProgramMissing: it is not installed.
    """
    found = shutil.which(name, path=path)
    if found is None:
        # By number: 9 comes before 15.
        versions = sorted(debian.glob(f"[0-9]*/bin/{name}"), key=lambda hit: float(hit.parts[-3]))
        found = str(versions[-1]) if versions else None
    if found is None:
        raise ProgramMissing(f"{name} is not installed; the package is called postgresql-client")
    return found


def warning(*, path: str | None = None, debian: Path = _DEBIAN) -> str:
    """Say which programs are missing that backups and moves of databases need; "" for none."""
    missing = []
    for name in NEEDED:
        try:
            find_program(name, path=path, debian=debian)
        except ProgramMissing:
            missing.append(name)
    if not missing:
        return ""
    return (
        f"WARNING: {', '.join(missing)} not installed: backups of a PostgreSQL and moves of "
        "managed databases will fail; put the package postgresql-client into the base image"
    )


if __name__ == "__main__":
    # Run while the image is built, from a base that somebody else has chosen.
    if told := warning():
        sys.stderr.write(f"{told}\n")

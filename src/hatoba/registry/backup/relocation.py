"""Everything of one PostgreSQL server into another one: roles, databases, rows; then compared.

Called by `hatoba registry copy-database` in the Job that moves a managed database to another major
version or another volume. Nobody else may be connected to either server. The source is only read;
the target is emptied of what an earlier attempt left, so that it can be called again at any time.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import structlog

from hatoba.registry.backup.errors import CopyDiffers, DumpFailed
from hatoba.registry.backup.programs import PostgresPrograms
from hatoba.sql.engine import translated

log = structlog.get_logger()

ADMINISTRATOR: Final = "postgres"
_MAINTENANCE: Final = "postgres"
"""The database that every server has; the image's own start needs it, so it is never dropped."""
_CONNECT_SECONDS: Final = 30.0
_CHUNK: Final = 1 << 20
_SHOWN: Final = 5
"""So many differences are named."""
_DATABASES: Final = (
    "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname"
)
_ROLES: Final = r"SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\_%' ORDER BY rolname"
_EXTENSIONS: Final = "SELECT extname FROM pg_extension ORDER BY extname"
_TABLES: Final = r"""
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
ORDER BY 1"""
_SEQUENCES: Final = (
    "SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename), last_value::text"
    " FROM pg_sequences ORDER BY 1"
)
_CONTENT: Final = (
    "SELECT count(*) || ' rows ' || coalesce(sum(('x' || substr(md5(t::text), 1, 15))"
    "::bit(60)::bigint), 0) FROM "
)
"""Of a table: how many rows, and a sum of digests that does not depend on their order."""
_SPELLING: Final = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
}
"""How values are written while they are compared: servers may be set up differently."""

_Running = AbstractAsyncContextManager[asyncio.subprocess.Process]


@dataclass(slots=True, frozen=True, kw_only=True)
class Server:
    """A PostgreSQL, as its administrator sees it."""

    host: str
    port: int
    password: str = field(repr=False)

    def programs(self, database: str) -> PostgresPrograms:
        """Return PostgreSQL's own programs for one of its databases."""
        return PostgresPrograms(
            variables={
                "PGHOST": self.host,
                "PGPORT": str(self.port),
                "PGUSER": ADMINISTRATOR,
                "PGPASSWORD": self.password,
                "PGDATABASE": database,
            }
        )

    @asynccontextmanager
    async def connected(
        self, database: str = _MAINTENANCE
    ) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Connect to one of its databases.

        Raises:
            DatabaseUnavailable: it does not answer.
        """
        with translated():
            connection = await asyncpg.connect(
                host=self.host,
                port=self.port,
                user=ADMINISTRATOR,
                password=self.password,
                database=database,
                timeout=_CONNECT_SECONDS,
                server_settings=_SPELLING,
            )
            try:
                yield connection
            finally:
                await connection.close()


async def copy_server(source: Server, target: Server) -> dict[str, int]:
    """Copy everything and compare it; return the number of tables by database.

    Raises:
        ProgramMissing, DumpFailed: PostgreSQL's programs are not there, or refuse.
        CopyDiffers: the target does not hold what the source does.
        DatabaseUnavailable: a server does not answer.
    """
    await _copy_roles(source, target)
    async with source.connected() as connection:
        databases = [record[0] for record in await connection.fetch(_DATABASES)]
    for database in databases:
        log.info("copying a database", database=database)
        await _copy_database(source, target, database)
    found = {name: await compare_database(source, target, name) for name in databases}
    await _settle(target, databases)
    return found


async def _copy_roles(source: Server, target: Server) -> None:
    """Make the roles; what is there already is only brought to the source's attributes."""
    dump = ["--globals-only", "--no-tablespaces", "-w"]
    await _pipe(
        source.programs(_MAINTENANCE).running("pg_dumpall", dump),
        target.programs(_MAINTENANCE).running("psql", ["-X", "-q", "-w"], reads=True),
    )
    async with source.connected() as there, target.connected() as here:
        wanted = {record[0] for record in await there.fetch(_ROLES)}
        missing = wanted - {record[0] for record in await here.fetch(_ROLES)}
    if missing:
        raise CopyDiffers(f"the new server lacks the roles {', '.join(sorted(missing))}")


async def _copy_database(source: Server, target: Server, database: str) -> None:
    dump = ["--format=custom", "--no-tablespaces", "-w"]
    restore = ["--exit-on-error", "--no-tablespaces", "-w", f"--dbname={_MAINTENANCE}"]
    if database == _MAINTENANCE:
        restore += ["--clean", "--if-exists"]
    else:
        restore.append("--create")
        quoted = '"' + database.replace('"', '""') + '"'
        async with target.connected() as connection:
            await connection.execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")
    await _pipe(
        source.programs(database).running("pg_dump", dump),
        target.programs(_MAINTENANCE).running("pg_restore", restore, reads=True),
    )


async def _pipe(first: _Running, second: _Running) -> None:
    """Let one program read what the other writes; what the first complains of comes first.

    Raises:
        ProgramMissing, DumpFailed: as the programs.
    """
    async with first as reader:
        try:
            async with second as writer:
                await _pump(reader, writer)
        except DumpFailed:
            if not reader.returncode:
                raise


async def _pump(reader: asyncio.subprocess.Process, writer: asyncio.subprocess.Process) -> None:
    assert reader.stdout is not None
    assert writer.stdin is not None
    # Whoever reads may end before it has read everything; what it said tells why.
    with suppress(BrokenPipeError, ConnectionResetError):
        while data := await reader.stdout.read(_CHUNK):
            writer.stdin.write(data)
            await writer.stdin.drain()
        # The archive is whole only if its writer says so: the end is not told before.
        if await reader.wait() == 0:
            writer.stdin.close()
            await writer.stdin.wait_closed()
            return
        writer.kill()


async def compare_database(source: Server, target: Server, database: str) -> int:
    """Return how many tables a database has, when it is the same in both servers.

    Raises:
        CopyDiffers: it is not; the message names the first differences.
    """
    async with source.connected(database) as there, target.connected(database) as here:
        wanted = await _content(there)
        found = await _content(here)
    if wanted != found:
        wrong = sorted(
            key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)
        )
        told = ", ".join(
            f"{key} ({wanted.get(key, 'nothing')} before, {found.get(key, 'nothing')} after)"
            for key in wrong[:_SHOWN]
        )
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise CopyDiffers(f"database {database} differs after the copy: {told}{more}")
    return sum(key.startswith("table ") for key in wanted)


async def _content(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[str, str]:
    """Return what a database holds: what is equal here is equal there."""
    found = {f"extension {record[0]}": "there" for record in await connection.fetch(_EXTENSIONS)}
    for name, value in await connection.fetch(_SEQUENCES):
        found[f"sequence {name}"] = str(value)
    for record in await connection.fetch(_TABLES):
        found[f"table {record[0]}"] = await connection.fetchval(f"{_CONTENT}{record[0]} AS t")
    return found


async def _settle(target: Server, databases: Sequence[str]) -> None:
    """Let the planner know the data, and have it all on disk."""
    for database in databases:
        async with target.connected(database) as connection:
            await connection.execute("ANALYZE")
    async with target.connected() as connection:
        await connection.execute("CHECKPOINT")

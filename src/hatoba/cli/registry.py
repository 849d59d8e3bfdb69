"""`hatoba registry`: what the quay-app, quay-app-upgrade and quay-mirror pods run.

Modules of the registry are imported inside the commands: `hatoba --help` stays fast, and metrics
must be shared before any is declared.
"""

# ruff: noqa: PLC0415 -- see above

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click
import structlog

from hatoba.cli.probing import probe
from hatoba.cli.relocation import copy_blobs, copy_database
from hatoba.cli.retention import explain, gc
from hatoba.cli.scrub import scrub
from hatoba.config.loader import Configuration, configuration_directory, environment, load
from hatoba.telemetry.logs import configure_logging
from hatoba.telemetry.metrics import share_metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hatoba.serving.asgi import Application
    from hatoba.serving.listeners import Listener
    from hatoba.serving.worker import Worker
    from hatoba.sql.engine import Database

T = TypeVar("T")
log = structlog.get_logger()

HTTP_PORT: Final = 8080
HTTPS_PORT: Final = 8443
METRICS_PORT: Final = 9091
SERVE_PATIENCE_SECONDS: Final = 60.0
STANDALONE_LISTEN: Final = "127.0.0.1:8080"


@click.group()
def registry() -> None:
    """Serve, migrate and maintain a registry."""


registry.add_command(gc)
registry.add_command(explain)
registry.add_command(scrub)
registry.add_command(probe)
registry.add_command(copy_database)
registry.add_command(copy_blobs)


def _config_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--config",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        help="Directory with config.yaml (default: QUAYCONF, then /conf/stack).",
    )(command)


def _patience_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--patience", default=600.0, show_default=True, help="Seconds to keep trying."
    )(command)


@registry.command()
@_config_option
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Serve stand-alone: SQLite and files below this directory.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help=f"Address to serve on (stand-alone: {STANDALONE_LISTEN}).",
)
def serve(directory: Path | None, data: Path | None, listen: str | None) -> None:
    """Serve images and the API, and run the background duties.

    Without a configuration directory the registry is stand-alone: it keeps everything below one
    directory and needs no other server.
    """
    if directory is not None and data is not None:
        raise click.UsageError("--config and --data exclude each other")
    share_metrics()
    configure_logging(debug=environment().get("DEBUGLOG", "").lower() == "true")
    mounted = configuration_directory() / "config.yaml"
    if data is None and (directory is not None or mounted.is_file()):
        configuration = load(directory or configuration_directory())
        sys.exit(_serve_configured(configuration, listen=listen))
    sys.exit(_serve_standalone(data or _default_data(), listen=listen or STANDALONE_LISTEN))


def _serve_configured(configuration: Configuration, *, listen: str | None) -> int:
    from hatoba.serving.listeners import Listener, TlsFiles

    asyncio.run(_wait_for_database(configuration))
    bind = environment().get("HATOBA_BIND") or _every_address()
    management = Listener(host=bind, port=METRICS_PORT)
    host, port = _split(listen) if listen else (bind, HTTP_PORT)
    listeners = [Listener(host=host, port=port)]
    if configuration.certificate is not None:
        certificate, key = configuration.certificate
        tls = TlsFiles(certificate=certificate, key=key, rules=configuration.tls_rules)
        listeners.append(Listener(host=bind, port=HTTPS_PORT, tls=tls))
    if not _is_migrated(configuration, listeners=[*listeners, management]):
        return 0
    return _run(configuration, listeners=listeners, management=management, workers=worker_limit())


def _serve_standalone(data: Path, *, listen: str) -> int:
    from hatoba.registry.standalone import DEFAULT_ADMINISTRATOR, open_standalone
    from hatoba.serving.listeners import Listener

    host, port = _split(listen)
    data = data.absolute()
    shown = "localhost" if host in {"127.0.0.1", "0.0.0.0", "::", "::1"} else host  # noqa: S104
    configuration = open_standalone(data, hostname=f"{shown}:{port}")
    asyncio.run(_migrate_standalone(configuration))
    if asyncio.run(_is_unused(configuration)):
        hostname = configuration.settings.server_hostname
        click.echo(
            f"Everything is kept in {data}. Make the first user, who administers it, with\n\n"
            f"  curl -X POST http://{hostname}/api/v1/user/initialize "
            "-H 'Content-Type: application/json' --data "
            f'\'{{"username": "{DEFAULT_ADMINISTRATOR}", "password": "at-least-8", '
            f'"email": "{DEFAULT_ADMINISTRATOR}@example.com", "access_token": true}}\'\n\n'
            f"and then: skopeo login --tls-verify=false {hostname}\n"
        )
    # SQLite has one writer; a second worker would only wait for it.
    return _run(
        configuration, listeners=[Listener(host=host, port=port)], management=None, workers=1
    )


def _run(
    configuration: Configuration,
    *,
    listeners: "list[Listener]",
    management: "Listener | None",
    workers: int,
) -> int:
    from hatoba.registry.accounts.matches import SharedMatches
    from hatoba.registry.app import make_application, open_services
    from hatoba.registry.blobs.opening import warm
    from hatoba.registry.workers.duties import background_duties, run_background
    from hatoba.serving.supervisor import serve as serve_forked

    warm(configuration)
    matches = SharedMatches()

    @contextlib.asynccontextmanager
    async def application(worker: "Worker") -> "AsyncIterator[Application]":
        opened = open_services(
            configuration, is_draining=lambda: worker.is_draining, matches=matches
        )
        async with opened as services:
            yield make_application(services)

    async def duties(_worker: "Worker") -> None:
        async with open_services(configuration) as services:
            await run_background(services, background_duties(services))

    return serve_forked(
        application,
        listeners=listeners,
        workers=workers,
        duties=duties,
        management=management,
    )


@registry.command()
@_config_option
@_patience_option
def migrate(directory: Path | None, patience: float) -> None:
    """Bring the database to the present schema; adopts a Quay database as it is.

    Waits for a database that is still starting.
    """
    configure_logging()
    configuration = load(directory or configuration_directory())
    revision = asyncio.run(_migrate(configuration, patience_seconds=patience))
    click.echo(f"database at revision {revision}")


@registry.command()
@_config_option
@click.argument("duty", nargs=-1, required=True)
def worker(directory: Path | None, duty: tuple[str, ...]) -> None:
    """Run the named background duties, and nothing else."""
    share_metrics()
    configure_logging()
    configuration = load(directory or configuration_directory())
    sys.exit(_run_duties(configuration, duty))


def _run_duties(configuration: Configuration, names: tuple[str, ...]) -> int:
    from hatoba.registry.app import open_services
    from hatoba.registry.workers.duties import duties_named, run_background
    from hatoba.serving.listeners import Listener
    from hatoba.serving.supervisor import serve as serve_forked

    @contextlib.asynccontextmanager
    async def application(_worker: "Worker") -> "AsyncIterator[Application]":
        from hatoba.serving.management import management_application

        async with open_services(configuration) as services:
            task = asyncio.create_task(run_background(services, duties_named(services, names)))
            try:
                yield management_application(is_ready=lambda: not task.done())
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    asyncio.run(_wait_for_database(configuration))
    bind = environment().get("HATOBA_BIND") or _every_address()
    listeners = [Listener(host=bind, port=METRICS_PORT)]
    if not _is_migrated(configuration, listeners=listeners):
        return 0
    return serve_forked(application, listeners=listeners)


@registry.command(name="init-database")
@_patience_option
def init_database(patience: float) -> None:
    """Prepare a fresh PostgreSQL as its administrator: the extension pg_trgm.

    POSTGRESQL_DATABASE names both the host and the database, PGPASSWORD is the password of
    `postgres`.
    """
    from hatoba.registry.db.preparation import prepare_database

    configure_logging()
    given = environment()
    name = given.get("POSTGRESQL_DATABASE", "")
    if not name or "PGPASSWORD" not in given:
        raise click.UsageError("POSTGRESQL_DATABASE and PGPASSWORD must be set")
    asyncio.run(
        prepare_database(
            host=given.get("PGHOST", name),
            port=int(given.get("PGPORT", "5432")),
            database=name,
            password=given["PGPASSWORD"],
            patience_seconds=patience,
        )
    )
    click.echo(f"database {name} is prepared")


@registry.command(name="wait-for")
@click.argument("url")
@_patience_option
def wait_for(url: str, patience: float) -> None:
    """Wait until URL answers with a success."""
    from hatoba.registry.workers.waiting import wait_until_answering

    configure_logging()
    asyncio.run(wait_until_answering(url, patience_seconds=patience))
    click.echo(f"{url} answers")


async def _migrate(configuration: Configuration, *, patience_seconds: float = 0.0) -> str:
    from hatoba.registry.db.migrate import migrate_when_ready

    return await _asking(
        configuration, partial(migrate_when_ready, patience_seconds=patience_seconds)
    )


async def _migrate_standalone(configuration: Configuration) -> None:
    """Bring a database of one's own on; one that a later version has brought further is served."""
    from hatoba.registry.db.standing import Standing, schema_of

    schema = await _asking(configuration, schema_of)
    if schema.standing is not Standing.AHEAD:
        await _migrate(configuration)


async def _wait_for_database(configuration: Configuration) -> None:
    """Give a database that is restarting a minute; workers that cannot start would end us."""
    from hatoba.registry.db.preparation import wait_for_database

    await _asking(
        configuration, partial(wait_for_database, patience_seconds=SERVE_PATIENCE_SECONDS)
    )


def _is_migrated(configuration: Configuration, *, listeners: "list[Listener]") -> bool:
    """Wait while the database is behind, and answer probes with the reason.

    Return False when we were told to end before somebody migrated it. Ending by ourselves would
    only make whoever started us start us again, without a word to the probe.
    """
    from hatoba.registry.db.standing import Standing, schema_of, wait_until_migrated
    from hatoba.registry.health import not_yet
    from hatoba.serving.meanwhile import serve_meanwhile

    schema = asyncio.run(_asking(configuration, schema_of))
    if schema.standing is not Standing.BEHIND:
        return True
    log.warning("waiting for the migration", reason=schema.lack)
    return serve_meanwhile(
        not_yet(schema.lack),
        listeners,
        work=lambda: _asking(configuration, wait_until_migrated),
    )


async def _asking(configuration: Configuration, ask: "Callable[[Database], Awaitable[T]]") -> "T":
    """Return what `ask` finds in the database."""
    from hatoba.sql.engine import open_database

    settings = configuration.settings
    database = open_database(settings.db_uri, connection_arguments=settings.db_connection_args)
    try:
        return await ask(database)
    finally:
        await database.close()


async def _is_unused(configuration: Configuration) -> bool:
    """Whether no account exists yet."""
    from hatoba.registry.accounts.errors import NonEmptyDatabase
    from hatoba.registry.app import open_services

    async with open_services(configuration) as services:
        try:
            await services.rooms.users.require_empty()
        except NonEmptyDatabase:
            return False
        return True


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise click.UsageError(f"{address!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _every_address() -> str:
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 -- as containers do


def worker_limit() -> int:
    """Return the largest of Quay's WORKER_COUNT_* that is given, but one per CPU at most.

    HATOBA_CPUS says how many those are where a container is limited: the node has more, and the
    workers would take turns. `workers_of_pod` of the operator counts the same.
    """
    cpus = min([len(os.sched_getaffinity(0)), *_numbers("HATOBA_CPUS")])
    given = _numbers("WORKER_COUNT_REGISTRY", "WORKER_COUNT_WEB", "WORKER_COUNT")
    return min(cpus, max(given, default=cpus))


def _numbers(*names: str) -> list[int]:
    """Return the variables that are numbers above 0."""
    texts = [environment().get(name, "") for name in names]
    return [int(text) for text in texts if text.isdigit() and int(text)]


def _default_data() -> Path:
    base = environment().get("XDG_DATA_HOME")
    return Path(base) / "hatoba" if base else Path.home() / ".local/share/hatoba"

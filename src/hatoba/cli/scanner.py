"""`hatoba scanner`: the clair-app pod, and the care of its database."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Final

import click

from hatoba.telemetry.logs import configure_logging
from hatoba.telemetry.metrics import share_metrics

PATIENCE: Final = timedelta(minutes=5)


@click.group()
def scanner() -> None:
    """Find known vulnerabilities in images (Clair v4's API)."""


def _configuration_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Clair's configuration file (default: CLAIR_CONF, then /clair/config.yaml).",
    )(command)


@scanner.command()
@_configuration_option
def serve(path: Path | None) -> None:
    """Serve the API and keep the advisories fresh."""
    share_metrics()
    from hatoba.kernel.clock import SystemClock  # noqa: PLC0415 -- after share_metrics
    from hatoba.kernel.errors import HatobaError  # noqa: PLC0415
    from hatoba.scanner.app import make_application, open_services  # noqa: PLC0415
    from hatoba.scanner.migrate import (  # noqa: PLC0415
        databases_to_migrate,
        migrate_when_reachable,
    )
    from hatoba.scanner.settings import configuration_path, load_settings  # noqa: PLC0415
    from hatoba.serving.asgi import Application  # noqa: PLC0415
    from hatoba.serving.supervisor import serve as serve_forked  # noqa: PLC0415
    from hatoba.serving.worker import Worker  # noqa: PLC0415

    configure_logging()
    try:
        settings = load_settings(path or configuration_path())
        configure_logging(debug=settings.log_level.startswith("debug"))
        asyncio.run(
            migrate_when_reachable(
                databases_to_migrate(settings), patience=PATIENCE, clock=SystemClock()
            )
        )
    except HatobaError as error:
        raise click.ClickException(error.message) from error

    @contextlib.asynccontextmanager
    async def application(_worker: Worker) -> AsyncIterator[Application]:
        async with open_services(settings) as services:
            yield make_application(services, settings)

    async def duties(_worker: Worker) -> None:
        async with open_services(settings) as services:
            await services.updating.run()

    sys.exit(
        serve_forked(
            application,
            listeners=[settings.listener()],
            duties=duties,
            management=settings.introspection(),
        )
    )


@scanner.command()
@_configuration_option
def migrate(path: Path | None) -> None:
    """Bring the databases to the present schema."""
    from hatoba.kernel.clock import SystemClock  # noqa: PLC0415 -- start-up is lazy
    from hatoba.kernel.errors import HatobaError  # noqa: PLC0415
    from hatoba.scanner.migrate import (  # noqa: PLC0415
        databases_to_migrate,
        migrate_when_reachable,
    )
    from hatoba.scanner.settings import configuration_path, load_settings  # noqa: PLC0415

    configure_logging()
    try:
        settings = load_settings(path or configuration_path())
        uris = databases_to_migrate(settings, always=True)
        asyncio.run(migrate_when_reachable(uris, patience=PATIENCE, clock=SystemClock()))
    except HatobaError as error:
        raise click.ClickException(error.message) from error


@scanner.command(name="import")
@click.argument("files", nargs=-1, required=True, type=click.File("rb"))
@_configuration_option
def import_files(files: tuple[BinaryIO, ...], path: Path | None) -> None:
    """Take advisories from FILES: Debian's tracker, Alpine's secdb, or a clairctl export."""
    from hatoba.kernel.errors import HatobaError  # noqa: PLC0415 -- start-up is lazy
    from hatoba.scanner.app import open_services  # noqa: PLC0415
    from hatoba.scanner.settings import configuration_path, load_settings  # noqa: PLC0415

    configure_logging()

    async def run() -> None:
        settings = load_settings(path or configuration_path())
        async with open_services(settings) as services:
            for file in files:
                taken = await services.updating.import_file(file.read())
                if not taken:
                    click.echo(f"{file.name}: nothing about Debian or Alpine in it", err=True)
                for updater, count in taken.items():
                    click.echo(f"{file.name}: {updater}: {count} advisories")

    try:
        asyncio.run(run())
    except HatobaError as error:
        raise click.ClickException(error.message) from error

"""`hatoba registry probe`: ask the neighbours that config.yaml names."""

# ruff: noqa: PLC0415 -- `hatoba --help` imports no part of the registry

import asyncio
import sys
from pathlib import Path
from typing import Final

import click

from hatoba.config.loader import configuration_directory, load
from hatoba.telemetry.logs import configure_logging

PARTS: Final = ("postgres", "redis", "objectstorage", "clair")


@click.command()
@click.option(
    "--config",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory with config.yaml; default: $QUAYCONF.",
)
@click.argument("part", nargs=-1, type=click.Choice(PARTS))
def probe(*, directory: Path | None, part: tuple[str, ...]) -> None:
    """Ask database, Redis, storage and scanner (or the PARTs) for an answer; exits 1 without one.

    Of the storage a small object is written, read and deleted.
    """
    from hatoba.registry.probing import probe as ask

    configure_logging()
    found = load(directory or configuration_directory())
    faults = asyncio.run(ask(found, part or PARTS))
    if faults:
        click.echo("; ".join(f"{name}: {fault}" for name, fault in faults.items()), err=True)
        sys.exit(1)
    click.echo(f"{', '.join(part or PARTS)}: well")

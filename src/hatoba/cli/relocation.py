"""`hatoba registry copy-database` and `copy-blobs`: what Jobs run that move a registry's data."""

# ruff: noqa: PLC0415 -- as in cli/registry

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hatoba.config.loader import configuration_directory, environment, load
from hatoba.kernel.errors import HatobaError
from hatoba.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from hatoba.registry.backup.volumes import Copied, Volumes

_DIRECTORY: Final = click.Path(path_type=Path, file_okay=False)


@click.command(name="copy-database")
@click.option("--from-port", type=int, required=True, help="Port of the server with the data.")
@click.option("--to-port", type=int, required=True, help="Port of the server that is to have it.")
def copy_database(from_port: int, to_port: int) -> None:
    """Copy everything from one PostgreSQL server into another, and compare it.

    HATOBA_POD_ADDRESS says where both listen, PGPASSWORD is the password of `postgres`. The source
    is only read; a second run begins anew.
    """
    from hatoba.registry.backup.relocation import Server, copy_server

    configure_logging()
    given = environment()
    if "PGPASSWORD" not in given:
        raise click.UsageError("PGPASSWORD must be set")
    host, password = given.get("HATOBA_POD_ADDRESS", "127.0.0.1"), given["PGPASSWORD"]
    source = Server(host=host, port=from_port, password=password)
    target = Server(host=host, port=to_port, password=password)
    try:
        copied = asyncio.run(copy_server(source, target))
    except HatobaError as error:
        click.echo(f"nothing was moved: {error.message}", err=True)
        sys.exit(1)
    for database, tables in copied.items():
        click.echo(f"database {database} is copied and equal: {tables} tables")


@click.command(name="copy-blobs")
@click.option("--from", "source", type=_DIRECTORY, required=True, help="The volume with the blobs.")
@click.option("--to", "target", type=_DIRECTORY, required=True, help="The volume to have them.")
@click.option(
    "--step",
    type=click.Choice(["check", "fill", "settle"]),
    required=True,
    help="check: try whether it can be; fill: copy beside a registry that serves; settle: once "
    "nobody writes, copy the rest and compare, also with the database of QUAYCONF.",
)
def copy_blobs(source: Path, target: Path, step: str) -> None:
    """Copy everything in a volume with blobs into another one.

    The source is only read. Each step can be cut off and run again; ends with 1 where the new
    volume may not take the old one's place.
    """
    configure_logging()
    try:
        told = _copy_blobs(source, target, step=step)
    except HatobaError as error:
        click.echo(f"the old volume stays in use: {error.message}", err=True)
        sys.exit(1)
    click.echo(told)


def _copy_blobs(source: Path, target: Path, *, step: str) -> str:
    from hatoba.registry.backup.volumes import Volumes, check_volumes, fill

    volumes = Volumes(source=source, target=target)
    if step == "check":
        return f"the new volume has room for the {check_volumes(volumes)} bytes that are missing"
    if step == "fill":
        done = fill(volumes)
        return f"{done.files} files are in both volumes, {done.copied} were copied now"
    done, lost = asyncio.run(_settle(volumes))
    told = f"both volumes hold the same {done.files} files, {done.copied} were copied now"
    return f"{told}; {lost} blobs that the database names were lost before" if lost else told


async def _settle(volumes: "Volumes") -> "tuple[Copied, int]":
    from hatoba.registry.backup.placed import settle_placed
    from hatoba.sql.engine import open_database

    settings = load(configuration_directory()).settings
    database = open_database(settings.db_uri, connection_arguments=settings.db_connection_args)
    try:
        return await settle_placed(volumes, database, settings=settings)
    finally:
        await database.close()

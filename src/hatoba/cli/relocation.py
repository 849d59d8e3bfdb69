"""`hatoba registry copy-database`: what the Job runs that moves a managed database."""

# ruff: noqa: PLC0415 -- as in cli/registry

import asyncio
import sys

import click

from hatoba.config.loader import environment
from hatoba.kernel.errors import HatobaError
from hatoba.telemetry.logs import configure_logging


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

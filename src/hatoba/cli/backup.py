"""`hatoba backup`: whole registries into a vault and back, on a laptop as in a Job."""

# ruff: noqa: PLC0415 -- as in hatoba.cli.registry

import asyncio
import base64
import functools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hatoba.config.loader import Configuration, configuration_directory, environment, load
from hatoba.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from hatoba.registry.backup.catalog import Catalog, Pruned
    from hatoba.registry.backup.models import Summary
    from hatoba.registry.backup.restoring import Restored

LATEST: Final = "latest"
PATIENCE_SECONDS: Final = 600.0
HANDOVER_SECONDS: Final = 60.0

_FILE = click.Path(path_type=Path, dir_okay=False)
_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_CONFIG = click.option(
    "--config",
    "directory",
    type=_DIRECTORY,
    help="Directory with config.yaml (default: QUAYCONF, then /conf/stack).",
)
_BACKUP_ID = click.argument("backup_id", metavar="BACKUP", default=LATEST)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def backup() -> None:
    """Back up a whole registry, and restore it.

    A vault is a directory or s3://bucket/prefix, and belongs to one registry. Everything in it is
    sealed with a key, without which nobody can restore it: keep the key elsewhere. Credentials of
    a bucket are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    """


@dataclass(slots=True, frozen=True, kw_only=True)
class _Place:
    """A vault and its key, as the options name them."""

    vault: str
    key_file: Path
    s3_endpoint: str | None
    s3_region: str | None


def _at_a_vault(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a vault; it takes them as `place`."""

    @functools.wraps(command)
    def run(
        vault: str, key_file: Path, s3_endpoint: str | None, s3_region: str | None, **more: object
    ) -> None:
        place = _Place(vault=vault, key_file=key_file, s3_endpoint=s3_endpoint, s3_region=s3_region)
        command(place=place, **more)

    options = [
        click.option(
            "--vault", required=True, metavar="PLACE", help="A directory, or s3://bucket/prefix."
        ),
        click.option("--key-file", required=True, type=_FILE, help="File with the vault's key."),
        click.option("--s3-endpoint", metavar="URL", help="Where the bucket is, unless at Amazon."),
        click.option("--s3-region", metavar="NAME", help="The bucket's region."),
    ]
    for option in reversed(options):
        run = option(run)
    return run


@backup.command()
def key() -> None:
    """Print a new key for a vault."""
    from hatoba.registry.backup.sealing import BackupKey

    click.echo(BackupKey.new().text())


@backup.command()
@_CONFIG
@_at_a_vault
@click.option(
    "--blobs",
    "mode",
    type=click.Choice(["copy", "reference"]),
    default="copy",
    show_default=True,
    help="Copy the bytes of images, or only note which there are: then the storage itself must "
    "outlive what happens.",
)
@click.option(
    "--attach",
    multiple=True,
    metavar="DIRECTORY",
    help="Also keep the files of DIRECTORY, under its own name.",
)
@click.option(
    "--note", "notes", multiple=True, metavar="NAME=TEXT", help="Also keep TEXT, as notes/NAME."
)
@click.option(
    "--keep", type=click.IntRange(min=1), help="Afterwards remove all but so many backups."
)
@click.option("--id", "backup_id", default="", help="Name of the backup (default: the time).")
@_JSON
def create(
    directory: Path | None,
    place: _Place,
    **wanted: object,
) -> None:
    """Make a backup while the registry serves: database, blobs and configuration.

    What an earlier backup of the vault holds is not copied again.
    """
    configure_logging()
    configuration = load(directory or configuration_directory())
    summary, pruned = asyncio.run(_create(configuration, place, wanted))
    if wanted["as_json"]:
        click.echo(json.dumps(summary.to_json() | {"pruned": pruned.backups if pruned else []}))
        return
    click.echo(_told(summary))
    for digest in summary.missing:
        click.echo(f"  the registry itself has lost {digest}", err=True)
    if pruned:
        click.echo(_pruned(pruned))


@backup.command(name="list")
@_at_a_vault
@_JSON
def list_backups(*, place: _Place, as_json: bool) -> None:
    """List the backups that are whole, the oldest first."""

    async def listed() -> "list[Summary]":
        async with _opened(place) as catalog:
            return await catalog.summaries()

    found = asyncio.run(listed())
    if as_json:
        click.echo(json.dumps([one.to_json() for one in found], indent=2))
        return
    for one in found:
        click.echo(_told(one))
    if not found:
        click.echo("the vault holds no backup")


@backup.command()
@_BACKUP_ID
@_at_a_vault
def verify(*, backup_id: str, place: _Place) -> None:
    """Read all that a backup consists of, and compare every digest."""
    configure_logging()

    async def verified() -> "Summary":
        async with _opened(place) as catalog:
            return await catalog.verify(backup_id)

    summary = asyncio.run(verified())
    click.echo(f"backup {summary.id} is whole")


@backup.command()
@_at_a_vault
@click.option("--keep", required=True, type=click.IntRange(min=1), help="How many stay.")
def prune(*, place: _Place, keep: int) -> None:
    """Remove all but the newest backups, and what belongs to none. Not while one is made."""
    configure_logging()

    async def pruned() -> "Pruned":
        async with _opened(place) as catalog:
            return await catalog.prune(keep=keep)

    click.echo(_pruned(asyncio.run(pruned())))


@backup.command()
@_BACKUP_ID
@_CONFIG
@_at_a_vault
@click.option(
    "--data",
    type=_DIRECTORY,
    help="Restore a stand-alone registry into this directory, which must be empty.",
)
@click.option(
    "--patience",
    default=PATIENCE_SECONDS,
    show_default=True,
    help="Seconds to wait for a database.",
)
@_JSON
def restore(
    backup_id: str,
    directory: Path | None,
    place: _Place,
    **wanted: object,
) -> None:
    """Restore a backup into an empty database and a storage.

    May be repeated until it succeeds: what is there already is not brought again. The
    configuration must hold the keys of the registry that was backed up (SECRET_KEY and
    DATABASE_SECRET_KEY); `hatoba backup configuration` writes it out.
    """
    configure_logging()
    data = wanted["data"]
    if directory is not None and data is not None:
        raise click.UsageError("--config and --data exclude each other")
    patience = float(str(wanted["patience"]))
    if isinstance(data, Path):
        done = asyncio.run(_restore_standalone(data.absolute(), place, backup_id))
    else:
        configuration = load(directory or configuration_directory())
        done = asyncio.run(_restore(configuration, place, backup_id, patience=patience))
    if wanted["as_json"]:
        click.echo(json.dumps(done.summary.to_json()))
        return
    already = " (the database held it already)" if done.was_done_before else ""
    click.echo(f"restored backup {done.summary.id}{already}: {done.blobs} blobs are there")
    if done.missing:
        click.echo(f"{done.missing} blobs were lost before the backup; push them again", err=True)


@backup.command()
@_BACKUP_ID
@_at_a_vault
@click.option(
    "--attached", default="config", show_default=True, help="Which of the attached directories."
)
@click.option("--into", required=True, type=_DIRECTORY, help="Where the files are written.")
def configuration(
    backup_id: str,
    place: _Place,
    **wanted: object,
) -> None:
    """Write out the configuration that a backup holds, keys and all."""
    from hatoba.registry.backup.attachments import write_files

    into, attached = Path(str(wanted["into"])), str(wanted["attached"])

    async def written() -> list[Path]:
        async with _opened(place) as catalog:
            summary = await catalog.summary(backup_id)
            return write_files(await catalog.attachments(summary.id), into, among=[attached])

    for path in asyncio.run(written()):
        click.echo(str(path))


@backup.command(name="hand-over", hidden=True)
@_BACKUP_ID
@_at_a_vault
@click.option("--to", "url", required=True, help="Where the operator takes Secrets.")
@click.option("--namespace", required=True)
@click.option("--restore", "restoration", required=True)
@click.option("--token-file", required=True, type=_FILE)
def hand_over(
    backup_id: str,
    place: _Place,
    **wanted: object,
) -> None:
    """Bring the Secrets of a backup to the operator: what the Job of a restoration runs."""
    configure_logging()
    token = Path(str(wanted["token_file"])).read_text().strip()
    given = {"namespace": wanted["namespace"], "restore": wanted["restoration"]}
    made = asyncio.run(_hand_over(place, backup_id, url=str(wanted["url"]), token=token, **given))
    click.echo(f"the Secrets of backup {made} are with the operator")


async def _hand_over(
    place: _Place, backup_id: str, *, url: str, token: str, **given: object
) -> str:
    from hatoba.kernel.errors import Unavailable
    from hatoba.net.http import HttpClient, open_session

    async with _opened(place) as catalog:
        summary = await catalog.summary(backup_id)
        files = await catalog.attachments(summary.id)
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    body = json.dumps({**given, "backup": summary.id, "files": encoded}).encode()
    async with open_session(allow_private=True) as session:
        answer = await HttpClient(session=session).call(
            "POST",
            url,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            body=body,
            deadline_seconds=HANDOVER_SECONDS,
        )
    if answer.status != HTTPStatus.OK:
        words = answer.body.decode(errors="replace")
        raise Unavailable(f"the operator does not take the Secrets ({answer.status}): {words}")
    return summary.id


@asynccontextmanager
async def _opened(place: _Place) -> "AsyncIterator[Catalog]":
    from hatoba.kernel.clock import SystemClock
    from hatoba.registry.backup.catalog import Catalog
    from hatoba.registry.backup.opening import VaultAddress, open_vault, read_key

    address = VaultAddress(text=place.vault, endpoint=place.s3_endpoint, region=place.s3_region)
    found = read_key(place.key_file)
    async with open_vault(address, environment=environment()) as vault:
        yield Catalog(vault=vault, key=found, clock=SystemClock())


async def _create(
    configuration: Configuration, place: _Place, wanted: "dict[str, object]"
) -> "tuple[Summary, Pruned | None]":
    from hatoba.registry.app import open_services
    from hatoba.registry.backup.attachments import configuration_files, files_below
    from hatoba.registry.backup.models import BlobMode
    from hatoba.registry.backup.service import Maker
    from hatoba.registry.retention.hold import Hold

    attached = configuration_files(configuration)
    for name, directory in _named_directories(wanted["attach"]):
        attached |= files_below(name, directory)
    for name, text in _pairs(wanted["notes"]):
        attached[f"notes/{name}"] = text.encode()
    keep = wanted["keep"]
    async with AsyncExitStack() as stack:
        catalog = await stack.enter_async_context(_opened(place))
        services = await stack.enter_async_context(open_services(configuration))
        maker = Maker(
            settings=configuration.settings,
            database=services.database,
            blobs=services.blobs,
            hold=Hold(leases=services.scrubber.leases),
            catalog=catalog,
            clock=services.clock,
        )
        summary = await maker.create(
            mode=BlobMode(str(wanted["mode"])),
            attached=attached,
            backup_id=str(wanted["backup_id"]),
        )
        return summary, await catalog.prune(keep=keep) if isinstance(keep, int) else None


def _named_directories(given: object) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for text in given if isinstance(given, tuple) else ():
        path = Path(str(text))
        if not path.is_dir() or path.name in {"", "config", "notes"}:
            raise click.UsageError(f"{text!r} is no directory that can be attached")
        found.append((path.name, path))
    return found


def _pairs(given: object) -> list[tuple[str, str]]:
    """Read NAME=VALUE."""
    found: list[tuple[str, str]] = []
    for text in given if isinstance(given, tuple) else ():
        name, equals, value = str(text).partition("=")
        if not name or not equals or "/" in name:
            raise click.UsageError(f"{text!r} is not NAME=TEXT")
        found.append((name, value))
    return found


async def _restore(
    configuration: Configuration, place: _Place, backup_id: str, *, patience: float
) -> "Restored":
    from hatoba.kernel.clock import SystemClock
    from hatoba.registry.backup.restoring import Restorer
    from hatoba.registry.blobs.opening import open_blobs
    from hatoba.registry.db.preparation import wait_for_database
    from hatoba.sql.engine import open_database

    settings = configuration.settings
    async with AsyncExitStack() as stack:
        catalog = await stack.enter_async_context(_opened(place))
        await catalog.summary(backup_id)
        database = open_database(settings.db_uri, connection_arguments=settings.db_connection_args)
        stack.push_async_callback(database.close)
        if database.is_postgresql:
            await wait_for_database(database, patience_seconds=patience)
        return await Restorer(
            settings=settings,
            database=database,
            blobs=await stack.enter_async_context(open_blobs(configuration)),
            catalog=catalog,
            clock=SystemClock(),
            patience_seconds=patience,
        ).restore(backup_id)


async def _restore_standalone(data: Path, place: _Place, backup_id: str) -> "Restored":
    from hatoba.registry.backup.attachments import CONFIGURATION
    from hatoba.registry.standalone import moved_here

    async with _opened(place) as catalog:
        summary = await catalog.summary(backup_id)
        files = await catalog.attachments(summary.id)
    prefix = f"{CONFIGURATION}/"
    given = {
        name.removeprefix(prefix): one for name, one in files.items() if name.startswith(prefix)
    }
    return await _restore(moved_here(data, given), place, summary.id, patience=0)


def _told(summary: "Summary") -> str:
    blobs = f"{summary.blob_count} blobs with {summary.blob_bytes} bytes"
    how = f"{summary.copied_count} of them new" if summary.blobs == "copy" else "by reference"
    lost = f", {len(summary.missing)} lost" if summary.missing else ""
    return (
        f"backup {summary.id}: {summary.hostname}, {summary.created_at} to {summary.finished_at}, "
        f"{summary.database} with {summary.database_bytes} bytes, {blobs} ({how}{lost})"
    )


def _pruned(pruned: "Pruned") -> str:
    return f"{len(pruned.backups)} backups removed, {pruned.files} files with {pruned.bytes} bytes"

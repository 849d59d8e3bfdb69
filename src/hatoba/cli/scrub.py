"""`hatoba registry scrub`: read all stored blobs, and say what is not as it should be."""

# ruff: noqa: PLC0415 -- as in hatoba.cli.registry

import asyncio
import json
import re
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from typing_extensions import override

from hatoba.config.loader import Configuration, configuration_directory, load
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.errors import HatobaError
from hatoba.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from hatoba.registry.retention.models import DamagedBlob, ScrubPolicy, ScrubRun

SHOWN: Final = 20
"""How many tags of a damaged blob are shown; JSON has all."""
_UNITS: Final = {"": 0, "K": 10, "M": 20, "G": 30}


class Rate(click.ParamType[int]):
    """Bytes a second: `500K`, `10M`, `1G`; 0 is without limit."""

    name = "BYTES"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the text."""
        match = re.fullmatch(r"([0-9]+)([KMG]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is no number of bytes, as in 10M", param, ctx)
        return int(match.group(1)) << _UNITS[match.group(2)]


@dataclass(slots=True, frozen=True, kw_only=True)
class _Wanted:
    """What the options say."""

    rate: int | None
    resumes: bool
    quarantines: bool
    repairs: bool
    as_json: bool

    def policy(self, configured: "ScrubPolicy") -> "ScrubPolicy":
        """Return what the configuration says, with what the options say instead."""
        from hatoba.registry.retention.models import ScrubMode

        mode = ScrubMode.QUARANTINE if self.quarantines else ScrubMode.REPORT
        return replace(
            configured,
            mode=ScrubMode.REPAIR if self.repairs else mode,
            bytes_per_second=configured.bytes_per_second if self.rate is None else self.rate,
        )


@click.command()
@click.option(
    "--config",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory with config.yaml (default: QUAYCONF, then /conf/stack).",
)
@click.option(
    "--rate", type=Rate(), help="Bytes a second at most (default: STORAGE_SCRUB_RATE; 0: no limit)."
)
@click.option("--resume", "resumes", is_flag=True, help="Go on where the last pass was stopped.")
@click.option(
    "--quarantine",
    "quarantines",
    is_flag=True,
    help="Set damaged blobs aside and offer them no more, until they are pushed again.",
)
@click.option(
    "--repair",
    "repairs",
    is_flag=True,
    help="Also remove bytes that no row names, once they have been known for"
    " STORAGE_SCRUB_ORPHAN_GRACE. Not where another registry uses the same storage.",
)
@click.option("--status", is_flag=True, help="Only say how far it is, and what is set aside.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def scrub(directory: Path | None, *, status: bool, **options: Any) -> None:
    """Read all stored blobs and compare their digests; say which tags are hurt.

    Safe while the registry serves. Without --quarantine or --repair nothing is changed. Ends with
    1 where a blob is damaged or cannot be read.
    """
    configure_logging()
    configuration = load(directory or configuration_directory())
    wanted = _Wanted(**options)
    try:
        if status:
            run, found = asyncio.run(_look(configuration))
        else:
            run, found = asyncio.run(_scrub(configuration, wanted))
    except HatobaError as error:
        raise click.ClickException(error.message) from error
    click.echo(_as_json(run, found) if wanted.as_json else _as_text(run, found))
    is_unreadable = run is not None and not status and run.counts.unreadable
    if found or is_unreadable:
        sys.exit(1)


async def _scrub(
    configuration: Configuration, wanted: _Wanted
) -> "tuple[ScrubRun, list[DamagedBlob]]":
    from hatoba.registry.app import open_services
    from hatoba.registry.retention.scrub import Scrubber

    found: list[DamagedBlob] = []
    async with open_services(configuration) as services:
        configured = services.scrubber
        scrubber = Scrubber(
            shelf=services.shelf,
            leases=configured.leases,
            policy=wanted.policy(configured.policy),
            tell=found.append,
        )
        return await scrubber.run(resumes=wanted.resumes), found


async def _look(configuration: Configuration) -> "tuple[ScrubRun | None, list[DamagedBlob]]":
    from hatoba.registry.app import open_services

    async with open_services(configuration) as services:
        return await services.scrubber.last_run(), list(await services.scrubber.damaged())


def _as_json(run: "ScrubRun | None", found: "list[DamagedBlob]") -> str:
    decoded = {"pass": run and asdict(run), "damaged": [asdict(one) for one in found]}
    return json.dumps(decoded, indent=2, default=rfc3339)


def _as_text(run: "ScrubRun | None", found: "list[DamagedBlob]") -> str:
    lines: list[str] = []
    for blob in found:
        state = "set aside until it is pushed again" if blob.is_withdrawn else "still offered"
        lines.append(f"{blob.digest}: {blob.kind}, {state}; {blob.manifests} manifests need it")
        lines += [f"  tag {one.repository}:{one.tag}" for one in blob.tags[:SHOWN]]
        if len(blob.tags) > SHOWN:
            lines.append(f"  and {len(blob.tags) - SHOWN} more tags")
    lines.append(_told(run))
    return "\n".join(lines)


def _told(run: "ScrubRun | None") -> str:
    if run is None:
        return "the storage was never scrubbed"
    counts = run.counts
    ended = f"finished {rfc3339(run.finished_at)}" if run.finished_at else "not finished"
    return (
        f"pass of {rfc3339(run.started_at)}, {ended}: "
        f"{counts.blobs} blobs with {counts.bytes} bytes read; "
        f"{counts.corrupt} corrupt, {counts.missing} missing, {counts.unreadable} unreadable, "
        f"{counts.withdrawn} set aside, {counts.healed} healed; "
        f"{counts.orphans} without a row with {counts.orphan_bytes} bytes, "
        f"{counts.orphans_removed} of them removed"
    )

"""`hatoba registry gc` and `explain`: collect at once, and say what is kept and why."""

# ruff: noqa: PLC0415 -- as in hatoba.cli.registry

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hatoba.config.loader import Configuration, configuration_directory, load
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.digests import Digest
from hatoba.kernel.errors import HatobaError
from hatoba.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from hatoba.registry.retention.models import Collected, Explanation, Plan

_CONFIG = click.option(
    "--config",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory with config.yaml (default: QUAYCONF, then /conf/stack).",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_CONFIG
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@_JSON
def gc(directory: Path | None, *, dry_run: bool, as_json: bool) -> None:
    """Collect what no tag, index, referrer or push refers to any more.

    Safe while the registry serves. Blobs are quarantined first: a later run, or the registry
    itself, deletes their bytes.
    """
    configure_logging()
    configuration = load(directory or configuration_directory())
    try:
        if dry_run:
            plan = asyncio.run(_plan(configuration))
            click.echo(_plan_json(plan) if as_json else _plan_text(plan))
            return
        done = asyncio.run(_collect(configuration))
    except HatobaError as error:
        raise click.ClickException(error.message) from error
    click.echo(json.dumps(asdict(done), indent=2) if as_json else _done_text(done))
    if done.failed:
        sys.exit(1)


@click.command()
@_CONFIG
@click.argument("digest")
@_JSON
def explain(directory: Path | None, digest: str, *, as_json: bool) -> None:
    """Say why the manifest or blob DIGEST is kept, or that it is not."""
    configure_logging()
    try:
        wanted = Digest.parse(digest)
        configuration = load(directory or configuration_directory())
        found = asyncio.run(_explain(configuration, wanted))
    except HatobaError as error:
        raise click.ClickException(error.message) from error
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        click.echo(_explanation_text(found))
    if not found.is_known:
        sys.exit(1)


async def _plan(configuration: Configuration) -> "Plan":
    from hatoba.registry.app import open_services
    from hatoba.registry.retention.reports import Reports

    async with open_services(configuration) as services:
        return await Reports(collector=services.collector).plan()


async def _explain(configuration: Configuration, digest: Digest) -> "Explanation":
    from hatoba.registry.app import open_services
    from hatoba.registry.retention.reports import Reports

    async with open_services(configuration) as services:
        return await Reports(collector=services.collector).explain(digest)


async def _collect(configuration: Configuration) -> "Collected":
    from hatoba.registry.app import open_services

    async with open_services(configuration) as services:
        return await services.collector.collect_everything()


def _plan_text(plan: "Plan") -> str:
    lines = [f"repository {name}: was deleted" for name in plan.repositories]
    lines += [f"manifest {one.repository}@{one.digest}: {one.reason}" for one in plan.manifests]
    for blob in plan.blobs:
        since = blob.quarantined_since
        note = f", in quarantine since {rfc3339(since)}" if since else ""
        lines.append(f"blob {blob.digest}: {blob.size_bytes} bytes, {blob.reason}{note}")
    lines.append(
        f"{len(plan.repositories)} repositories, {plan.expired_tags} expired tags, "
        f"{len(plan.manifests)} manifests and {len(plan.blobs)} blobs with "
        f"{plan.total_bytes} bytes would go"
    )
    return "\n".join(lines)


def _plan_json(plan: "Plan") -> str:
    decoded = asdict(plan) | {"total_bytes": plan.total_bytes}
    return json.dumps(decoded, indent=2, default=rfc3339)


def _done_text(done: "Collected") -> str:
    return (
        f"{done.namespaces} namespaces, {done.repositories} repositories, "
        f"{done.tags} tags and {done.manifests} manifests went; "
        f"{done.quarantined} blobs were quarantined, {done.taken_back} taken back, "
        f"{done.blobs} deleted, {done.bytes} bytes freed, {done.failed} failed"
    )


def _explanation_text(found: "Explanation") -> str:
    if not found.is_known:
        return f"{found.digest}: unknown"
    verdict = "kept" if found.is_kept else "not kept"
    return "\n".join([f"{found.digest}: {verdict}", *(f"  {one}" for one in found.reasons)])

"""`hatoba config`: check a configuration directory, print the schema."""

import json
import sys
from pathlib import Path

import click

from hatoba.config.loader import ConfigurationInvalid, load
from hatoba.config.schema import QuayConfig


@click.group()
def config() -> None:
    """Check config.yaml and show what it may hold."""


@config.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def validate(directory: Path) -> None:
    """Check the configuration in DIRECTORY; exits 1 when something is wrong."""
    try:
        configuration = load(directory)
    except ConfigurationInvalid as error:
        for finding in error.findings:
            click.echo(f"{finding.field}: {finding.message}", err=True)
        sys.exit(1)
    for key in configuration.unused:
        click.echo(f"{key}: not used by this release")
    click.echo(f"{directory}: valid")


@config.command()
def schema() -> None:
    """Print the JSON schema of config.yaml."""
    click.echo(json.dumps(QuayConfig.model_json_schema(by_alias=True), indent=2, sort_keys=True))

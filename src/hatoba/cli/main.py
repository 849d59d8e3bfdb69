"""The command `hatoba`: a table of commands whose modules are imported only when they are used.

Each part of the house hangs its commands into `COMMANDS` by one row; the help texts stand in the
table, so that `hatoba --help` imports none of them and answers in a fraction of a second.
"""

import importlib
import sys
from dataclasses import dataclass
from typing import Final

import click
from typing_extensions import override

from hatoba import __version__
from hatoba.kernel.errors import HatobaError


@dataclass(slots=True, frozen=True, kw_only=True)
class Entry:
    """Where a command is found, and its line in the list of commands."""

    module: str
    attribute: str
    help: str


COMMANDS: Final[dict[str, Entry]] = {
    "up": Entry(
        module="hatoba.cli.up",
        attribute="up",
        help="Start the embedded cluster, the operator and a registry.",
    ),
    "down": Entry(
        module="hatoba.cli.down", attribute="down", help="Stop the embedded cluster and its pods."
    ),
    "status": Entry(
        module="hatoba.cli.status", attribute="status", help="Say what runs, and where."
    ),
    "kubeconfig": Entry(
        module="hatoba.cli.status",
        attribute="kubeconfig",
        help="Print the path of the embedded cluster's kubeconfig.",
    ),
    "cluster": Entry(
        module="hatoba.cli.cluster",
        attribute="cluster",
        help="Run the embedded cluster in the foreground.",
    ),
    "registry": Entry(
        module="hatoba.cli.registry",
        attribute="registry",
        help="Serve, migrate and maintain a registry.",
    ),
    "backup": Entry(
        module="hatoba.cli.backup",
        attribute="backup",
        help="Back up a whole registry, and restore it.",
    ),
    "scanner": Entry(
        module="hatoba.cli.scanner", attribute="scanner", help="Serve the vulnerability scanner."
    ),
    "editor": Entry(
        module="hatoba.cli.editor", attribute="editor", help="Serve the config editor."
    ),
    "operator": Entry(
        module="hatoba.cli.operator",
        attribute="operator",
        help="Run the operator against any cluster.",
    ),
    "config": Entry(
        module="hatoba.cli.config",
        attribute="config",
        help="Check config.yaml and show what it may hold.",
    ),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and imports a command when it is called."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.attribute} is not a command")
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hatoba")
def hatoba() -> None:
    """Run a container registry platform: on a laptop, or part by part on any cluster."""


def main() -> None:
    """Run the command line; errors of ours become one line and exit code 1."""
    try:
        hatoba(prog_name="hatoba")
    except HatobaError as error:
        click.echo(f"hatoba: {error.message}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

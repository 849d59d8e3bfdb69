"""`python -m bench`: run the table, print it, write it."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bench.groups import ALL
from bench.machine import facts
from bench.model import BenchmarkFailed
from bench.plan import PLANS, Plan
from bench.report import one_line, page
from bench.rows import Context, Results, Row
from bench.runner import run_rows
from bench.servers.ours import running_ours
from bench.servers.peer import running_peer
from bench.stock import Stock
from hatoba.kernel.clock import SystemClock


@click.command()
@click.option("--plan", "label", type=click.Choice(sorted(PLANS)), default="full")
@click.option("--only", default="", help="Rows whose key contains one of these, comma-separated.")
@click.option("--list", "lists", is_flag=True, help="Print the keys of the rows and end.")
@click.option("--check", is_flag=True, help="End with 1 when a floor does not hold.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page here too, such as bench/results.md.",
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where databases and blobs lie meanwhile (default: a temporary directory).",
)
def main(
    *,
    label: str,
    only: str,
    lists: bool,
    check: bool,
    output: Path | None,
    directory: Path | None,
) -> None:
    """Measure Hatoba's registry beside docker-registry."""
    plan = PLANS[label]
    with tempfile.TemporaryDirectory(
        prefix="hatoba-bench-", dir=directory, ignore_cleanup_errors=True
    ) as made:
        place = Path(made)
        place.chmod(0o755)
        rows = select(plan, place, only=only)
        if lists:
            click.echo("\n".join(row.key for row in rows))
            return
        try:
            about = facts(plan=plan, directory=place, clock=SystemClock())

            def keep(results: Results) -> None:
                if output is not None:
                    output.write_text(page(results, facts=about))

            results = measure(rows, plan=plan, directory=place, keep=keep)
        except BenchmarkFailed as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"\n{page(results, facts=about)}")
    sys.exit(1 if check and not results.floors_hold else 0)


def select(plan: Plan, directory: Path, *, only: str) -> list[Row]:
    """Return the rows whose key contains one of the words; all where there is none."""
    context = Context(plan=plan, stock=Stock(plan=plan), directory=directory)
    words = [word for word in only.split(",") if word]
    rows = [row for group in ALL for row in group(context)]
    return [row for row in rows if not words or any(word in row.key for word in words)]


def measure(
    rows: Sequence[Row],
    *,
    plan: Plan,
    directory: Path,
    keep: Callable[[Results], None] = lambda _: None,
) -> Results:
    """Start both sides and run the rows; `keep` gets what there is after each of them."""
    results = Results()
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(running_ours(directory / "hatoba"))
        peer = stack.enter_context(running_peer(directory / "peer"))
        for item, seconds in run_rows(rows, ours=ours, peer=peer, plan=plan):
            click.echo(f"[{seconds:.0f} s] {one_line(item)}")
            results.items.append(item)
            keep(results)
    return results


if __name__ == "__main__":
    main()

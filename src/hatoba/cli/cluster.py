"""`hatoba cluster`: the embedded cluster itself, in the foreground."""

import asyncio
import signal
from contextlib import suppress

import click

from hatoba.cluster.home import Home, find_home
from hatoba.cluster.locking import hold_home
from hatoba.cluster.running import ClusterOptions, run_cluster
from hatoba.telemetry.logs import configure_logging


@click.group()
def cluster() -> None:
    """Run the embedded cluster."""


@cluster.command()
@click.option("--api-port", type=int, default=0, help="Port of the API server; 0 picks one.")
@click.option("--restart-backoff", type=float, default=10.0, show_default=True)
@click.option("--autoscaler-period", type=float, default=15.0, show_default=True)
@click.option("--supervised", is_flag=True, hidden=True)
@click.option("--debug", is_flag=True, help="Log more.")
def run(
    *,
    api_port: int,
    restart_backoff: float,
    autoscaler_period: float,
    supervised: bool,
    debug: bool,
) -> None:
    """Run the cluster until SIGTERM or Ctrl-C; its pods go on, `hatoba down` ends them."""
    configure_logging(debug=debug)
    home = find_home()
    home.prepare()
    options = ClusterOptions(
        api_port=api_port, restart_backoff=restart_backoff, autoscaler_period=autoscaler_period
    )
    if supervised:
        asyncio.run(_run(home, options))
        return
    with hold_home(home):
        asyncio.run(_run(home, options))


async def _run(home: Home, options: ClusterOptions) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(run_cluster(home, options, ready=asyncio.Event()))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task

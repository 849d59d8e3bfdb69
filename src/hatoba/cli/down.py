"""`hatoba down`: end everything that `hatoba up` started."""

import click

from hatoba.cluster.home import find_home
from hatoba.cluster.lifecycle import cluster_state, purge, stop_cluster


@click.command()
@click.option("--purge", "is_purge", is_flag=True, help="Also remove all data.")
def down(*, is_purge: bool) -> None:
    """Stop the embedded cluster and its pods; their state stays unless --purge is given."""
    home = find_home()
    ran = cluster_state(home).supervisor is not None
    containers = stop_cluster(home)
    if ran or containers:
        click.echo(f"Stopped the cluster in {home.root} and {containers} containers.")
    else:
        click.echo(f"No cluster runs in {home.root}.")
    if is_purge and purge(home):
        click.echo("Its state is removed.")

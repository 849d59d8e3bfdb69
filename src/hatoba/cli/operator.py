"""`hatoba operator`: run the operator, in a cluster or beside one; put it there, take it away."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console

from hatoba.cli.explaining import diff, explain
from hatoba.config.loader import environment
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.ids import new_uuid
from hatoba.operator.kubernetes import SERVICE_ACCOUNT, load_configuration
from hatoba.operator.process import ProcessSettings, operator_settings
from hatoba.operator.process import run as run_operator
from hatoba.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from lightkube import Client

FIELD_MANAGER: Final = "hatoba-install"


@click.group()
def operator() -> None:
    """Turn QuayRegistry resources into running registries."""


operator.add_command(explain)
operator.add_command(diff)


@operator.command()
@click.option(
    "--kubeconfig",
    default="",
    help="Which cluster; default: the pod's own, else $KUBECONFIG or ~/.kube/config.",
)
@click.option(
    "--namespace",
    default="",
    help="Look after this namespace only; default: $WATCH_NAMESPACE, else all.",
)
@click.option("--metrics-addr", default=":8080", show_default=True, help="Where /metrics is.")
@click.option("--health-addr", default=":8081", show_default=True, help="Where /healthz is.")
@click.option(
    "--reconfigure-addr", default=":7071", show_default=True, help="Where config editors post to."
)
@click.option(
    "--enable-leader-election/--disable-leader-election",
    default=False,
    help="Let one of several replicas act at a time.",
)
@click.option("--debug", is_flag=True, help="Log more.")
def run(
    *,
    kubeconfig: str,
    namespace: str,
    metrics_addr: str,
    health_addr: str,
    reconfigure_addr: str,
    enable_leader_election: bool,
    debug: bool,
) -> None:
    """Run the operator until SIGTERM."""
    configure_logging(debug=debug)
    # A line per request to the cluster would bury what the operator itself has to say.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    variables = environment()
    settings = ProcessSettings(
        operator=operator_settings(
            variables, namespace=namespace or variables.get("WATCH_NAMESPACE", "")
        ),
        kubeconfig=kubeconfig,
        service_account=Path(variables.get("HATOBA_SERVICE_ACCOUNT_DIR", str(SERVICE_ACCOUNT))),
        identity=variables.get("MY_POD_NAME", "") or f"quay-operator_{new_uuid()}",
        elect=enable_leader_election,
        bind=variables.get("HATOBA_BIND", "0.0.0.0"),  # noqa: S104 -- port-forward and probes
        metrics_address=metrics_addr,
        health_address=health_addr,
        reconfigure_address=reconfigure_addr,
    )
    asyncio.run(run_operator(settings, clock=SystemClock()))


_KUBECONFIG = click.option(
    "--kubeconfig", default="", help="Which cluster; default: $KUBECONFIG or ~/.kube/config."
)
_TIMEOUT = click.option(
    "--timeout", type=float, default=300.0, show_default=True, help="Seconds to wait."
)


@operator.command()
@_KUBECONFIG
@click.option("--overlay", default="", help="openshift or kubernetes; default: by the cluster.")
@click.option(
    "--namespace",
    default="",
    help="Where the operator runs; default: hatoba-system, or the namespace that it watches.",
)
@click.option("--watch-namespace", default="", help="Look after this namespace only; default: all.")
@click.option("--image", default="", help="The image to run instead of the one in the files.")
@click.option("--dry-run", is_flag=True, help="Let the cluster check everything, change nothing.")
@_TIMEOUT
def install(
    *,
    kubeconfig: str,
    overlay: str,
    namespace: str,
    watch_namespace: str,
    image: str,
    dry_run: bool,
    timeout: float,
) -> None:
    """Apply the operator's files to a cluster and wait until it is available."""
    # Imported late, like the client: kubernetes' models take longer to load than --help may.
    from hatoba.cli.applying import reaching  # noqa: PLC0415
    from hatoba.cli.installing import install as put  # noqa: PLC0415
    from hatoba.cli.installing import suitable_overlay  # noqa: PLC0415
    from hatoba.cli.manifests import Wanted  # noqa: PLC0415

    console = Console()
    with reaching(), _client(kubeconfig) as client:
        wanted = Wanted(
            overlay=overlay or suitable_overlay(client),
            namespace=namespace,
            watch_namespace=watch_namespace,
            image=image,
        )
        changed = put(client, wanted, console, dry_run=dry_run, timeout_seconds=timeout)
    if dry_run:
        console.print("This was a dry run: nothing was changed.")
        return
    state = "available" if changed else "available already, nothing was changed"
    console.print(f"The operator in {wanted.operator_namespace} is {state}.", highlight=False)


@operator.command()
@_KUBECONFIG
@click.option("--namespace", default="", help="Where the operator runs; default: hatoba-system.")
@click.option("--force", is_flag=True, help="Leave registries running that nobody looks after.")
@click.option("--purge", is_flag=True, help="Delete all its registries and their data, too.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, change nothing.")
@_TIMEOUT
def uninstall(
    *, kubeconfig: str, namespace: str, force: bool, purge: bool, dry_run: bool, timeout: float
) -> None:
    """Take the operator out of a cluster; refuses while it has registries."""
    from hatoba.cli.applying import reaching  # noqa: PLC0415
    from hatoba.cli.installing import Removal  # noqa: PLC0415
    from hatoba.cli.installing import uninstall as take_out  # noqa: PLC0415

    console = Console()
    removal = Removal(namespace=namespace, force=force, purge=purge, dry_run=dry_run)
    with reaching(), _client(kubeconfig) as client:
        gone = take_out(client, removal, console, timeout_seconds=timeout)
    if dry_run:
        console.print("This was a dry run: nothing was changed.")
    elif not gone:
        console.print("No operator is installed there.")


def _client(kubeconfig: str) -> "Client":
    from lightkube import Client  # noqa: PLC0415

    configuration = load_configuration(kubeconfig=kubeconfig, service_account=SERVICE_ACCOUNT)
    return Client(configuration, field_manager=FIELD_MANAGER)

"""`hatoba operator`: run the operator, in a cluster or beside one."""

import asyncio
import logging
from pathlib import Path

import click

from hatoba.cli.explaining import diff, explain
from hatoba.config.loader import environment
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.ids import new_uuid
from hatoba.operator.kubernetes import SERVICE_ACCOUNT
from hatoba.operator.process import ProcessSettings, operator_settings
from hatoba.operator.process import run as run_operator
from hatoba.telemetry.logs import configure_logging


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
@click.option("--namespace", default="", help="Look after this namespace only; default: all.")
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
        operator=operator_settings(variables, namespace=namespace),
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

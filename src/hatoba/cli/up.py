"""`hatoba up`: from nothing to a registry that people push to."""

import contextlib
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from hatoba.cli.local_api import LocalApi
from hatoba.cli.manifests import OPERATOR_NAMESPACE, samples
from hatoba.cluster.catalog.programs import find_program
from hatoba.cluster.home import Home, HomeUnusable, find_home
from hatoba.cluster.kubelet.attempts import program_of
from hatoba.cluster.kubelet.names import find_wrapper
from hatoba.cluster.kubelet.processes import is_alive
from hatoba.cluster.lifecycle import cluster_state, start_cluster
from hatoba.kernel.errors import HatobaError, Unavailable, Unsupported
from hatoba.kernel.json import JsonObject

_PODS_SECONDS: Final = 60.0
_REGISTRY_LABEL: Final = "quay-operator/quayregistry"
_POLL_SECONDS: Final = 0.3
_SERVERS: Final = (("postgres", "postgresql"), ("redis-server", "redis-server"))


@click.command()
@click.option(
    "-f",
    "--file",
    "registry_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The QuayRegistry to deploy, with what it needs; the sample by default.",
)
@click.option("--cluster-only", is_flag=True, help="Cluster and operator, no registry.")
@click.option("--api-port", type=int, default=0, help="Port of the cluster's API.")
@click.option("--timeout", type=float, default=300.0, show_default=True, help="Seconds to wait.")
def up(*, registry_file: Path | None, cluster_only: bool, api_port: int, timeout: float) -> None:
    """Start the embedded cluster, the operator and a registry; what runs already is left alone."""
    console, home = Console(), find_home()
    try:
        bring_up(
            console,
            home,
            registry_file=None if cluster_only else registry_file or samples() / "walkthrough.yaml",
            api_port=api_port,
            timeout=timeout,
        )
    except HatobaError as error:
        _tell(console, home, error)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("hatoba up: interrupted", style="bold red")
        _tell_what_runs(console, home)
        sys.exit(130)


def _tell(console: Console, home: Home, error: HatobaError) -> None:
    details = getattr(error, "details", "")
    if details:
        console.print(details, style="dim", markup=False, highlight=False, soft_wrap=True)
    console.print(f"hatoba up: {error.message}", style="bold red", markup=False, soft_wrap=True)
    _tell_what_runs(console, home)


def _tell_what_runs(console: Console, home: Home) -> None:
    with contextlib.suppress(HomeUnusable):
        if cluster_state(home).supervisor is not None:
            _tell_how_to_go_on(console, home)


def _tell_how_to_go_on(console: Console, home: Home) -> None:
    console.print("What runs keeps running: `hatoba up` goes on from here, `hatoba down` stops it.")
    console.print(
        f"Look around: export KUBECONFIG={shlex.quote(str(home.kubeconfig))}", soft_wrap=True
    )


def bring_up(
    console: Console,
    home: Home,
    *,
    registry_file: Path | None,
    api_port: int,
    timeout: float,
) -> None:
    """Do it, step by step; every step finds out whether it is done already.

    Raises:
        HatobaError: a step failed; the message says which and why.
    """
    check_machine(needs_servers=registry_file is not None)
    home.check_reachable()
    state = cluster_state(home)
    if state.is_serving:
        console.print(f"cluster   runs already, in {home.root}", highlight=False)
    else:
        with console.status("starting the cluster"):
            state = start_cluster(home, api_port=api_port)
        console.print(f"cluster   started, in {home.root}", highlight=False)
        with console.status("waiting for the pods of the last time"):
            wait_for_pods(LocalApi.from_kubeconfig(home.kubeconfig), seconds=_PODS_SECONDS)
    # Imported late: kubernetes' models take longer to load than the cluster to start.
    from hatoba.cli.deploying import deploy  # noqa: PLC0415

    deploy(
        home.kubeconfig,
        registry_file=registry_file,
        console=console,
        timeout_seconds=timeout,
    )
    if registry_file is None:
        console.print(f"export KUBECONFIG={shlex.quote(str(home.kubeconfig))}", highlight=False)


def wait_for_pods(api: LocalApi, *, seconds: float) -> None:
    """Wait while pods that ran before the cluster was stopped come up again.

    Until then what the kubelet and the operator last wrote of them is not true any more. Pods that
    do not come up in time are told of by what follows.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if all(_is_well(pod) for pod in api.items("/api/v1/pods") if _is_ours(pod)):
            return
        time.sleep(_POLL_SECONDS)


def _is_ours(pod: JsonObject) -> bool:
    meta = pod["metadata"]
    return meta["namespace"] == OPERATOR_NAMESPACE or _REGISTRY_LABEL in (meta.get("labels") or {})


def _is_well(pod: JsonObject) -> bool:
    status = pod.get("status") or {}
    if status.get("phase") in {"Succeeded", "Failed"}:
        return True
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    containers = status.get("containerStatuses") or ()
    return conditions.get("Ready") == "True" and all(_is_alive(one) for one in containers)


def _is_alive(container: JsonObject) -> bool:
    program = program_of(container.get("containerID") or "")
    return program is not None and is_alive(program)


def check_machine(*, needs_servers: bool) -> None:
    """Find out early what is missing on this machine.

    Raises:
        Unsupported: not Linux.
        Unavailable: a library or a server is not installed; the message names the packages.
    """
    if sys.platform != "linux":
        raise Unsupported("the embedded cluster runs on Linux only; the operator runs anywhere")
    problems = []
    checks: list[Callable[[], object]] = [find_wrapper]
    if needs_servers:
        checks += [_server_check(program, package) for program, package in _SERVERS]
    for check in checks:
        try:
            check()
        except HatobaError as error:
            problems.append(error.message)
    if problems:
        raise Unavailable("; ".join(problems))


def _server_check(program: str, package: str) -> Callable[[], object]:
    return lambda: find_program(program, package=package)

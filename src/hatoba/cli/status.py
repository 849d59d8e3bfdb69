"""`hatoba status` and `hatoba kubeconfig`: what runs, and how to reach it."""

import json
import sys
from typing import Any

import click

from hatoba.cli.local_api import LocalApi
from hatoba.cluster.home import Home, find_home
from hatoba.cluster.lifecycle import ClusterState, cluster_state
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject


@click.command()
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def status(*, output: str) -> None:
    """Say what runs, and where; exits 1 when no cluster runs."""
    home = find_home()
    report = describe(home)
    if output == "json":
        click.echo(json.dumps(report, indent=2))
    else:
        _print(report)
    if not report["cluster"]["running"]:
        sys.exit(1)


@click.command()
def kubeconfig() -> None:
    """Print the path of the embedded cluster's kubeconfig."""
    click.echo(find_home().kubeconfig)


def describe(home: Home) -> JsonObject:
    """Return everything that is known."""
    state = cluster_state(home)
    report: JsonObject = {
        "home": str(home.root),
        "kubeconfig": str(home.kubeconfig),
        "cluster": _cluster(state),
        "registries": [],
        "pods": [],
    }
    if state.is_serving:
        api = LocalApi.from_kubeconfig(home.kubeconfig)
        try:
            report["registries"] = [_registry(one) for one in api.items(_REGISTRIES)]
            report["pods"] = [_pod(one) for one in api.items("/api/v1/pods")]
        except HatobaError as error:
            report["cluster"]["problem"] = error.message
    return report


_REGISTRIES = "/apis/quay.redhat.com/v1/quayregistries"


def _cluster(state: ClusterState) -> JsonObject:
    return {
        "running": state.is_serving,
        "pid": state.process,
        "supervisor": state.supervisor,
        "api": f"https://127.0.0.1:{state.port}" if state.port else None,
    }


def _registry(registry: JsonObject) -> JsonObject:
    meta, found = registry["metadata"], registry.get("status") or {}
    conditions = {one["type"]: one for one in found.get("conditions") or ()}
    available: JsonObject = conditions.get("Available") or {}
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "available": available.get("status") == "True",
        "message": available.get("message", ""),
        "endpoint": found.get("registryEndpoint"),
    }


def _pod(pod: JsonObject) -> JsonObject:
    meta, found = pod["metadata"], pod.get("status") or {}
    containers: list[dict[str, Any]] = found.get("containerStatuses") or []
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "phase": found.get("phase"),
        "ready": bool(containers) and all(one["ready"] for one in containers),
        "restarts": sum(one["restartCount"] for one in containers),
    }


def _print(report: JsonObject) -> None:
    cluster = report["cluster"]
    if not cluster["running"]:
        starting = "is starting" if cluster["supervisor"] else "does not run"
        click.echo(f"The cluster in {report['home']} {starting}.")
        return
    click.echo(f"cluster     {cluster['api']}  (process {cluster['pid']}, in {report['home']})")
    click.echo(f"kubeconfig  {report['kubeconfig']}")
    if "problem" in cluster:
        click.echo(f"problem     {cluster['problem']}")
    for one in report["registries"]:
        state = "available" if one["available"] else one["message"] or "not available"
        endpoint = one["endpoint"] or "no endpoint yet"
        click.echo(f"registry    {one['namespace']}/{one['name']}  {endpoint}  {state}")
    pods = report["pods"]
    well = [one for one in pods if one["ready"] or one["phase"] == "Succeeded"]
    click.echo(f"pods        {len(well)} of {len(pods)} are well")
    for one in pods:
        if one not in well:
            click.echo(f"            {one['namespace']}/{one['name']}  {one['phase']}")

"""`hatoba operator explain` and `diff`: how a registry is, and what a change would do.

Both look with the rights of whoever asks and write nothing.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import click
import yaml

from hatoba.config.loader import environment
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.errors import Forbidden, HatobaError, InvalidInput, NotFound
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.difference import Change, Effect
from hatoba.operator.explanation import Explanation, Node
from hatoba.operator.inspecting import Inspector
from hatoba.operator.kubernetes import SERVICE_ACCOUNT, Cluster, connected, load_configuration
from hatoba.operator.model import OperatorSettings
from hatoba.operator.previewing import Preview, explained, previewed
from hatoba.operator.process import operator_settings

DIFFERENT: Final = 1
REFUSED: Final = 2
"""As `kubectl diff`: 1 says that there are differences, more says that it did not work."""
_OPERATOR: Final = "quay-operator"


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what both commands ask for."""
    for option in (
        click.option(
            "--operator-namespace",
            default="hatoba-system",
            show_default=True,
            help="Where the operator runs: its Deployment says which images and version it uses.",
        ),
        click.option("-n", "--namespace", default="", help="Default: the kubeconfig's namespace."),
        click.option("--kubeconfig", default="", help="Default: $KUBECONFIG or ~/.kube/config."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("name")
@click.option("--logs", default=3, show_default=True, help="Last lines of each unwell container.")
@_options
def explain(
    *, name: str, logs: int, kubeconfig: str, namespace: str, operator_namespace: str
) -> None:
    """Say how a registry is and the one thing to do; exits 1 when it is not well."""

    async def work() -> int:
        async with _inspecting(kubeconfig, namespace, operator_namespace) as (inspector, settings):
            registry = await inspector.registry(name)
            if registry is None:
                raise NotFound(
                    f"there is no QuayRegistry {name} in namespace {inspector.namespace}"
                )
            found = await explained(inspector, registry, settings=settings, lines=logs)
            _print_explanation(found, inspector)
            return 0 if found.is_well else DIFFERENT

    _run(work)


@click.command()
@click.option(
    "-f",
    "--filename",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True),
    help="A QuayRegistry, and the Secret with its bundle if that changes too; - reads stdin.",
)
@_options
def diff(*, filename: Path, kubeconfig: str, namespace: str, operator_namespace: str) -> None:
    """Show what a changed QuayRegistry would create, change and restart, or why it is refused.

    Exits 0 when nothing would happen, 1 when something would, 2 when it is refused.
    """

    async def work() -> int:
        registry, secrets = _read(filename)
        wanted = namespace or str(registry["metadata"].get("namespace") or "")
        async with _inspecting(kubeconfig, wanted, operator_namespace) as (inspector, settings):
            found = await previewed(
                inspector, registry, secrets, settings=settings, now=SystemClock().now()
            )
            _print_preview(found, inspector)
            if found.refusal is not None:
                return REFUSED
            return DIFFERENT if found.spec or found.changes else 0

    _run(work)


def _run(work: Callable[[], Coroutine[Any, Any, int]]) -> None:
    try:
        code = asyncio.run(work())
    except HatobaError as error:
        click.echo(f"hatoba: {error.message}", err=True)
        code = REFUSED
    sys.exit(code)


def _read(filename: Path) -> tuple[JsonObject, list[JsonObject]]:
    """Return the one QuayRegistry of a file, and its Secrets."""
    text = sys.stdin.read() if str(filename) == "-" else filename.read_text()
    try:
        found = [obj for obj in yaml.safe_load_all(text) if isinstance(obj, dict)]
    except yaml.YAMLError as error:
        raise InvalidInput(f"{filename} is not YAML: {error}") from error
    registries = [obj for obj in found if obj.get("kind") == names.KIND]
    if len(registries) != 1 or not (registries[0].get("metadata") or {}).get("name"):
        raise InvalidInput(
            f"{filename} holds {len(registries)} QuayRegistries with a name, not one"
        )
    return registries[0], [obj for obj in found if obj.get("kind") == "Secret"]


@asynccontextmanager
async def _inspecting(
    kubeconfig: str, namespace: str, operator_namespace: str
) -> AsyncIterator[tuple[Inspector, OperatorSettings]]:
    configuration = load_configuration(kubeconfig=kubeconfig, service_account=SERVICE_ACCOUNT)
    single = configuration.get()
    place = namespace or (single.namespace if single is not None else "default")
    async with connected(configuration) as cluster:
        settings = await _operators_settings(cluster, operator_namespace)
        inspector = Inspector(cluster, settings=settings, namespace=place)
        await inspector.load()
        yield inspector, settings


async def _operators_settings(cluster: Cluster, namespace: str) -> OperatorSettings:
    """Read the operator's settings from its Deployment; ours where that is not to be seen."""
    try:
        found = await cluster.find("Deployment", _OPERATOR, namespace=namespace)
    except Forbidden:
        found = None
    if found is None:
        click.echo(
            f"note: no Deployment {_OPERATOR} in namespace {namespace} to read images and version "
            "from; taking this environment's",
            err=True,
        )
        return operator_settings(environment())
    container = found["spec"]["template"]["spec"]["containers"][0]
    variables = {
        entry["name"]: entry.get("value") or namespace
        for entry in container.get("env") or []
        if "value" in entry or entry["name"] == "MY_POD_NAMESPACE"
    }
    watched = [
        argument.partition("=")[2]
        for argument in container.get("args") or []
        if argument.startswith("--namespace=")
    ]
    return operator_settings(variables, namespace=watched[0] if watched else "")


def _print_explanation(found: Explanation, inspector: Inspector) -> None:
    _print_tree(found.tree, depth=0)
    _print_unseen(inspector)
    click.echo(f"\nDo this: {found.step}")


def _print_tree(node: Node, *, depth: int) -> None:
    click.echo(f"{'  ' * depth}{node.mark} {node.text}")
    for child in node.children:
        _print_tree(child, depth=depth + 1)


def _print_preview(found: Preview, inspector: Inspector) -> None:
    _print_unseen(inspector)
    for line in found.spec:
        click.echo(f"spec      {line}")
    if found.refusal is not None:
        click.echo(f"refused   {found.refusal.reason}: {found.refusal.message}")
        return
    for change in found.changes:
        _print_change(change)
    for note in found.notes:
        click.echo(f"note      {note}")
    restarts = [change.name for change in found.changes if change.effect is Effect.RESTART]
    if not found.changes:
        click.echo("Nothing would change.")
    elif not restarts:
        click.echo("No pod would be restarted.")


def _print_change(change: Change) -> None:
    click.echo(f"{change.effect:<9} {change.kind} {change.name}")
    for detail in change.details:
        click.echo(f"{'':<12}{detail}")


def _print_unseen(inspector: Inspector) -> None:
    for kind, fault in inspector.unseen.items():
        click.echo(f"note: {kind} objects are left out: {fault}", err=True)

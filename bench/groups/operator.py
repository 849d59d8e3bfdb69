"""The operator with many registries, against the embedded cluster's API without a kubelet.

Operator and API are processes of their own, so that each one's CPU time is its own; whatever a
cluster does beside (routers, volumes, pods) is played at once, so that the time is the operator's
and the API's.
"""

import contextlib
import json
import select
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from bench.load.cluster import BROKEN, TOKEN
from bench.model import BenchmarkFailed, Finding
from bench.plan import MIB, Plan
from bench.processes import cpu_seconds, memory
from bench.rows import Context, Trial
from bench.sampling import Reading, watched
from bench.servers.ours import Ours
from bench.servers.side import end, free_port
from hatoba.config.loader import environment

FIRST_SECONDS: Final = 120.0
SECONDS_EACH: Final = 5.0
"""A run is given up after so long, and so much more for each registry."""
START_SECONDS: Final = 60.0
ONE_BY_ONE: Final = 5
"""So many registries are created one after the other, with and without the broken ones."""
REQUESTS: Final = "hatoba_operator_api_requests_total{"
WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(slots=True, frozen=True, kw_only=True)
class ManyRegistries:
    """So many registries are created at once; how long until all are available, at what cost."""

    context: Context

    def __call__(self, _ours: Ours) -> Sequence[Finding]:
        """Measure.

        Raises:
            BenchmarkFailed: a process ended, or not all registries became available.
        """
        plan = self.context.plan
        directory = self.context.directory / "operator"
        directory.mkdir(exist_ok=True)
        with (
            _cluster(plan.registries, plan.namespaces) as cluster,
            _operator(directory, cluster.address) as operator,
        ):
            load = _converging(cluster, operator, plan=plan)
            beside = _calm(cluster, operator, plan=plan)
            cluster.do("mend")
            without = _calm(cluster, operator, plan=plan)
        return [*load, *_calm_findings(beside, without, plan=plan)]


def _converging(cluster: "_Cluster", operator: "_Operator", *, plan: Plan) -> list[Finding]:
    """Have all registries created at once; say what it took until they were available."""
    roots, api_roots = (operator.pid,), (cluster.process.pid,)
    said: dict[str, float] = {}
    api_before, before = cpu_seconds(api_roots), cpu_seconds(roots)
    asked = operator.requests()
    started = time.monotonic()
    _, readings = watched(roots, lambda: said.update(cluster.do("all")))
    seconds = time.monotonic() - started
    used = cpu_seconds(roots) - before
    api_used = cpu_seconds(api_roots) - api_before
    done = operator.requests()
    count = plan.registries
    made = {method: done.get(method, 0) - asked.get(method, 0) for method in done}
    writes = sum(made.get(method, 0) for method in WRITES)
    return [
        Finding(
            label="load",
            text=f"{count} QuayRegistries in {plan.namespaces} namespaces at once, beside"
            f" {BROKEN} that are blocked",
        ),
        Finding(
            label="until all are Available",
            text=f"{seconds:.1f} s, {count / seconds:.2f} registries/s; the first after"
            f" {said['first_seconds']:.1f} s, half of them after {said['half_seconds']:.1f} s",
        ),
        Finding(
            label="requests to the API",
            text=f"{sum(made.values()) / count:.0f} for each registry, {writes / count:.0f} of"
            f" them writes; {sum(made.values()) / seconds:.0f}/s",
        ),
        Finding(
            label="CPU time",
            text=f"operator {used:.1f} s ({1000 * used / count:.0f} ms for each registry),"
            f" API with the cluster's other parts {api_used:.1f} s"
            f" ({1000 * api_used / count:.0f} ms)",
        ),
        _memory(readings, api_rss=memory(api_roots).rss_bytes / MIB),
    ]


@dataclass(slots=True, frozen=True, kw_only=True)
class _Calm:
    """The operator when all it can do is done."""

    one_more_seconds: float
    """Until one more registry was available, in the median."""
    writes: int
    cpu_seconds: float


def _calm(cluster: "_Cluster", operator: "_Operator", *, plan: Plan) -> _Calm:
    """Time registries that come one by one; then watch the operator while nothing is asked."""
    times = []
    for _ in range(ONE_BY_ONE):
        started = time.monotonic()
        cluster.do("one")
        times.append(time.monotonic() - started)
    time.sleep(plan.idle_seconds)
    settled, used = operator.requests(), cpu_seconds((operator.pid,))
    time.sleep(plan.idle_seconds)
    later = operator.requests()
    return _Calm(
        one_more_seconds=statistics.median(times),
        writes=sum(later.get(method, 0) - settled.get(method, 0) for method in WRITES),
        cpu_seconds=cpu_seconds((operator.pid,)) - used,
    )


def _calm_findings(beside: _Calm, without: _Calm, *, plan: Plan) -> list[Finding]:
    share = 100 / plan.idle_seconds
    return [
        Finding(
            label="one more, until Available",
            text=f"{beside.one_more_seconds:.2f} s beside the {BROKEN} that are blocked,"
            f" {without.one_more_seconds:.2f} s without them (median of {ONE_BY_ONE})",
        ),
        Finding(
            label=f"{plan.idle_seconds:g} s afterwards",
            text=f"{beside.writes} writes and CPU {share * beside.cpu_seconds:.1f} % of one core"
            f" beside the blocked; without them {without.writes} writes,"
            f" CPU {share * without.cpu_seconds:.1f} %",
        ),
    ]


def _memory(readings: Sequence[Reading], *, api_rss: float) -> Finding:
    rss = max(reading.memory.rss_bytes for reading in readings) / MIB
    return Finding(
        label="memory",
        text=f"RSS of the operator at most {rss:.0f} MiB, of the API at the end {api_rss:.0f} MiB",
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class _Cluster:
    process: "subprocess.Popen[bytes]"
    address: str
    limit_seconds: float

    def do(self, command: str) -> dict[str, float]:
        """Have something done and wait for that; return the figures that are told of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()
        said = json.loads(_line(self.process, seconds=self.limit_seconds))
        return {key: value for key, value in said.items() if isinstance(value, float)}


@dataclass(slots=True, frozen=True, kw_only=True)
class _Operator:
    pid: int
    metrics_port: int

    def requests(self) -> dict[str, int]:
        """Return how many requests it has sent, by method."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        found: dict[str, int] = {}
        for line in lines:
            if line.startswith(REQUESTS):
                method = line.split('method="', 1)[1].split('"', 1)[0]
                found[method] = found.get(method, 0) + int(float(line.rsplit(" ", 1)[1]))
        return found


@contextlib.contextmanager
def _cluster(registries: int, namespaces: int) -> Iterator[_Cluster]:
    command = [sys.executable, "-m", "bench.load.cluster", str(registries), str(namespaces)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            said = json.loads(_line(process, seconds=START_SECONDS))
            limit = FIRST_SECONDS + SECONDS_EACH * registries
            yield _Cluster(process=process, address=said["address"], limit_seconds=limit)
        finally:
            end(process, number=signal.SIGTERM)


@contextlib.contextmanager
def _operator(directory: Path, address: str) -> Iterator[_Operator]:
    kubeconfig = directory / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": {"server": f"http://{address}"}}],
        "users": [{"name": "bench", "user": {"token": TOKEN}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }
    kubeconfig.write_text(yaml.safe_dump(content))
    metrics, health, reconfigure = (free_port() for _ in range(3))
    command = [
        *(sys.executable, "-m", "hatoba.cli.main", "operator", "run"),
        f"--kubeconfig={kubeconfig}",
        f"--metrics-addr=127.0.0.1:{metrics}",
        f"--health-addr=127.0.0.1:{health}",
        f"--reconfigure-addr=127.0.0.1:{reconfigure}",
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**environment(), "MY_POD_NAMESPACE": "hatoba-system"},
        )
    try:
        _until_ready(process, health)
        yield _Operator(pid=process.pid, metrics_port=metrics)
    finally:
        end(process, number=signal.SIGTERM)


def _until_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{port}/readyz"
            with urllib.request.urlopen(url, timeout=5):
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkFailed("the operator did not become ready")
        time.sleep(0.1)


def _line(process: "subprocess.Popen[bytes]", *, seconds: float) -> str:
    """Read a line of a process's output."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    line = process.stdout.readline().decode() if ready else ""
    if not line:
        raise BenchmarkFailed(f"the cluster said nothing for {seconds:.0f} s, or ended")
    return line


def rows(context: Context) -> Sequence[Trial]:
    """Return the rows of this group."""
    plan = context.plan
    return [
        Trial(
            key="operator-many",
            title=f"operator with {plan.registries} registries in {plan.namespaces} namespaces",
            run=ManyRegistries(context=context),
        )
    ]

"""One table of what people type, run by each generation of kubectl against pods that really run."""

import re
import shlex
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.kubectls import find, kubectl

from hatoba.cli.manifests import deployment_directory
from hatoba.cluster.home import Home
from hatoba.cluster.kubelet.names import WrapperMissing, find_wrapper
from hatoba.cluster.lifecycle import purge, start_cluster, stop_cluster

pytestmark = [pytest.mark.cluster, pytest.mark.kubectl]
GENERATIONS = ("1.27", "1.30", "1.32", "1.33")

WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "shell",
                        "image": "busybox:1",
                        "command": ["sh", "-c", "echo here I am; exec sleep 1000"],
                        "env": [{"name": "COLOUR", "value": "blue"}],
                        "resources": {"requests": {"cpu": "10m"}},
                    }
                ],
            },
        },
    },
}
SHORT = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "short", "labels": {"app": "short"}},
    "spec": {
        "restartPolicy": "Never",
        "containers": [
            {"name": "c", "image": "busybox:1", "command": ["sh", "-c", "echo a; sleep 1; echo b"]}
        ],
    },
}
SCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 1,
        "maxReplicas": 4,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 90},
                },
            }
        ],
    },
}
REGISTRY = {
    "apiVersion": "quay.redhat.com/v1",
    "kind": "QuayRegistry",
    "metadata": {"name": "example"},
    "spec": {"components": [{"kind": "clair", "managed": False}]},
}
UNKNOWN_FIELD = {**REGISTRY, "metadata": {"name": "other"}, "spec": {"configBundel": "x"}}


def manifest(*objects: dict) -> str:
    return yaml.safe_dump_all(objects)


def changed(**spec) -> str:
    before: dict = WEB["spec"]  # type: ignore[assignment]
    return manifest({**WEB, "spec": {**before, **spec}})


@dataclass(frozen=True, slots=True)
class Line:
    """A command, what it says (a pattern in its output), and its exit code."""

    command: str
    says: str = ""
    code: int = 0
    stdin: str = ""
    since: int = 0
    """The first minor version that can do it."""
    until: int = 99
    patience: float = 0
    """Seconds after which it must hold, for what is measured now and then."""


ALL = manifest(WEB, SHORT, REGISTRY)
TABLE = (
    Line("create -f -", r"deployment\.apps/web created\npod/short created\n.*example created", stdin=ALL),
    Line("create -f -", r'\(AlreadyExists\).*deployments\.apps "web" already exists', 1, ALL),
    Line("create -f -", r'strict decoding error: unknown field "spec.configBundel"', 1, manifest(UNKNOWN_FIELD)),
    Line("wait pod/short --for=jsonpath={.status.phase}=Succeeded --timeout=20s", "condition met"),
    Line("logs -f short", r"^a\nb\n$"),
    Line("logs short --tail=1", r"^b\n$"),
    Line("rollout status deploy/web --timeout=30s", "successfully rolled out"),
    Line("wait deploy/web --for=condition=Available --timeout=20s", "web condition met"),
    Line("get pods", r"^NAME +READY +STATUS +RESTARTS +AGE\nshort +0/1 +Completed +0 .*\n(web-\S+ +1/1 +Running +0 +\d+s\n){2}$"),
    Line("get pods -o wide -l app=web", r"IP +NODE +NOMINATED NODE +READINESS GATES\n.* 127\.\d+\.\d+\.\d+ "),
    Line("get pods -o name", r"^pod/short\n(pod/web-\S+\n){2}$"),
    Line("get pods -l app=web -o jsonpath={.items[*].status.phase}", "^Running Running$"),
    Line("get pods --field-selector=status.phase=Succeeded -o name", "^pod/short\n$"),
    Line("get pods -o custom-columns=N:.metadata.name,P:.status.phase", r"^N +P\nshort +Succeeded\n"),
    Line("get pod short -o yaml", r"kind: Pod\n(.*\n)*  phase: Succeeded"),
    Line("get pod nobody", r'\(NotFound\): pods "nobody" not found', 1),
    Line("get deploy,rs", r"deployment\.apps/web +2/2 +2 +2 (.*\n)+NAME +DESIRED .*\nreplicaset\.apps/web-\S+ +2 +2 +2 "),
    Line("get quayregistry", r"^NAME +VERSION +ENDPOINT +AVAILABLE +AGE\nexample .*\d+s\n$"),
    Line("get quayregistry example -o yaml", r"  components:\n  - kind: clair\n    managed: false\n"),
    Line("get quayregistry example -o jsonpath={.spec.components[0].kind}", "^clair$"),
    Line("describe quayregistry example", r"Kind: +QuayRegistry\n(.*\n)*.*Managed: +false"),
    Line("describe deploy web", r"RollingUpdateStrategy: .*\n(.*\n)*Events:\n(.*\n)*.*ScalingReplicaSet"),
    Line("describe pod short", r"State: +Terminated\n +Reason: +Completed\n(.*\n)*Events:\n(.*\n)*.*Started container c"),
    Line("get events", r"^LAST SEEN +TYPE +REASON +OBJECT +MESSAGE\n(.*\n)*.* Started +pod/short +Started container c"),
    Line("events --for pod/short", r"Started +Pod/short"),
    Line("logs deploy/web", "here I am\n"),
    Line("exec deploy/web -- sh -c 'echo $COLOUR; exit 3'", r"blue\n.*exit code 3", 3, since=30),
    Line("exec -i deploy/web -- cat", "^typed\n$", stdin="typed\n", since=30),
    Line("exec deploy/web -- true", r"(?i)(error|unable).*(websocket|upgrade)", 1, until=29),
    Line("diff -f -", r"\n-  replicas: 2\n\+  replicas: 3\n", 1, changed(replicas=3)),
    Line("apply --server-side -f -", r'conflict with "kubectl-create".*\.spec\.replicas', 1, changed(replicas=3)),
    Line("scale deploy/web --replicas=3", "web scaled"),
    Line("wait deploy/web --for=jsonpath={.status.readyReplicas}=3 --timeout=20s", "condition met"),
    Line("apply --server-side --force-conflicts -f -", "serverside-applied", stdin=changed(replicas=3)),
    Line("apply --server-side -f -", "serverside-applied", stdin=manifest(SCALER)),
    Line("get hpa", r"^NAME +REFERENCE +TARGETS +MINPODS +MAXPODS +REPLICAS +AGE\nweb +Deployment/web "),
    Line("describe hpa web", r"Min replicas: +1\n"),
    Line("delete hpa web", "deleted"),
    Line("apply -f -", r"example configured", stdin=manifest({**REGISTRY, "spec": {"components": []}})),
    Line("apply -f -", r"example unchanged", stdin=manifest({**REGISTRY, "spec": {"components": []}})),
    Line("rollout restart deploy/web", "web restarted"),
    Line("rollout status deploy/web --timeout=30s", "successfully rolled out"),
    Line("rollout history deploy/web", r"REVISION +CHANGE-CAUSE\n1 .*\n2 "),
    Line("explain deployment.spec.replicas", r"KIND: +Deployment\n(.*\n)*FIELD: replicas"),
    Line("explain quayregistry.spec.components", r"KIND: +QuayRegistry\n(.*\n)*.*managed"),
    Line("label deploy web tier=front", "web labeled"),
    Line("annotate deploy web note=x", "web annotate"),
    Line("top pods -l app=web", r"^NAME +CPU\(cores\) +MEMORY\(bytes\)\s*\n(web-\S+ +\d+m +\d+Mi\s*\n)+$", patience=20),
    Line("api-resources --api-group=quay.redhat.com", r"quayregistries +quay\.redhat\.com/v1 +true +QuayRegistry"),
    Line("delete deploy/web pod/short quayregistry/example --timeout=30s", 'deployment.apps "web" deleted'),
    Line("wait pods --all --for=delete --timeout=30s", ""),
    Line("get pods", "^No resources found in .* namespace.\n$"),
)  # fmt: skip


@pytest.fixture(scope="module")
def home():
    try:
        find_wrapper()
    except WrapperMissing as missing:
        pytest.skip(missing.message)
    with tempfile.TemporaryDirectory(prefix="hatoba-smoke-") as place:
        Path(place).chmod(0o711)
        found = Home(Path(place) / "home")
        found.prepare()
        found.catalog.write_text("- {image: 'busybox:*'}\n")
        try:
            start_cluster(found)
            yield found
        finally:
            stop_cluster(found)
            purge(found)


def run(client: Path, home: Home, words: list[str], *, stdin: str = "") -> tuple[int, str]:
    done = subprocess.run(
        [client, *words],
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
        env={"KUBECONFIG": str(home.kubeconfig), "HOME": str(home.root), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def walks(home):
    """What goes wrong with each generation that is installed: all walk beside each other."""
    there = [version for version in GENERATIONS if find(version) is not None]
    with ThreadPoolExecutor(max_workers=len(GENERATIONS)) as threads:
        running = {version: threads.submit(walk, home, version) for version in there}
    return {version: ended.result() for version, ended in running.items()}


def walk(home: Home, version: str) -> list[str]:
    """Go through the table in a namespace of its own; return what was not as it has to be."""
    client = kubectl(version)
    minor = int(version.partition(".")[2])
    namespace = f"smoke-{minor}"
    for words in (
        ["apply", "--server-side", "-k", str(deployment_directory() / "crd")],
        ["create", "namespace", namespace],
    ):
        code, output = run(client, home, words)
        if code:
            return [output]
    wrong = []
    for line in TABLE:
        if line.since <= minor <= line.until:
            wrong += differences(client, home, namespace, line)
    code, output = run(client, home, ["delete", "namespace", namespace, "--timeout=40s"])
    return [*wrong, output] if code else wrong


@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", GENERATIONS)
def test_each_generation_of_kubectl_does_what_people_type(walks, version):
    kubectl(version)
    assert not walks[version], "\n".join(walks[version])


def differences(client: Path, home: Home, namespace: str, line: Line) -> list[str]:
    words = ["-n", namespace, *shlex.split(line.command)]
    deadline = time.monotonic() + line.patience
    while True:
        code, output = run(client, home, words, stdin=line.stdin)
        if code == line.code and re.search(line.says, output):
            return []
        if time.monotonic() >= deadline:
            break
        time.sleep(0.5)
    return [f"{line.command}: exit {code}, expected {line.code} and {line.says!r}:\n{output}"]

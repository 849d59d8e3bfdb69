import pytest
import yaml
from tests.cluster.api.served import Shell
from tests.kubectls import kubectl

from hatoba.cluster.objects import PODS

pytestmark = [pytest.mark.anyio, pytest.mark.kubectl]

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {
            "plural": "widgets",
            "singular": "widget",
            "kind": "Widget",
            "shortNames": ["wd"],
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "description": "A widget.",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "size": {"type": "integer", "description": "How large."}
                                },
                            }
                        },
                    }
                },
            }
        ],
    },
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "x:1"}]},
        },
    },
}


def manifest(*objects):
    return yaml.safe_dump_all(objects)


@pytest.fixture(params=["1.32"])
def version(request):
    return request.param


@pytest.fixture
def shell(tls_cluster, version):
    objects, home = tls_cluster
    return Shell(kubectl(version), home, objects)


async def test_a_custom_resource_is_usable_as_soon_as_it_is_defined(shell):
    await shell.run("create", "-f", "-", stdin=manifest(DEFINITION))
    await shell.run(
        "wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=5s"
    )
    widget = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"size": 3},
    }
    assert (
        await shell.run("create", "-f", "-", stdin=manifest(widget))
        == "widget.example.com/w created\n"
    )
    table = await shell.run("get", "wd")
    assert table.splitlines()[0].split() == ["NAME", "SIZE"]
    assert table.splitlines()[1].split() == ["w", "3"]
    assert "How large." in await shell.run("explain", "widget.spec.size")
    unknown = {**widget, "metadata": {"name": "x"}, "spec": {"sise": 1}}
    refused = await shell.run("create", "-f", "-", stdin=manifest(unknown), expect=1)
    assert 'unknown field "spec.sise"' in refused
    await shell.run("delete", "wd", "w")
    await shell.run("delete", "crd", "widgets.example.com")
    assert "could not find the requested resource" in await shell.run("get", "wd", expect=1)


async def test_generators_send_protobuf_and_get_what_they_ask_for(shell):
    await shell.run("create", "namespace", "made")
    await shell.run("create", "serviceaccount", "robot", "-n", "made")
    await shell.run("create", "secret", "generic", "s", "--from-literal=a=1", "-n", "made")
    await shell.run("create", "configmap", "c", "--from-literal=a=1", "-n", "made")
    await shell.run("create", "deployment", "web", "--image=x:1", "--replicas=2", "-n", "made")
    await shell.run("create", "job", "j", "--image=x:1", "-n", "made", "--", "echo", "hi")
    await shell.run("create", "service", "clusterip", "svc", "--tcp=80:8080", "-n", "made")
    await shell.run("create", "role", "r", "--verb=get", "--resource=pods", "-n", "made")
    await shell.run(
        "create", "rolebinding", "rb", "--role=r", "--serviceaccount=made:robot", "-n", "made"
    )
    assert (
        await shell.run("get", "secret", "s", "-n", "made", "-o", "jsonpath={.data.a}")
    ) == "MQ=="
    service = await shell.run(
        "get", "svc", "svc", "-n", "made", "-o", "jsonpath={.spec.ports[0].targetPort}"
    )
    assert service == "8080"
    token = await shell.run("create", "token", "robot", "-n", "made")
    who = await shell.run("auth", "whoami", f"--token={token.strip()}")
    assert "system:serviceaccount:made:robot" in who
    assert await shell.run("auth", "can-i", "create", "pods") == "yes\n"


async def test_client_side_apply_diff_scale_and_set(shell):
    assert (
        await shell.run("apply", "-f", "-", stdin=manifest(DEPLOYMENT))
        == "deployment.apps/web created\n"
    )
    again = await shell.run("apply", "-f", "-", stdin=manifest(DEPLOYMENT))
    assert again == "deployment.apps/web unchanged\n"
    changed = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 3}}
    diff = await shell.run("diff", "-f", "-", stdin=manifest(changed), expect=1)
    assert "-  replicas: 2" in diff
    assert "+  replicas: 3" in diff
    await shell.run("scale", "deploy", "web", "--replicas=5")
    await shell.run("set", "image", "deploy/web", "c=x:2")
    await shell.run("set", "env", "deploy/web", "A=B")
    columns = "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].env[0].value}"
    assert await shell.run("get", "deploy", "web", "-o", columns) == "5 x:2 B"
    assert "0/5" in await shell.run("get", "deploy", "web")
    assert "RollingUpdate" in await shell.run("describe", "deploy", "web")
    await shell.run("delete", "deploy", "web", "--timeout=5s")


async def test_logs_exec_and_top_ask_the_node(shell):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "x:1"}], "nodeName": "n"},
    }
    await shell.objects.create(PODS, pod, manager="test")
    assert await shell.run("logs", "p") == "one\ntwo\nthree\n"
    assert await shell.run("logs", "p", "--tail=1") == "three\n"
    refused = await shell.run("logs", "p", "-c", "nope", expect=1)
    assert "container nope is not valid for pod p" in refused
    assert "started" in await shell.run("exec", "p", "--", "true", "0")
    failed = await shell.run("exec", "p", "--", "false", "3", expect=3)
    assert "exit code 3" in failed
    assert "typed" in await shell.run("exec", "-i", "p", "--", "cat", stdin="typed\n")
    assert (
        await shell.run("top", "pod")
        == "NAME   CPU(cores)   MEMORY(bytes)   \np      3m           10Mi            \n"
    )
    events = await shell.run("events")
    assert events == "No events found in default namespace.\n"
    assert "Containers:" in await shell.run("describe", "pod", "p")


@pytest.mark.parametrize("version", ["1.27", "1.30", "1.32", "1.33"], indirect=True)
async def test_each_generation_of_kubectl_creates_reads_changes_and_deletes(shell):
    await shell.run("create", "-f", "-", stdin=manifest(DEFINITION, DEPLOYMENT))
    await shell.run("create", "configmap", "c", "--from-literal=a=1")
    assert "a" in await shell.run("get", "configmap", "c", "-o", "yaml")
    assert "NAME" in await shell.run("get", "deploy")
    await shell.run("patch", "configmap", "c", "-p", '{"data":{"a":"2"}}')
    await shell.run(
        "apply",
        "-f",
        "-",
        stdin=manifest({**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 1}}),
    )
    await shell.run("label", "deploy", "web", "x=y")
    await shell.run("wait", "--for=jsonpath={.data.a}=2", "configmap/c", "--timeout=5s")
    assert "How large" in await shell.run("explain", "widgets.spec")
    await shell.run(
        "delete", "deploy/web", "configmap/c", "crd/widgets.example.com", "--timeout=5s"
    )

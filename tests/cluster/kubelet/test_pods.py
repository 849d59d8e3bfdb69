"""Pods as processes: started, watched, restarted, ended, adopted."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.cluster.kubelet.conftest import (
    TestNode,
    eventually,
    is_over,
    is_ready,
    is_running,
    running_node,
    shell,
)

from hatoba.cluster.kubelet.attempts import living
from hatoba.cluster.node import LogRequest
from hatoba.cluster.objects import CONFIG_MAPS, EVENTS, PODS, SECRETS
from hatoba.kernel.errors import InvalidInput, NotFound

pytestmark = pytest.mark.anyio
CLAIM = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}


def container(pod: dict, index: int = 0) -> dict:
    return pod["status"]["containerStatuses"][index]


def restarts(status: dict) -> int:
    return sum(one["restartCount"] for one in status.get("containerStatuses") or ())


def pid_of(pod: dict) -> int:
    return int(container(pod)["containerID"].removeprefix("hatoba://").partition("-")[0])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def text_of(node: TestNode, pod: str, name: str = "c0", **more) -> str:
    chunks = node.kubelet.logs("default", pod, LogRequest(container=name, **more))
    return b"".join([chunk async for chunk in chunks]).decode()


async def test_a_pod_without_probes_is_ready_when_its_program_runs(node):
    await node.run_pod("plain", shell("exec sleep 100"))
    pod = await node.until("plain", is_ready)
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["podIP"].startswith("127.240.")
    assert is_alive(pid_of(pod))


async def test_a_program_that_ends_well_completes_its_pod(node):
    await node.run_pod("job", shell("echo done"), restartPolicy="Never")
    pod = await node.until("job", is_over)
    assert pod["status"]["phase"] == "Succeeded"
    assert container(pod)["state"]["terminated"]["reason"] == "Completed"
    assert await text_of(node, "job") == "done\n"


async def test_the_exit_code_of_a_failure_is_shown(node):
    await node.run_pod("job", shell("exit 7"), restartPolicy="Never")
    pod = await node.until("job", is_over)
    assert pod["status"]["phase"] == "Failed"
    assert container(pod)["state"]["terminated"]["exitCode"] == 7


async def test_a_crashing_program_is_restarted_with_back_off(node):
    await node.run_pod("crash", shell("echo boom; exit 1"))
    pod = await node.until(
        "crash",
        lambda status: any(
            one["restartCount"] >= 1 and one["state"].get("waiting", {}).get("reason")
            for one in status.get("containerStatuses") or ()
        ),
    )
    assert container(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 1
    assert pod["status"]["phase"] == "Running"
    assert await text_of(node, "crash", previous=True) == "boom\n"
    await node.until("crash", lambda status: restarts(status) >= 3)
    assert "BackOff" in await node.reasons("crash")


@pytest.mark.parametrize("sort", [{"emptyDir": {}}, {"ephemeral": {"volumeClaimTemplate": CLAIM}}])
async def test_init_containers_run_one_after_the_other_before_the_main_one(node, sort):
    init = [
        {"name": "i1", "image": "x/tiny:1", **shell("echo one >> $OUT; sleep 0.1")},
        {"name": "i2", "image": "x/tiny:1", **shell("echo two >> $OUT")},
    ]
    volumes = [{"name": "shared", **sort}]
    mount = {
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        "env": [{"name": "OUT", "value": "/shared/order"}],
    }
    await node.run_pod(
        "pod",
        {**shell("cat $OUT"), **mount},
        initContainers=[{**one, **mount} for one in init],
        volumes=volumes,
        restartPolicy="Never",
    )
    pod = await node.until("pod", is_over)
    assert pod["status"]["phase"] == "Succeeded"
    assert await text_of(node, "pod") == "one\ntwo\n"
    assert [one["ready"] for one in pod["status"]["initContainerStatuses"]] == [True, True]


async def test_a_failing_init_container_keeps_the_main_one_from_starting(node):
    init = {"name": "i1", "image": "x/tiny:1", **shell("exit 4")}
    await node.run_pod("pod", shell("touch x"), initContainers=[init], restartPolicy="Never")
    pod = await node.until("pod", is_over)
    assert pod["status"]["phase"] == "Failed"
    assert container(pod)["state"] == {"waiting": {"reason": "PodInitializing"}}


async def test_a_sidecar_runs_beside_and_ends_after_the_main_container(node):
    sidecar = {"name": "side", "image": "x/tiny:1", **shell("exec sleep 100")}
    await node.run_pod(
        "pod",
        shell("sleep 0.2"),
        initContainers=[{**sidecar, "restartPolicy": "Always"}],
        restartPolicy="Never",
    )
    pod = await node.until("pod", is_over)
    assert pod["status"]["phase"] == "Succeeded"
    assert "terminated" in pod["status"]["initContainerStatuses"][0]["state"]


async def test_a_failing_liveness_probe_restarts_the_program(node):
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    await node.run_pod("pod", shell("exec sleep 100", livenessProbe=probe))
    await node.until("pod", is_running)
    await node.until("pod", lambda status: restarts(status) == 1)
    assert {"Unhealthy", "Killing"} <= set(await node.reasons("pod"))


async def test_readiness_follows_its_probe(node):
    probe = {"exec": {"command": ["test", "-e", "/flags/ready"]}, "periodSeconds": 1}
    await node.run_pod(
        "pod",
        {
            **shell("exec sleep 100", readinessProbe=probe),
            "volumeMounts": [{"name": "flags", "mountPath": "/flags"}],
        },
        volumes=[{"name": "flags", "emptyDir": {}}],
    )
    pod = await node.until("pod", is_running)
    assert container(pod)["ready"] is False
    flags = next(node.home.pods.glob("*/volumes/flags"))
    (flags / "ready").touch()
    await node.until("pod", is_ready)
    (flags / "ready").unlink()
    await node.until("pod", lambda status: is_running(status) and not is_ready(status))


async def test_an_exec_probe_that_takes_too_long_is_killed_and_counts_as_a_failure(node):
    question = {"command": ["sh", "-c", "echo $$ >> $0; exec sleep 1000", "/flags/asked"]}
    probe = {"exec": question, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1}
    await node.run_pod(
        "pod",
        {
            **shell("exec sleep 100", livenessProbe=probe),
            "volumeMounts": [{"name": "flags", "mountPath": "/flags"}],
        },
        volumes=[{"name": "flags", "emptyDir": {}}],
    )
    await node.until("pod", lambda status: restarts(status) >= 1)

    async def told():
        events = (await node.objects.list(EVENTS)).items
        return {one["message"] for one in events if one["reason"] == "Unhealthy"}

    await eventually(told)
    assert await told() == {"Liveness probe failed: command timed out after 1s"}
    asked = next(node.home.pods.glob("*/volumes/flags")) / "asked"
    assert not is_alive(int(asked.read_text().split()[0]))


async def test_a_startup_probe_holds_the_other_probes_back(node):
    startup = {"exec": {"command": ["test", "-e", "/flags/started"]}, "periodSeconds": 1}
    liveness = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    await node.run_pod(
        "pod",
        {
            **shell("exec sleep 100", startupProbe=startup, livenessProbe=liveness),
            "volumeMounts": [{"name": "flags", "mountPath": "/flags"}],
        },
        volumes=[{"name": "flags", "emptyDir": {}}],
    )
    pod = await node.until("pod", is_running)
    assert container(pod)["started"] is False
    assert "Killing" not in await node.reasons("pod")
    (next(node.home.pods.glob("*/volumes/flags")) / "started").touch()
    await node.until("pod", lambda status: restarts(status) >= 1)


async def test_http_and_tcp_probes_ask_the_pods_own_address(node):
    server = "import http.server as h; h.HTTPServer(('$(IP)', 8080), h.SimpleHTTPRequestHandler).serve_forever()"
    await node.run_pod(
        "pod",
        {
            "command": ["python3", "-c", server],
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "ports": [{"name": "http", "containerPort": 8080}],
            "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            "readinessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 1},
        },
    )
    await node.until("pod", is_ready)


async def test_deletion_lets_the_program_end_in_good_order(node):
    script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    await node.run_pod("pod", shell(script))
    pod = await node.until("pod", is_running)
    log = next(node.home.pods.glob("*/containers/c0/attempts/0/log"))
    await eventually(lambda: "up" in log.read_text())
    await node.objects.delete(PODS, "pod", "default")
    ended = await node.until("pod", is_over)
    assert container(ended)["state"]["terminated"]["exitCode"] == 0
    await node.until_gone("pod")
    assert not is_alive(pid_of(pod))
    assert list(node.home.pods.iterdir()) == []


async def test_what_ignores_its_end_is_killed_after_the_grace_period(node):
    await node.run_pod("pod", shell("trap '' TERM; while :; do sleep 0.05; done"))
    pod = await node.until("pod", is_running)
    await node.objects.delete(PODS, "pod", "default")
    await node.until_gone("pod")
    assert not is_alive(pid_of(pod))


async def test_a_container_takes_its_children_along(node):
    await node.run_pod("pod", shell("setsid sleep 1000 & echo $!; exec sleep 1000"))
    await node.until("pod", is_running)
    text = await eventually(lambda: text_of(node, "pod"))
    child = int(text)
    assert is_alive(child)
    await node.objects.delete(PODS, "pod", "default", grace_seconds=0)
    await eventually(lambda: not is_alive(child))


async def test_a_killed_program_is_started_again(node):
    await node.run_pod("pod", shell("exec sleep 100"))
    pod = await node.until("pod", is_running)
    os.kill(pid_of(pod), signal.SIGKILL)
    again = await node.until(
        "pod",
        lambda status: is_running(status) and restarts(status) == 1,
    )
    assert container(again)["lastState"]["terminated"]["exitCode"] == 137


async def test_a_killed_shim_costs_one_restart_and_leaves_nothing(node):
    await node.run_pod("pod", shell("sleep 1000 & echo $!; wait"))
    await node.until("pod", is_running)
    text = await eventually(lambda: text_of(node, "pod"))
    _, started = next(living(node.home.pods))
    os.kill(started.shim.pid, signal.SIGKILL)
    await node.until(
        "pod",
        lambda status: is_running(status) and restarts(status) == 1,
    )
    assert not is_alive(started.program.pid)
    assert not is_alive(int(text))


async def test_a_new_cluster_process_adopts_what_runs(node):
    await node.run_pod("pod", shell("exec sleep 100"))
    before = await node.until("pod", is_ready)
    await node.stop()
    assert is_alive(pid_of(before))
    await node.start()
    await node.kubelet._context.informers.synced([PODS])
    await asyncio.sleep(0.2)
    after = await node.get("pod")
    assert container(after) == container(before)
    assert after["status"]["podIP"] == before["status"]["podIP"]
    await node.objects.delete(PODS, "pod", "default")
    await node.until_gone("pod")
    assert not is_alive(pid_of(before))


async def test_what_ended_while_no_cluster_ran_is_started_again(node):
    await node.run_pod("pod", shell("exec sleep 100"))
    before = await node.until("pod", is_running)
    await node.stop()
    os.kill(pid_of(before), signal.SIGKILL)
    await node.start()
    after = await node.until(
        "pod",
        lambda status: is_running(status) and restarts(status) == 1,
    )
    assert pid_of(after) != pid_of(before)


async def test_programs_of_unknown_pods_are_ended(node):
    await node.run_pod("pod", shell("exec sleep 100"))
    pod = await node.until("pod", is_running)
    await node.stop()
    await node.objects.delete(PODS, "pod", "default", grace_seconds=0)
    await node.start()
    await eventually(lambda: not is_alive(pid_of(pod)))


async def test_a_missing_secret_is_told_and_its_arrival_noticed(node):
    reference = {"secretKeyRef": {"name": "late", "key": "k"}}
    await node.run_pod(
        "pod", shell("echo $A; exec sleep 100", env=[{"name": "A", "valueFrom": reference}])
    )
    pod = await node.until(
        "pod",
        lambda status: any(
            one["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError"
            for one in status.get("containerStatuses") or ()
        ),
    )
    assert container(pod)["state"]["waiting"]["message"] == 'secret "late" not found'
    await node.create(SECRETS, "Secret", "late", stringData={"k": "v"})
    await node.until("pod", is_running)
    assert await eventually(lambda: text_of(node, "pod")) == "v\n"


async def test_a_missing_volume_keeps_the_pod_creating(node):
    await node.run_pod(
        "pod",
        {**shell("cat /v/k"), "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        volumes=[{"name": "v", "secret": {"secretName": "late"}}],
        restartPolicy="Never",
    )
    await eventually(lambda: node.reasons("pod"))
    assert set(await node.reasons("pod")) == {"FailedMount"}
    assert container(await node.get("pod"))["state"] == {"waiting": {"reason": "ContainerCreating"}}


async def test_a_changed_config_map_reaches_the_running_pod(node):
    made = await node.create(CONFIG_MAPS, "ConfigMap", "conf", data={"key": "one"})
    await node.run_pod(
        "pod",
        {"args": ["/conf/key"], "volumeMounts": [{"name": "v", "mountPath": "/conf"}]}
        | {"command": ["tail", "-F"]},
        volumes=[{"name": "v", "configMap": {"name": "conf"}}],
    )
    await node.until("pod", is_running)
    file = next(node.home.pods.glob("*/containers/c0/root")) / "conf" / "key"
    assert file.read_text() == "one"
    await node.objects.update(CONFIG_MAPS, {**made, "data": {"key": "two"}}, manager="test")
    await eventually(lambda: file.read_text() == "two")


async def test_an_unknown_image_is_told_as_one_that_cannot_be_pulled(node):
    await node.run_pod("pod", {"image": "example.com/absent:1"})
    pod = await node.until(
        "pod",
        lambda status: any(
            one["state"].get("waiting", {}).get("reason") == "ImagePullBackOff"
            for one in status.get("containerStatuses") or ()
        ),
    )
    assert pod["status"]["phase"] == "Pending"
    with pytest.raises(InvalidInput, match="trying and failing to pull image"):
        await text_of(node, "pod")


async def test_a_program_that_does_not_exist_is_an_error_of_its_container(node):
    await node.run_pod("pod", {"command": ["/no/such/program"]}, restartPolicy="Never")
    pod = await node.until("pod", is_over)
    terminated = container(pod)["state"]["terminated"]
    assert terminated["exitCode"] == 128
    assert "no such file" in terminated["message"]


async def test_a_program_that_cannot_be_executed_is_tried_with_back_off(node):
    await node.run_pod("pod", {"command": ["/no/such/program"]})
    await node.until("pod", lambda status: restarts(status) >= 2)
    assert (await node.reasons("pod")).count("BackOff") >= 1


async def test_a_pod_past_its_deadline_fails(node):
    await node.run_pod(
        "pod", shell("exec sleep 100"), activeDeadlineSeconds=1, restartPolicy="Never"
    )
    pod = await node.until("pod", is_over)
    assert pod["status"]["reason"] == "DeadlineExceeded"


async def test_exec_runs_with_the_containers_environment_and_mounts(node):
    await node.create(CONFIG_MAPS, "ConfigMap", "conf", data={"key": "value"})
    await node.run_pod(
        "pod",
        {
            **shell("exec sleep 100", env=[{"name": "GREETING", "value": "hello"}]),
            "volumeMounts": [{"name": "v", "mountPath": "/conf"}],
        },
        volumes=[{"name": "v", "configMap": {"name": "conf"}}],
    )
    await node.until("pod", is_running)
    session = await node.kubelet.execute(
        "default",
        "pod",
        "c0",
        ["sh", "-c", 'cat "$1"; echo $GREETING >&2; cat; exit 3', "-", "/conf/key"],
        stdin=True,
    )
    await session.write(b"typed")
    await session.write(b"")
    output = {1: b"", 2: b""}
    async for channel, data in session.output():
        output[channel] += data
    assert output == {1: b"valuetyped", 2: b"hello\n"}
    assert await session.wait() == 3


async def test_exec_needs_a_running_container(node):
    with pytest.raises(NotFound):
        await node.kubelet.execute("default", "none", "c0", ["true"], stdin=False)


async def test_logs_are_followed_to_the_end(node):
    await node.run_pod("pod", shell("echo one; sleep 0.3; echo two"), restartPolicy="Never")
    await node.until("pod", is_running)
    assert await text_of(node, "pod", follow=True) == "one\ntwo\n"


async def test_use_is_measured(node):
    await node.run_pod("pod", shell("while :; do :; done"))
    await node.until("pod", is_running)
    usage = await eventually(lambda: node.kubelet.usage("default", "pod"))
    assert usage[0].cpu_nanocores > 10_000_000
    assert usage[0].memory_bytes > 100_000


async def test_back_off_has_no_bound_below_the_configured_one(place):
    async with running_node(place, restart_backoff=1000.0, longest_backoff=300.0) as node:
        await node.run_pod("crash", shell("exit 1"))
        pod = await node.until(
            "crash",
            lambda status: any(
                one["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
                for one in status.get("containerStatuses") or ()
            ),
        )
        assert "back-off 5m0s restarting" in container(pod)["state"]["waiting"]["message"]


async def test_what_has_no_effect_is_told(node):
    await node.run_pod("pod", shell("exec sleep 100", tty=True), hostNetwork=True)
    await node.until("pod", is_running)
    await eventually(lambda: node.reasons("pod"))
    assert "Unsupported" in await node.reasons("pod")


async def test_pods_move_to_new_addresses_when_the_old_ones_are_lost(node):
    await node.run_pod("pod", shell("exec sleep 100"))
    before = await node.until("pod", is_ready)
    await node.stop()
    node.block += 1
    await node.start()
    after = await node.until("pod", lambda status: status.get("podIP", "").startswith("127.241."))
    after = await node.until("pod", is_ready)
    assert not is_alive(pid_of(before))
    assert restarts(after["status"]) == 1


async def test_a_hook_runs_before_the_program_is_told_to_end(node):
    hook = {"preStop": {"exec": {"command": ["touch", "/flags/told"]}}}
    script = "trap 'ls /proc/self > /dev/null; test -e $F && echo told; exit 0' TERM; echo up; "
    await node.run_pod(
        "pod",
        {
            **shell(script + "while :; do sleep 0.05; done", lifecycle=hook),
            "env": [{"name": "F", "value": "/flags/told"}],
            "volumeMounts": [{"name": "flags", "mountPath": "/flags"}],
        },
        volumes=[{"name": "flags", "emptyDir": {}}],
        terminationGracePeriodSeconds=5,
    )
    await node.until("pod", is_running)
    await eventually(lambda: text_of(node, "pod"))
    follow = asyncio.create_task(text_of(node, "pod", follow=True))
    await asyncio.sleep(0)
    await node.objects.delete(PODS, "pod", "default")
    assert await follow == "up\ntold\n"
    await node.until_gone("pod")


async def test_a_path_within_a_volume_may_depend_on_variables(node):
    mount = {"name": "v", "mountPath": "/data", "subPathExpr": "of-$(NAME)"}
    name = {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    await node.run_pod(
        "pod",
        {"command": ["touch", "/data/here"], "env": [name], "volumeMounts": [mount]},
        volumes=[{"name": "v", "emptyDir": {}}],
        restartPolicy="Never",
    )
    assert (await node.until("pod", is_over))["status"]["phase"] == "Succeeded"
    assert next(node.home.pods.glob("*/volumes/v/of-pod/here")).exists()

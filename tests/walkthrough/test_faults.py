"""Whatever is killed heals by itself, and what was pushed is still there, byte for byte."""

import json
import os
import signal
from pathlib import Path

import pytest
from tests.walkthrough.embedded import NAMESPACE, REGISTRY
from tests.walkthrough.images import Layout, random_files
from tests.walkthrough.story import PASSWORD, USER
from tests.walkthrough.watching import conditions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def image(registry, tmp_path_factory):
    """A pushed image: (reference, bytes of its manifest)."""
    layout = Layout(tmp_path_factory.mktemp("faults") / "image")
    descriptor = layout.image([random_files(1), random_files(2)])
    registry.copy(layout.tag("kept", descriptor), "testorg/kept:1")
    return layout, descriptor


def pull_is_byte_for_byte(registry, image, directory: Path) -> bool:
    layout, _ = image
    registry.home.shell(
        f"skopeo copy --src-tls-verify=false --src-creds {USER}:{PASSWORD} "
        f"docker://{registry.host}/testorg/kept:1 dir:{directory}"
    )
    for kept in (layout.directory / "blobs/sha256").iterdir():
        pulled = directory / kept.name
        if pulled.exists() and pulled.read_bytes() != kept.read_bytes():
            return False
    return len(list(directory.iterdir())) >= 5


def available(home) -> dict:
    return conditions(home.get("quayregistry", REGISTRY))["Available"]


def hold_recovery(home) -> Path:
    """Make the database wait at its next start, recovering, until the returned file is there.

    Recovery asks for what follows in an archive, and does not go on before it is answered.
    """
    pod = home.get("deployment", f"{REGISTRY}-quay-database")["spec"]["template"]["spec"]
    claim = pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
    volume = home.get("pvc", claim)["spec"]["volumeName"]
    shown = json.loads(home.kubectl("get", "pv", volume, "-o", "json"))
    data = Path(shown["spec"]["hostPath"]["path"]) / "userdata"
    gate = data / "gate"
    (data / "recovery.signal").touch(mode=0o666)
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(
            f"restore_command = 'touch {data}/asked; until test -e {gate}; do sleep 0.1; done; false'\n"
        )
    return gate


def running_pods(home) -> dict[str, dict]:
    return {
        pod["metadata"]["name"]: pod
        for pod in home.pods()
        if pod["status"]["phase"] == "Running" and not pod["metadata"].get("deletionTimestamp")
    }


def restarts(pod: dict) -> int:
    return sum(status["restartCount"] for status in pod["status"]["containerStatuses"])


def kill(home, pod: str, namespace: str = NAMESPACE) -> None:
    """kill -9 the pod's process, found as a person would: by the container's id."""
    status = home.get("pod", pod, namespace=namespace)["status"]["containerStatuses"][0]
    os.kill(int(status["containerID"].rsplit("/", 1)[1].split("-")[0]), signal.SIGKILL)


@pytest.mark.parametrize(
    "family",
    ["quay-app", "quay-database", "quay-redis", "quay-mirror", "clair-app", "clair-postgres",
     "quay-config-editor"],
)  # fmt: skip
def test_a_killed_pod_comes_back(registry, image, family, tmp_path):
    home = registry.home
    name, pod = next(
        (name, pod) for name, pod in running_pods(home).items() if f"{REGISTRY}-{family}-" in name
    )
    kill(home, name)

    def healed():
        now = running_pods(home).get(name)
        return (
            now and restarts(now) > restarts(pod) and now["status"]["containerStatuses"][0]["ready"]
        )

    home.until(healed, what=f"{name} restarted and ready", timeout=120)
    home.available()
    assert pull_is_byte_for_byte(registry, image, tmp_path / "pulled")


def test_a_database_that_recovers_is_not_available_before_it_answers(registry, image, tmp_path):
    home = registry.home
    name, pod = next(
        (name, pod) for name, pod in running_pods(home).items()
        if f"{REGISTRY}-quay-database-" in name
    )  # fmt: skip
    gate = hold_recovery(home)
    try:
        kill(home, name)
        home.until(gate.with_name("asked").exists, what="a recovery that waits")
        home.until(
            lambda: available(home)["status"] == "False",
            what="Available=False while the database recovers", timeout=60,
        )  # fmt: skip
        assert not running_pods(home)[name]["status"]["containerStatuses"][0]["ready"]
    finally:
        gate.touch(mode=0o666)
    home.available()
    assert pull_is_byte_for_byte(registry, image, tmp_path / "pulled")
    assert restarts(running_pods(home)[name]) == restarts(pod) + 1


def test_a_killed_operator_comes_back_and_works(registry, image):
    home = registry.home
    pod = home.get("pods", namespace="hatoba-system")["items"][0]
    kill(home, pod["metadata"]["name"], "hatoba-system")
    home.kubectl("delete", "service", f"{REGISTRY}-quay-redis", "-n", NAMESPACE)
    home.until(
        lambda: home.kubectl("get", "service", f"{REGISTRY}-quay-redis", "-n", NAMESPACE, check=False)
        .startswith("NAME"),
        what="the deleted Service again", timeout=120,
    )  # fmt: skip
    home.available()


def test_a_killed_api_server_comes_back_and_pods_survive(registry, image, tmp_path):
    home = registry.home
    before = {name: restarts(pod) for name, pod in running_pods(home).items()}
    pid = json.loads(home.hatoba("status", "--output", "json"))["cluster"]["pid"]
    os.kill(pid, signal.SIGKILL)
    home.until(
        lambda: home.kubectl("get", "--raw", "/readyz", check=False) == "ok",
        what="the API again", timeout=60,
    )  # fmt: skip
    home.available()
    after = {name: restarts(pod) for name, pod in running_pods(home).items()}
    assert after == before
    assert pull_is_byte_for_byte(registry, image, tmp_path / "pulled")


@pytest.mark.parametrize("owned", ["deployment", "service", "serviceaccount", "hpa"])
def test_a_deleted_owned_object_is_created_again(registry, owned):
    home = registry.home
    name = f"{REGISTRY}-quay-app"
    uid = home.get(owned, name)["metadata"]["uid"]
    home.kubectl("delete", owned, name, "-n", NAMESPACE, timeout=200)

    def again():
        shown = home.kubectl("get", owned, name, "-n", NAMESPACE, "-o", "json", check=False)
        return shown.startswith("{") and json.loads(shown)["metadata"]["uid"] != uid

    home.until(again, what=f"{owned} created again", timeout=60)
    home.available()

"""podman and buildah against a running registry."""

import json
import os
import shutil
import subprocess
import tempfile

import pytest
from tests.blackbox.images import layer_tar

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(params=["podman", "buildah"])
def client(request, registry, tmp_path):
    """Run a client whose images, containers and credentials lie in a directory of the test's."""
    program = request.param
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: apt-get install {program}")
    # podman refuses run roots longer than 50 characters.
    short = tempfile.mkdtemp(prefix="pod")
    storage = [f"--root={short}/root", f"--runroot={short}/run", "--storage-driver=vfs"]
    environment = {**os.environ, "REGISTRY_AUTH_FILE": f"{tmp_path}/auth.json"}

    def run(*arguments, stdin=None, fails=False) -> str:
        done = subprocess.run(
            [program, *storage, *arguments],
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
            env=environment,
        )
        assert (done.returncode != 0) == fails, done.stderr.decode()
        return (done.stderr if fails else done.stdout).decode()

    run.program = program
    run(
        "login",
        "--tls-verify=false",
        "--username=admin",
        "--password-stdin",
        registry.host,
        stdin=registry.users["admin"].encode(),
    )
    yield run
    shutil.rmtree(short, ignore_errors=True)


def make_image(client, tmp_path, name) -> str:
    """Make an image of one layer without running anything; return its id."""
    tar = tmp_path / "layer.tar"
    tar.write_bytes(layer_tar({"hello": os.urandom(50_000)}))
    if client.program == "podman":
        return client("import", str(tar), name).strip().split("\n")[-1]
    container = client("from", "--pull=never", "scratch").strip()
    client("add", container, str(tar), "/")
    return client("commit", container, name).strip().split("\n")[-1]


def test_login_push_remove_and_pull(client, registry, tmp_path) -> None:
    name = f"{registry.host}/admin/{client.program}:v1"
    image = make_image(client, tmp_path, name)
    client("push", "--tls-verify=false", name)
    client("rmi", "--force", image)
    client("pull", "--tls-verify=false", name)
    kind = ["--type=image"] if client.program == "buildah" else []
    inspected = json.loads(client("inspect", *kind, name))
    found = inspected[0]["Id"] if isinstance(inspected, list) else inspected["FromImageID"]
    assert found.removeprefix("sha256:") == image.removeprefix("sha256:")


def test_a_wrong_password_fails_the_login(client, registry) -> None:
    complaint = client(
        "login",
        "--tls-verify=false",
        "--username=stranger",
        "--password-stdin",
        registry.host,
        stdin=b"wrong",
        fails=True,
    )
    assert "invalid username/password" in complaint

"""The image, built from its Containerfile and run as OpenShift would run it.

Its base is made by debootstrap (`HATOBA_TEST_IMAGE_BASE` names an image to take instead), its
containers run with a file system that cannot be written and a user that nobody knows. PostgreSQL
and Redis are processes of this machine.
"""

import base64
import http.client
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from tests.blackbox.conftest import free_port
from tests.blackbox.images import Layout

pytestmark = [pytest.mark.image, pytest.mark.postgres, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/hatoba:test"
USER = "1000770000:0"
PROGRAMS = ("buildah", "podman", "runc", "debootstrap", "skopeo", "redis-server")
RUN = (
    "podman", "--cgroup-manager", "cgroupfs", "run", "--runtime", "runc", "--network", "host",
    "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--read-only", "--user", USER,
    "--cap-drop", "all",
)  # fmt: skip
PSK = base64.b64encode(b"p" * 32).decode()


def command(*words, check=True, **options):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0 or not check, f"{words}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Give the name of an image that has Python."""
    if given := os.environ.get("HATOBA_TEST_IMAGE_BASE"):
        return given
    root = tmp_path_factory.mktemp("base") / "root"
    packages = "--include=python3,python3-venv,ca-certificates"
    command("debootstrap", "--variant=minbase", packages, "bookworm", str(root))
    command("bash", "-c", f"tar -C {root} -c . | podman import - localhost/hatoba-base:test")
    shutil.rmtree(root)
    return "localhost/hatoba-base:test"


@pytest.fixture(scope="module")
def image(base):
    environment = {**os.environ, "BUILDAH_OPTIONS": "--isolation chroot --network host"}
    command(str(ROOT / "deploy" / "build-image"), base, IMAGE, env=environment)
    return IMAGE


@pytest.fixture(scope="module", autouse=True)
def programs():
    if os.geteuid() != 0:
        pytest.skip("building a base with debootstrap needs root")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: apt-get install {' '.join(missing)}")


@contextmanager
def container(image, *words, mounts=(), environment=None, options=()):
    """Run a container as long as the context lasts; give a function that tells its log."""
    name = f"hatoba-test-{free_port()}"
    flags = [f"--volume={source}:{target}" for source, target in mounts]
    flags += [f"--env={key}={value}" for key, value in (environment or {}).items()]
    command(*RUN, "--detach", "--name", name, *flags, *options, image, *words)
    try:
        yield lambda: command("podman", "logs", name) + command("podman", "inspect", name)[:0]
    finally:
        command("podman", "rm", "--force", "--time", "15", name)


def get(port, path, *, host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_for(port, path, *, host="127.0.0.1", seconds=60, log):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if get(port, path, host=host)[0] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, log()
        time.sleep(0.2)


def shared(directory, mode=0o2775):
    """Make a directory as a volume comes: for group 0."""
    directory.mkdir(parents=True)
    os.chown(directory, 65534, 0)
    directory.chmod(mode)
    return directory


@pytest.fixture
def redis(tmp_path):
    port = free_port()
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", "."]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


def configuration(directory, url, *, port, redis, scanner):
    storage = ["LocalStorage", {"storage_path": "registry"}]
    content = {
        "BROWSER_API_CALLS_XHR_ONLY": False,
        "BUILDLOGS_REDIS": {"host": "127.0.0.1", "port": redis},
        "DATABASE_SECRET_KEY": "d" * 64,
        "DB_URI": url,
        "DISTRIBUTED_STORAGE_CONFIG": {"default": storage},
        "DISTRIBUTED_STORAGE_PREFERENCE": ["default"],
        "FEATURE_REPO_MIRROR": True,
        "FEATURE_SECURITY_SCANNER": True,
        "FEATURE_USER_INITIALIZE": True,
        "SECRET_KEY": "s" * 64,
        "SECURITY_SCANNER_REGISTRY_URL": f"http://127.0.0.1:{port}",
        "SECURITY_SCANNER_V4_ENDPOINT": f"http://127.0.0.1:{scanner}",
        "SECURITY_SCANNER_V4_PSK": PSK,
        "SERVER_HOSTNAME": f"localhost:{port}",
        "SUPER_USERS": ["admin"],
        "USER_EVENTS_REDIS": {"host": "127.0.0.1", "port": redis},
    }
    shared(directory)
    (directory / "config.yaml").write_text(yaml.safe_dump(content))
    return directory


def scanner_configuration(directory, url, *, port, introspection):
    shared(directory)
    content = {
        "http_listen_addr": f"127.0.0.1:{port}",
        "introspection_addr": f"127.0.0.1:{introspection}",
        "indexer": {"connstring": url, "migrations": True},
        "matcher": {"connstring": url, "migrations": True, "disable_updaters": True},
        "auth": {"psk": {"key": PSK, "iss": ["quay"]}},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(content))
    return directory


def initialize(port):
    body = {"username": "admin", "password": "password1", "email": "a@example.com"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(
        "POST",
        "/api/v1/user/initialize",
        json.dumps(body | {"access_token": True}),
        {"Content-Type": "application/json"},
    )
    response = connection.getresponse()
    answer = json.loads(response.read())
    assert response.status == 200, answer
    connection.close()
    return answer["access_token"]


def scanned(port, token, digest, *, seconds=90):
    """Wait until the registry has a report of an image, and return its state."""
    deadline = time.monotonic() + seconds
    path = f"/api/v1/repository/admin/first/manifest/{digest}/security"
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        if answer.get("status") not in ("queued", None) or time.monotonic() > deadline:
            return answer.get("status"), answer
        time.sleep(1)


def test_registry_scanner_mirror_and_editor_work_with_each_other(
    image, tmp_path, redis, postgres_server
):
    port, scanner, introspection, editor = (free_port() for _ in range(4))
    tmp_path.chmod(0o755)
    data = shared(tmp_path / "data")
    layout = Layout(tmp_path / "layout")
    with postgres_server.database() as url, postgres_server.database() as scanner_url:
        conf = configuration(tmp_path / "conf", url, port=port, redis=redis, scanner=scanner)
        clair = scanner_configuration(
            tmp_path / "clair", scanner_url, port=scanner, introspection=introspection
        )
        mounts = [(conf, "/conf/stack"), (data, "/datastorage")]
        variables = {"HATOBA_DATA": "/datastorage", "HATOBA_BIND": "127.3.3.3"}
        listen = ("--listen", f"127.0.0.1:{port}")
        command(
            *RUN, "--rm", *(f"--volume={a}:{b}" for a, b in mounts), image, "registry", "migrate"
        )
        with (
            container(image, "registry", "serve", *listen, mounts=mounts, environment=variables) as log,
            container(image, "scanner", "serve", mounts=[(clair, "/clair")]) as scanner_log,
            container(
                image, "registry", "worker", "mirror", mounts=mounts,
                environment=variables | {"HATOBA_BIND": "127.3.3.4"},
            ) as mirror_log,
            container(
                image, "editor", "serve", "--port", str(editor), mounts=mounts,
                environment={"QUAY_PASSWORD": "pw", "QUAY_CONFIG_PATH": "/conf/stack", "HATOBA_BIND": "127.0.0.1"},
            ) as editor_log,
        ):  # fmt: skip
            wait_for(port, "/health/instance", log=log)
            wait_for(introspection, "/readyz", log=scanner_log)
            token = initialize(port)
            descriptor = layout.add_image(seed=1)
            source, digest = layout.name(descriptor, "one"), descriptor["digest"]
            creds = ("--dest-creds=admin:password1", "--dest-tls-verify=false")
            target = f"docker://localhost:{port}/admin/first:1"
            command("skopeo", "copy", *creds, source, target)
            back = command(
                "skopeo", "inspect", "--creds=admin:password1", "--tls-verify=false", target
            )
            assert json.loads(back)["Digest"] == digest
            status, answer = scanned(port, token, digest)
            assert status == "scanned", (answer, log(), scanner_log())
            assert get(editor, "/")[0] == 401, editor_log()
            assert "mirror" in mirror_log()
            assert data.stat().st_uid == 65534
            assert {path.stat().st_gid for path in data.rglob("*")} == {0}


def test_its_file_system_stays_as_it_was_built(image):
    """A container that writes beside its volumes would show here as a failure to start."""
    assert command(*RUN, "--rm", "--read-only-tmpfs=false", image, "--version")
    listed = json.loads(command("podman", "image", "inspect", image))[0]
    assert listed["Config"]["User"] == "1001:0"
    assert listed["Config"]["Entrypoint"] == ["/opt/hatoba/bin/hatoba"]
    print(f"{listed['Size'] / 1e6:.0f} MB in {len(listed['RootFS']['Layers'])} layers")


def test_nothing_of_the_build_is_left_in_it(image):
    done = subprocess.run(
        [*RUN, "--rm", "--entrypoint", "python3", image, "-c", "import os; print(os.listdir('/'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "wheels" not in done.stdout

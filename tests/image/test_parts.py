"""The parts from the image against each other, with PostgreSQL and Redis."""

import asyncio
import base64
import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator

import pytest
from tests.image.parts import (
    EDITOR,
    MIRROR,
    OPERATOR,
    PASSWORD,
    PORT,
    REGISTRY,
    RUN,
    SCANNER,
    ask,
    command,
    handed_over,
    redis_server,
    registry_config,
    running,
    scanner_config,
    volume,
)
from tests.operator.conftest import a_kubeconfig, a_world
from tests.peers import docker_registry
from tests.walkthrough.images import Layout, random_files
from tests.walkthrough.test_parts import ADVISORIES, DPKG_STATUS, OS_RELEASE

pytestmark = [
    pytest.mark.image,
    pytest.mark.postgres,
    pytest.mark.clients,
    pytest.mark.timeout(900),
]


class Parts:
    def __init__(self, directory, config, clair, registry, mirror, peer):
        self.directory = directory
        self.config = config
        self.clair = clair
        self.registry = registry
        self.mirror = mirror
        self.peer = peer
        self.token = ""

    def api(self, method, path, **body):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        status, content = ask(
            REGISTRY, PORT, method, f"/api/v1{path}", body=body or None, headers=headers
        )
        assert status < 300, (status, content, self.registry.log()[-3000:])
        return json.loads(content or "null")

    def until_api(self, path, question, what, *, part=None):
        (part or self.registry).until(lambda: question(self.api("GET", path)), what)

    def initialize(self):
        answer = self.api(
            "POST", "/user/initialize", username="admin", password=PASSWORD,
            email="admin@example.com", access_token=True,
        )  # fmt: skip
        self.token = answer["access_token"]

    def push(self, reference, repository):
        command(
            "skopeo", "copy", "-q", "--dest-tls-verify=false", f"--dest-creds=admin:{PASSWORD}",
            reference, f"docker://{REGISTRY}:{PORT}/{repository}", timeout=120,
        )  # fmt: skip


@pytest.fixture(scope="module")
def parts(image, postgres_server, tmp_path_factory) -> Iterator[Parts]:
    """A registry with scanner and mirror, each from the image."""
    directory = tmp_path_factory.mktemp("parts")
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres_server.database())
        clair = stack.enter_context(postgres_server.database())
        redis_port = stack.enter_context(redis_server(directory))
        conf = handed_over(directory / "conf", registry_config(database, redis_port))
        clair_conf = handed_over(directory / "clair", scanner_config(clair))
        data = volume(directory, "data")
        volumes = (f"{conf}:/conf/stack:ro", f"{data}:/datastorage")
        command(*RUN, "--rm", *(f"--volume={one}" for one in volumes), image, "registry", "migrate")
        environment = ("HATOBA_DATA=/datastorage",)
        peer = stack.enter_context(docker_registry(volume(directory, "peer")))
        authority = conf / "extra_ca_cert_peer.crt"
        authority.write_bytes(peer.certificate.read_bytes())
        authority.chmod(0o644)
        registry = stack.enter_context(
            running(
                image, "registry", "serve", bind=REGISTRY, volumes=volumes, environment=environment
            )
        )
        scanner = stack.enter_context(
            running(image, "scanner", "serve", bind=SCANNER, volumes=(f"{clair_conf}:/clair:ro",))
        )
        mirror = stack.enter_context(
            running(
                image,
                "registry",
                "worker",
                "mirror",
                bind=MIRROR,
                volumes=volumes,
                environment=environment,
            )
        )
        registry.until_it_answers(REGISTRY, PORT, "/health/instance")
        scanner.until_it_answers(SCANNER, 8089, "/healthz")
        found = Parts(directory, conf, clair_conf, registry, mirror, peer)
        found.initialize()
        yield found


@pytest.fixture(scope="module")
def pushed(parts, tmp_path_factory):
    layout = Layout(tmp_path_factory.mktemp("images") / "layout")
    system = {"etc/os-release": OS_RELEASE, "usr/lib/os-release": OS_RELEASE}
    made = layout.image([system, {"var/lib/dpkg/status": DPKG_STATUS}, random_files(1)])
    parts.push(layout.tag("v1", made), "admin/app:v1")
    return made["digest"]


def test_an_image_is_pushed_and_pulled_back(parts, pushed, tmp_path):
    command(
        "skopeo", "copy", "-q", "--src-tls-verify=false", f"--src-creds=admin:{PASSWORD}",
        f"docker://{REGISTRY}:{PORT}/admin/app:v1", f"dir:{tmp_path / 'back'}", timeout=120,
    )  # fmt: skip
    assert json.loads((tmp_path / "back" / "manifest.json").read_text())["layers"]


def test_the_scanner_reports_on_what_was_pushed(parts, pushed, image):
    path = parts.clair / "advisories.json"
    path.write_text(json.dumps(ADVISORIES))
    volume = f"--volume={parts.clair}:/clair:ro"
    imported = command(*RUN, "--rm", volume, image, "scanner", "import", "/clair/advisories.json")
    assert "1 advisories" in imported
    report = f"/repository/admin/app/manifest/{pushed}/security?vulnerabilities=true"
    parts.until_api(report, lambda answer: answer["status"] == "scanned", "scanned")
    (feature,) = parts.api("GET", report)["data"]["Layer"]["Features"]
    assert [found["Name"].split()[0] for found in feature["Vulnerabilities"]] == ["CVE-2099-0001"]


def test_the_mirror_copies_from_another_registry(parts, tmp_path):
    peer, layout = parts.peer, Layout(tmp_path / "layout")
    made = layout.image([random_files(2)])
    command(
        "skopeo", "copy", "-q", "--dest-tls-verify=false", f"--dest-creds={peer.username}:{peer.password}",
        layout.tag("v1", made), f"docker://{peer.host}/team/app:v1", timeout=120,
    )  # fmt: skip
    parts.api("POST", "/organization/", name="testorg", email="testorg@example.com")
    parts.api("PUT", "/organization/testorg/robots/copier", description="copies")
    parts.api(
        "POST", "/repository", namespace="testorg", repository="copy", visibility="private",
        description="",
    )  # fmt: skip
    parts.api(
        "POST", "/repository/testorg/copy/mirror", is_enabled=True,
        external_reference=f"{peer.host}/team/app", external_registry_username=peer.username,
        external_registry_password=peer.password, sync_interval=3600,
        sync_start_date="2026-01-02T03:04:05Z", robot_username="testorg+copier",
        root_rule={"rule_kind": "tag_glob_csv", "rule_value": ["v*"]},
        external_registry_config={"verify_tls": True},
    )  # fmt: skip
    path = "/repository/testorg/copy/tag/?onlyActiveTags=true"
    parts.until_api(path, lambda answer: answer["tags"], "mirrored", part=parts.mirror)
    (tag,) = parts.api("GET", path)["tags"]
    assert (tag["name"], tag["manifest_digest"]) == ("v1", made["digest"])


def test_the_editor_shows_the_registrys_configuration(parts, image):
    environment = ("QUAY_PASSWORD=editor",)
    with running(
        image,
        "editor",
        "serve",
        bind=EDITOR,
        volumes=(f"{parts.config}:/conf/stack:ro",),
        environment=environment,
    ) as editor:
        editor.until_it_answers(EDITOR, PORT, "/", status=401)
        pair = base64.b64encode(b"quayconfig:editor").decode()
        status, page = ask(EDITOR, PORT, "GET", "/", headers={"Authorization": f"Basic {pair}"})
        assert status == 200, editor.log()
        assert b"SERVER_HOSTNAME" in page


@contextlib.contextmanager
def an_api():
    """Serve the embedded cluster's API on a thread of its own; give the world of the tests."""
    found, ready, ending = [], threading.Event(), []

    async def serve():
        ending.extend((asyncio.get_running_loop(), asyncio.Event()))
        async with a_world() as world:
            found.append(world)
            ready.set()
            await ending[1].wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)

    def call(work):
        return asyncio.run_coroutine_threadsafe(work, ending[0]).result(60)

    try:
        yield found[0], call
    finally:
        ending[0].call_soon_threadsafe(ending[1].set)
        thread.join(30)


def test_the_operator_fills_in_a_registry(image, tmp_path):
    with an_api() as (world, call):
        conf = tmp_path / "conf"
        conf.mkdir(mode=0o755)
        a_kubeconfig(conf, world.address).chmod(0o644)
        with running(
            image, "operator", "run", "--kubeconfig=/conf/stack/kubeconfig", "--enable-leader-election",
            bind=OPERATOR, volumes=(f"{conf}:/conf/stack:ro",), environment=("MY_POD_NAMESPACE=hatoba-system",),
        ) as operator:  # fmt: skip
            operator.until_it_answers(OPERATOR, 8081, "/readyz")
            call(world.create_registry())

            def said():
                call(world.play())
                return "Available" in str(
                    (call(world.registry()).get("status") or {}).get("conditions")
                )

            operator.until(said, "done")


def test_nothing_runs_as_root_or_writes_into_the_image(parts):
    shown = command("podman", "top", parts.registry.name, "user")
    assert "root" not in shown
    done = subprocess.run(
        ("podman", "diff", parts.registry.name), capture_output=True, text=True, check=True
    )
    changed = [line for line in done.stdout.splitlines() if not line.startswith("C /")]
    mounts = ("/conf", "/datastorage", "/etc", "/run", "/tmp", "/var", "/dev", "/proc", "/sys")
    assert [line for line in changed if not line[2:].startswith(mounts)] == []

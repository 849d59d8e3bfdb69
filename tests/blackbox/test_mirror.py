"""Mirror workers as processes of their own, against docker-registry over TLS with credentials."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import yaml
from tests.blackbox.conftest import standalone
from tests.peers import docker_registry
from tests.walkthrough.images import Layout, random_files

from hatoba.registry.standalone import open_standalone

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]
MIRROR = "/repository/testorg/copy/mirror"


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    with docker_registry(tmp_path_factory.mktemp("peer")) as peer:
        yield peer


@pytest.fixture(scope="module")
def images(peer, tmp_path_factory):
    """Six tags of three images with a few MiB each, and an index."""
    layout = Layout(tmp_path_factory.mktemp("images") / "layout")
    made = [layout.image([random_files(n, count=2, size=2_000_000)]) for n in range(3)]
    descriptors = {f"v{n}": made[n % 3] for n in range(5)}
    descriptors["both"] = layout.index({"amd64": made[0], "arm64": made[1]})
    for tag, descriptor in descriptors.items():
        subprocess.run(
            ["skopeo", "copy", "-q", "--all", "--dest-tls-verify=false",
             f"--dest-creds={peer.username}:{peer.password}",
             layout.tag(tag, descriptor), f"docker://{peer.host}/team/app:{tag}"],
            check=True, timeout=60,
        )  # fmt: skip
    return descriptors


@pytest.fixture
def registry(tmp_path, peer):
    directory = tmp_path / "data"
    open_standalone(directory, hostname="localhost")
    path = directory / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config |= {
        "FEATURE_REPO_MIRROR": True, "REPO_MIRROR_INTERVAL": 1,
        "SSRF_ALLOWED_HOSTS": ["localhost"],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    (directory / "extra_ca_cert_peer.crt").write_bytes(peer.certificate.read_bytes())
    with standalone(directory) as registry:
        registry.api("POST", "/organization/", name="testorg")
        registry.api("PUT", "/organization/testorg/robots/copier", description="")
        made = registry.api(
            "POST", "/repository",
            namespace="testorg", repository="copy", visibility="private", description="",
        )  # fmt: skip
        assert made.status == 201, made.body
        yield registry


def configure(registry, peer, **changes):
    body = {
        "is_enabled": True, "external_reference": f"{peer.host}/team/app",
        "external_registry_username": peer.username, "external_registry_password": peer.password,
        "sync_interval": 3600, "sync_start_date": "2026-01-02T03:04:05Z",
        "root_rule": {"rule_kind": "tag_glob_csv", "rule_value": ["v*", "both"]},
        "robot_username": "testorg+copier", "external_registry_config": {"verify_tls": True},
    } | changes  # fmt: skip
    answer = registry.api("POST", MIRROR, **body)
    assert answer.status == 201, answer.body


@contextmanager
def worker(registry, number=2):
    """A mirror worker; each has an address of its own for its metrics."""
    with (registry.directory / f"worker-{number}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hatoba.cli.main", "registry", "worker", "mirror"],
            env={**os.environ, "QUAYCONF": str(registry.directory),
                 "HATOBA_BIND": f"127.0.{os.getpid() % 250 + 2}.{number}", "HATOBA_DRAIN_SECONDS": "0"},
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def wait_for(registry, *statuses, timeout=60.0):
    deadline = time.monotonic() + timeout
    while True:
        status = registry.api("GET", MIRROR).json["sync_status"]
        if status in statuses:
            return status
        logs = [path.read_text()[-2000:] for path in registry.directory.glob("worker-*.log")]
        assert time.monotonic() < deadline, (status, logs)
        time.sleep(0.1)


def tags(registry) -> dict[str, str]:
    answer = registry.api("GET", "/repository/testorg/copy/tag/?onlyActiveTags=true&limit=100")
    return {tag["name"]: tag["manifest_digest"] for tag in answer.json["tags"]}


def syncs(registry) -> int:
    """How many synchronisations all workers together finished."""
    logs = registry.directory.glob("worker-*.log")
    return sum(path.read_text().count("mirror finished") for path in logs)


def is_whole(registry, digest: str) -> bool:
    """Whether a manifest and every blob below it can be pulled byte for byte."""
    headers = registry.bearer("repository:testorg/copy:pull")
    manifest = registry.call("GET", f"/v2/testorg/copy/manifests/{digest}", headers=headers)
    if "sha256:" + hashlib.sha256(manifest.body).hexdigest() != digest:
        return False
    body = manifest.json
    if "manifests" in body:
        return all(is_whole(registry, child["digest"]) for child in body["manifests"])
    for blob in [body["config"], *body["layers"]]:
        path = f"/v2/testorg/copy/blobs/{blob['digest']}"
        content = registry.call("GET", path, headers=headers).body
        if "sha256:" + hashlib.sha256(content).hexdigest() != blob["digest"]:
            return False
    return True


def test_matching_tags_come_over_tls_with_credentials(registry, peer, images):
    configure(registry, peer)
    with worker(registry):
        wait_for(registry, "SUCCESS")
    assert tags(registry) == {tag: descriptor["digest"] for tag, descriptor in images.items()}
    assert all(is_whole(registry, digest) for digest in set(tags(registry).values()))


def test_wrong_credentials_fail_and_copy_nothing(registry, peer, images):
    configure(registry, peer, external_registry_password="wrong")
    with worker(registry):
        wait_for(registry, "FAIL")
    assert tags(registry) == {}


def test_a_certificate_that_nobody_vouches_for_is_refused(registry, peer, images):
    (registry.directory / "extra_ca_cert_peer.crt").unlink()
    configure(registry, peer)
    with worker(registry):
        wait_for(registry, "FAIL")
    assert tags(registry) == {}


def test_two_workers_copy_a_repository_once(registry, peer, images):
    configure(registry, peer)
    with worker(registry, 2), worker(registry, 3):
        wait_for(registry, "SUCCESS")
        time.sleep(2.5)  # both have looked again by now
    assert set(tags(registry)) == set(images)
    assert syncs(registry) == 1


def test_a_worker_killed_in_the_middle_leaves_whole_tags_and_the_next_one_finishes(
    registry, peer, images
):
    configure(registry, peer)
    with worker(registry) as process:
        wait_for(registry, "SYNCING")
        os.killpg(process.pid, signal.SIGKILL)
    left = tags(registry)
    assert all(is_whole(registry, digest) for digest in set(left.values()))
    # The claim of the dead worker would run out after twelve hours; its owner need not wait.
    assert registry.api("POST", f"{MIRROR}/sync-cancel").status == 204
    assert registry.api("POST", f"{MIRROR}/sync-now").status == 204
    with worker(registry, 3):
        wait_for(registry, "SUCCESS")
    assert set(tags(registry)) == set(images)
    assert all(is_whole(registry, digest) for digest in set(tags(registry).values()))

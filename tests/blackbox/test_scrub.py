"""Scrubbing as it is deployed: a registry that serves, files that rot, and the command."""

import json
import os
import subprocess
import sys
import time
import urllib.request

import pytest
from tests.blackbox.conftest import Skopeo, on_postgresql

pytestmark = [pytest.mark.clients, pytest.mark.postgres, pytest.mark.timeout(300)]


def scrub(registry, *arguments: str, ends: int = 0) -> dict:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "hatoba.cli.main", "registry", "scrub"),
            *("--json", *arguments, "--config", str(registry.directory)),
        ],
        env={**os.environ, "HATOBA_DATA": str(registry.directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ends, done.stderr
    found: dict = json.loads(done.stdout[done.stdout.index("{\n") :])
    return found


@pytest.fixture
def run_registry(tmp_path, postgres_server):
    def running(**config):
        return on_postgresql(tmp_path, url, **config)

    with postgres_server.database() as url:
        yield running


def layer_of(registry, skopeo, reference):
    """Return the digest of an image's first layer, and the file that holds it."""
    manifest = json.loads(skopeo.inspect(reference))
    digest = manifest["Layers"][0]
    encoded = digest.removeprefix("sha256:")
    return digest, registry.directory / "storage" / "sha256" / encoded[:2] / encoded


def head(registry, digest) -> int:
    headers = registry.bearer("repository:admin/image:pull")
    return registry.call("HEAD", f"/v2/admin/image/blobs/{digest}", headers=headers).status


def test_a_rotten_layer_is_found_withdrawn_and_healed_by_the_next_push(
    run_registry, layout
) -> None:
    with run_registry() as registry:
        skopeo = Skopeo(registry)
        source = layout.name(layout.add_image(seed=31, layers=2), "one")
        skopeo.push(source, "admin/image:v1")
        digest, path = layer_of(registry, skopeo, "admin/image:v1")
        assert scrub(registry, "--rate", "0")["damaged"] == []
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x40
        path.write_bytes(bytes(content))
        # Both workers remember the blob.
        assert [head(registry, digest) for _ in range(8)] == [200] * 8
        found = scrub(registry, "--rate", "0", ends=1)["damaged"]
        assert [(one["digest"], one["kind"], one["is_withdrawn"]) for one in found] == [
            (digest, "corrupt", False)
        ]
        found = scrub(registry, "--rate", "0", "--quarantine", ends=1)["damaged"]
        assert found[0]["tags"] == [{"repository": "admin/image", "tag": "v1"}]
        assert [head(registry, digest) for _ in range(8)] == [404] * 8
        assert "404 (Not Found)" in skopeo.pull(
            "admin/image:v1", f"dir:{registry.directory}/pulled", fails=True
        )
        assert scrub(registry, "--status", ends=1)["damaged"] == found
        skopeo.push(source, "admin/image:v1")
        skopeo.pull("admin/image:v1", f"dir:{registry.directory}/again")
        assert scrub(registry, "--rate", "0")["damaged"] == []


def test_the_background_process_scrubs_and_counts_what_it_does(run_registry, layout) -> None:
    with run_registry(FEATURE_STORAGE_SCRUB=True, STORAGE_SCRUB_INTERVAL="1s") as registry:
        skopeo = Skopeo(registry)
        skopeo.push(layout.name(layout.add_image(seed=32, layers=1), "one"), "admin/image:v1")
        deadline = time.monotonic() + 120
        wanted = {
            "hatoba_retention_run_seconds_count",
            "hatoba_retention_freed_bytes_total",
            "hatoba_retention_scrubbed_bytes_total",
            "quay_gc_iterations_total",
        }
        # The duties take turns: each has counted once when all have run.
        while missing := {name for name in wanted if name not in metrics_of(registry)}:
            assert time.monotonic() < deadline, missing
            time.sleep(0.2)
        while "scrub finished" not in registry.log.read_text():
            assert time.monotonic() < deadline, "bytes are counted, and no scrub ends"
            time.sleep(0.2)


def metrics_of(registry) -> str:
    with urllib.request.urlopen(f"http://{registry.metrics_host}:9091/metrics") as response:
        return response.read().decode()


def test_a_rate_that_is_none_is_refused(tmp_path) -> None:
    command = [sys.executable, "-m", "hatoba.cli.main", "registry", "scrub", "--rate", "fast"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "as in 10M" in done.stderr

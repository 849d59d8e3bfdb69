"""Garbage collection as it is deployed: the background process, and the commands for people."""

import json
import os
import subprocess
import sys
import time

import pytest
from tests.blackbox.conftest import Skopeo, on_postgresql

pytestmark = [pytest.mark.clients, pytest.mark.postgres, pytest.mark.timeout(300)]


def command(registry, *arguments: str) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "hatoba.cli.main", "registry"),
            *(*arguments, "--config", str(registry.directory)),
        ],
        env={**os.environ, "HATOBA_DATA": str(registry.directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def last_json(output: str) -> dict:
    """Return the JSON behind the lines of the log."""
    found: dict = json.loads(output[output.index("{\n") :])
    return found


@pytest.fixture
def run_registry(tmp_path, postgres_server):
    def running(**config):
        return on_postgresql(tmp_path, url, DEFAULT_TAG_EXPIRATION="0s", **config)

    with postgres_server.database() as url:
        yield running


def test_people_are_told_what_goes_and_why(run_registry, layout) -> None:
    with run_registry(FEATURE_GARBAGE_COLLECTION=False) as registry:
        skopeo = Skopeo(registry)
        skopeo.push(layout.name(layout.add_image(seed=11, layers=2), "one"), "admin/image:v1")
        digest = layout.digest_of("one")
        assert "admin/image: tag v1 names it" in command(registry, "explain", digest)
        assert "0 manifests and 0 blobs" in command(registry, "gc", "--dry-run")
        skopeo.delete("admin/image:v1")
        plan = last_json(command(registry, "gc", "--dry-run", "--json"))
        assert [one["digest"] for one in plan["manifests"]] == [digest]
        assert "tag v1 ended" in plan["manifests"][0]["reason"]
        done = last_json(command(registry, "gc", "--json"))
        assert (done["manifests"], done["blobs"]) == (1, 0)
        again = last_json(command(registry, "gc", "--json"))
        assert again["manifests"] == 0
        headers = registry.bearer("repository:admin/image:pull")
        answer = registry.call("GET", f"/v2/admin/image/manifests/{digest}", headers=headers)
        assert answer.status == 404


def test_the_background_process_collects_while_images_are_pushed(run_registry, layout) -> None:
    with run_registry(GARBAGE_COLLECTION_FREQUENCY=1) as registry:
        skopeo = Skopeo(registry)
        for seed in range(12, 18):
            skopeo.push(layout.name(layout.add_image(seed=seed, layers=2), "one"), "admin/image:v")
        expected = layout.digest_of("one")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if "garbage collected" in registry.log.read_text():
                break
            time.sleep(0.2)
        assert "garbage collected" in registry.log.read_text()
        assert json.loads(skopeo.inspect("admin/image:v"))["Digest"] == expected

"""The database moves to another major version in real pods, and nothing is lost.

Both images run this machine's PostgreSQL, unless HATOBA_TEST_POSTGRES_BEFORE names another one for the
first of them: a directory with the programs of an older version.
"""

import os
from pathlib import Path

import pytest
from tests.walkthrough.embedded import NAMESPACE, REGISTRY
from tests.walkthrough.images import Layout, random_files
from tests.walkthrough.watching import conditions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
OLDER = os.environ.get("HATOBA_TEST_POSTGRES_BEFORE", "")
IMAGE = "quay.io/sclorg/postgresql-15-c9s:latest"


def version(home) -> int:
    """Return the major version of PostgreSQL that has written the registry's database."""
    pod = home.get("deployment", f"{REGISTRY}-quay-database")["spec"]["template"]["spec"]
    claim = home.get("pvc", pod["volumes"][0]["persistentVolumeClaim"]["claimName"])
    volume = home.get("pv", claim["spec"]["volumeName"])
    return int(Path(volume["spec"]["hostPath"]["path"], "userdata/PG_VERSION").read_text())


def test_a_database_moves_to_another_major_version_and_keeps_everything(registry, tmp_path):
    home = registry.home
    layout = Layout(tmp_path / "image")
    descriptor = layout.image([random_files(3)])
    registry.copy(layout.tag("kept", descriptor), "testorg/moved:1")
    before = registry.manifest("testorg/moved:1")
    was = version(home)
    home.kubectl(
        "set", "env", "deployment/quay-operator", "-n", "hatoba-system",
        f"RELATED_IMAGE_COMPONENT_POSTGRES={IMAGE}",
    )  # fmt: skip

    def moved():
        pod = home.get("deployment", f"{REGISTRY}-quay-database")["spec"]["template"]["spec"]
        claim = pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
        return claim == f"{REGISTRY}-quay-database-2" and pod["containers"][0]["image"] == IMAGE

    home.until(moved, what="the database in its new claim", timeout=240)
    home.until(
        lambda: f"hatoba.dev/release-volume={REGISTRY}-quay-database "
        in conditions(home.get("quayregistry", REGISTRY))["ComponentPostgresReady"]["message"],
        what="a database that serves and tells what it has left", timeout=240,
    )  # fmt: skip
    home.available()
    assert (version(home) > was) == bool(OLDER)
    assert registry.manifest("testorg/moved:1") == before
    registry.copy(layout.tag("kept", descriptor), "testorg/moved:2")
    home.kubectl(
        "annotate", "quayregistry", REGISTRY, "-n", NAMESPACE,
        f"hatoba.dev/release-volume={REGISTRY}-quay-database",
    )  # fmt: skip
    home.until(
        lambda: "NotFound"
        in home.kubectl("get", "pvc", f"{REGISTRY}-quay-database", "-n", NAMESPACE, check=False),
        what="the released claim gone", timeout=120,
    )  # fmt: skip
    assert registry.manifest("testorg/moved:2") == before

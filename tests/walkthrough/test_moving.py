"""The database moves to another major version in real pods, and nothing is lost.

This machine has one version of PostgreSQL: both images run it. That two different ones understand
each other is for tests/registry/backup/test_relocation.py.
"""

import pytest
from tests.walkthrough.embedded import NAMESPACE, REGISTRY
from tests.walkthrough.images import Layout, random_files
from tests.walkthrough.watching import conditions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
IMAGE = "quay.io/sclorg/postgresql-15-c9s:latest"


def test_a_database_moves_to_another_major_version_and_keeps_everything(registry, tmp_path):
    home = registry.home
    layout = Layout(tmp_path / "image")
    descriptor = layout.image([random_files(3)])
    registry.copy(layout.tag("kept", descriptor), "testorg/moved:1")
    before = registry.manifest("testorg/moved:1")
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

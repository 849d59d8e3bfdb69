"""Blobs move to a volume of another class in real pods: every pull is answered, nothing is lost."""

import json
from hashlib import sha256

import pytest
from tests.walkthrough.embedded import NAMESPACE, REGISTRY
from tests.walkthrough.images import Layout, random_files
from tests.walkthrough.story import PASSWORD, USER
from tests.walkthrough.traffic import Traffic
from tests.walkthrough.watching import conditions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
REPOSITORY = "testorg/kept"
OLD, NEW = f"{REGISTRY}-quay-datastore", f"{REGISTRY}-quay-datastore-2"


class Pulls(Traffic):
    """Pulls one image again and again, and compares every byte of it."""

    def __init__(self, registry) -> None:
        super().__init__(registry, REPOSITORY, threads=1, user=USER, password=PASSWORD)

    def once(self) -> None:
        """Pull it, whatever else happens."""
        self._round(0, None)

    def _round(self, number, source) -> None:
        token = self._token()
        path = f"/v2/{REPOSITORY}"
        manifest = json.loads(self._call("GET", f"{path}/manifests/1", token, {200})[0])
        for blob in (manifest["config"], *manifest["layers"]):
            content, _ = self._call("GET", f"{path}/blobs/{blob['digest']}", token, {200})
            assert "sha256:" + sha256(content).hexdigest() == blob["digest"]
        self.pulls += 1


def test_blobs_move_to_another_class_while_they_are_pulled(registry, tmp_path):
    home = registry.home
    layout = Layout(tmp_path / "image")
    descriptor = layout.image([random_files(7), random_files(8)])
    registry.copy(layout.tag("kept", descriptor), f"{REPOSITORY}:1")
    storage = json.loads(home.kubectl("get", "storageclass", "standard", "-o", "json"))
    made = {
        "apiVersion": storage["apiVersion"], "kind": "StorageClass",
        "metadata": {"name": "faster"}, "provisioner": storage["provisioner"],
    }  # fmt: skip
    (tmp_path / "class.json").write_text(json.dumps(made))
    home.kubectl("apply", "-f", str(tmp_path / "class.json"))
    with Pulls(registry) as pulls:
        home.kubectl(
            "annotate", "quayregistry", REGISTRY, "-n", NAMESPACE, "--overwrite",
            "hatoba.dev/datastore-class=faster",
        )  # fmt: skip
        told = home.until(
            lambda: (
                found
                if f"hatoba.dev/release-volume={OLD} "
                in (found := conditions(home.get("quayregistry", REGISTRY))[
                    "ComponentObjectStorageReady"
                ])["message"]
                else None
            ),
            what="blobs in their new volume, and pods that take pushes", timeout=240,
        )  # fmt: skip
    assert told["status"] == "True"
    assert pulls.failures == []
    assert pulls.pulls > 0
    home.available()
    for name in ("quay-app", "quay-mirror"):
        pod = home.get("deployment", f"{REGISTRY}-{name}")["spec"]["template"]["spec"]
        claims = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["volumes"]
            if "persistentVolumeClaim" in volume
        }
        assert claims == {NEW}
    home.kubectl(
        "annotate", "quayregistry", REGISTRY, "-n", NAMESPACE, "--overwrite",
        f"hatoba.dev/release-volume={OLD}",
    )  # fmt: skip
    home.until(
        lambda: "NotFound" in home.kubectl("get", "pvc", OLD, "-n", NAMESPACE, check=False),
        what="the released claim gone", timeout=120,
    )  # fmt: skip
    # From the new volume alone, and into it.
    pulls.once()
    registry.copy(layout.tag("kept", descriptor), f"{REPOSITORY}:2")
    assert registry.manifest(f"{REPOSITORY}:2") == registry.manifest(f"{REPOSITORY}:1")

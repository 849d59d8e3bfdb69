"""The image, built from its Containerfile and run as OpenShift would run it.

Its base is made by debootstrap (`HATOBA_TEST_IMAGE_BASE` names an image to take instead), its
containers run with a file system that cannot be written and a user that nobody knows.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/hatoba:test"
USER = "1000770000:0"
PROGRAMS = ("buildah", "podman", "runc", "debootstrap")
RUN = (
    "podman", "--cgroup-manager", "cgroupfs", "run", "--runtime", "runc", "--network", "host",
    "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--read-only", "--user", USER,
    "--cap-drop", "all",
)  # fmt: skip


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

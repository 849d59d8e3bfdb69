"""The image that all files here run: built once, from its Containerfile.

Its base is made by debootstrap; `HATOBA_TEST_IMAGE_BASE` names a base to take instead, and
`HATOBA_TEST_IMAGE` an image that was built already.
"""

import os
import shutil
from pathlib import Path

import pytest
from tests.image.parts import command

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/hatoba:test"
PROGRAMS = ("buildah", "podman", "runc", "debootstrap")


@pytest.fixture(scope="session")
def programs():
    if os.geteuid() != 0:
        pytest.skip("building a base with debootstrap needs root")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: apt-get install {' '.join(missing)}")


@pytest.fixture(scope="session")
def base(programs, tmp_path_factory):
    """Give the name of an image that has Python."""
    if given := os.environ.get("HATOBA_TEST_IMAGE_BASE"):
        return given
    root = tmp_path_factory.mktemp("base") / "root"
    packages = "--include=python3,python3-venv,ca-certificates"
    command("debootstrap", "--variant=minbase", packages, "bookworm", str(root))
    # What was downloaded to make it is no part of it.
    for left in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / left)
    command("bash", "-c", f"tar -C {root} -c . | podman import - localhost/hatoba-base:test")
    shutil.rmtree(root)
    return "localhost/hatoba-base:test"


@pytest.fixture(scope="session")
def image(request, programs):
    if given := os.environ.get("HATOBA_TEST_IMAGE"):
        return given
    base = request.getfixturevalue("base")
    environment = {**os.environ, "BUILDAH_OPTIONS": "--isolation chroot --network host"}
    command(str(ROOT / "deploy" / "build-image"), base, IMAGE, env=environment)
    return IMAGE

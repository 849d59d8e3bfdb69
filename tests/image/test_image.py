"""The image, built from its Containerfile and run as OpenShift would run it.

Its containers run with a file system that cannot be written and a user that nobody knows.
"""

import json

import pytest
from tests.image.parts import RUN, command

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]


def test_its_file_system_stays_as_it_was_built(image):
    """A container that writes beside its volumes would show here as a failure to start."""
    assert command(*RUN, "--rm", "--read-only-tmpfs=false", image, "--version")
    listed = json.loads(command("podman", "image", "inspect", image))[0]
    assert listed["Config"]["User"] == "1001:0"
    assert listed["Config"]["Entrypoint"] == ["/opt/hatoba/bin/hatoba"]
    print(f"{listed['Size'] / 1e6:.0f} MB in {len(listed['RootFS']['Layers'])} layers")


def test_nothing_of_the_build_is_left_in_it(image):
    listing = "import os; print(os.listdir('/'))"
    shown = command(*RUN, "--rm", "--entrypoint", "python3", image, "-c", listing)
    assert "wheels" not in shown

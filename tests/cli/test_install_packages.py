"""The script before `make up`: it finds what is there and names what is not, on a made-up machine."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("bash", "env", "grep", "ls", "mktemp", "rm", "tail", "chmod")


class Machine:
    """A PATH with these programs and no others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in NEEDED:
            found = shutil.which(name)
            assert found is not None
            (directory / name).symlink_to(found)

    def program(self, name: str, script: str = "") -> None:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def install(self, *packages: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", ROOT / "deploy/install-packages", *packages],
            env={"PATH": str(self.directory), "POLICY_RC_D": str(self.directory / "policy")},
            capture_output=True, text=True, timeout=20,
            check=False, cwd=self.directory,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path)
    machine.program("id", "echo 1000")
    return machine


def test_an_ordinary_user_is_told_all_packages_at_once(machine):
    code, output = machine.install("redis-server", "skopeo", "kubectl")
    assert code == 1
    assert "These packages are missing: redis-server skopeo\n" in output
    assert "sudo apt-get install redis-server skopeo\n" in output
    assert "kubectl 1.27 or later is needed" in output


@pytest.mark.parametrize(
    ("version", "code"), [("v1.20.2", 1), ("v1.26.15", 1), ("v1.27.0", 0), ("v1.33.1-eks", 0)]
)
def test_a_kubectl_that_is_too_old_counts_as_missing(machine, version, code):
    machine.program("kubectl", f"echo 'clientVersion:'; echo '  gitVersion: {version}'")
    assert machine.install("kubectl")[0] == code


def test_nothing_is_said_when_everything_is_there(machine):
    machine.program("redis-server")
    machine.program("python3")
    assert machine.install("redis-server", "python3", "python3-venv") == (0, "")


@pytest.mark.skipif(
    not list(Path("/usr/lib").glob("*/libnss_wrapper.so*")),
    reason="libnss-wrapper is not installed",
)
def test_a_library_in_one_of_its_places_is_enough(machine):
    assert machine.install("libnss-wrapper") == (0, "")


def test_an_old_python_is_named(machine):
    machine.program("python3", "exit 1")
    code, output = machine.install("python3")
    assert code == 1
    assert "Python 3.11 or later" in output


def test_root_installs_and_leaves_no_policy_behind(machine):
    machine.program("id", "echo 0")
    machine.program("apt-get", f'echo "$@" >> {machine.directory}/asked')
    assert machine.install("no-such-package") == (0, "Installing no-such-package\n")
    asked = (machine.directory / "asked").read_text().splitlines()
    assert asked[0].startswith("update")
    assert asked[1].endswith("no-such-package")
    assert not (machine.directory / "policy").exists()
    machine.program("apt-get", "echo the network is down; exit 100")
    code, output = machine.install("no-such-package")
    assert code == 1
    assert "the network is down" in output
    assert "could not install: no-such-package" in output

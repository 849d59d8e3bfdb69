"""The suite against another API server, started as kube-apiserver and etcd are, over TLS."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.operator.control_plane import NotStarted, control_plane
from tests.operator.stand_ins import write_programs

pytestmark = [pytest.mark.alone, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
CLAIMS = (
    "tests/operator/test_reconcile.py::test_it_converges_to_available_and_then_writes_nothing",
    "tests/operator/test_reconcile.py::test_deleting_a_registry_cleans_up_outside_its_namespace",
    "tests/operator/test_scale.py::test_registries_of_one_name_have_a_dashboard_each_and_do_not_fight",
    "tests/operator/test_any_cluster.py::test_nothing_but_services_gives_a_registry_inside_the_cluster",
)


@pytest.fixture
def assets(tmp_path):
    if "HATOBA_TEST_KUBECONFIG" in os.environ:
        pytest.skip("the whole suite runs elsewhere already")
    return write_programs(tmp_path / "assets")


@pytest.fixture
def kubeconfig(assets, tmp_path):
    with control_plane(assets, tmp_path) as path:
        yield path


def test_it_runs_on_any_api_server_and_says_what_it_leaves_out(kubeconfig):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rs",
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            # Sockets of handshakes that a test's end cut off are left to the collector (`needs`):
            # what it finds last is said at the end, outside of any test.
            "-W",
            "ignore::pytest.PytestUnraisableExceptionWarning",
            *CLAIMS,
        ],
        env={**os.environ, "HATOBA_TEST_KUBECONFIG": str(kubeconfig)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "3 passed, 1 skipped" in done.stdout
    assert "needs a cluster without the namespaces" in done.stdout


def test_a_server_that_is_not_there_is_named(assets, tmp_path):
    (assets / "kube-apiserver").unlink()
    with (
        pytest.raises(NotStarted, match="kube-apiserver is no program"),
        control_plane(assets, tmp_path),
    ):
        pytest.fail("it started")


def test_a_server_that_refuses_its_flags_is_quoted_and_the_other_is_ended(assets, tmp_path):
    server = assets / "kube-apiserver"
    server.write_text("#!/bin/sh\necho 'unknown flag: --token-auth-file' >&2\nexit 1\n")
    etcd = assets / "etcd"
    etcd.write_text(etcd.read_text().replace("exec", f"echo $$ >{tmp_path}/pid; exec"))
    with (
        pytest.raises(NotStarted, match=r"kube-apiserver is not ready \(1\): unknown flag"),
        control_plane(assets, tmp_path),
    ):
        pytest.fail("it started")
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()

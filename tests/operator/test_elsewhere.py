"""The suite against another API server, in another process and over TLS."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).parents[2]
CLAIMS = (
    "tests/operator/test_reconcile.py::test_it_converges_to_available_and_then_writes_nothing",
    "tests/operator/test_reconcile.py::test_deleting_a_registry_cleans_up_outside_its_namespace",
    "tests/operator/test_scale.py::test_registries_of_one_name_have_a_dashboard_each_and_do_not_fight",
    "tests/operator/test_process.py::test_it_starts_leads_fills_in_a_spec_and_ends_in_order",
)


@pytest.fixture
def kubeconfig(tmp_path):
    if "HATOBA_TEST_KUBECONFIG" in os.environ:
        pytest.skip("the whole suite runs elsewhere already")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.operator.api_server", str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().strip()
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


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
            *CLAIMS,
        ],
        env={**os.environ, "HATOBA_TEST_KUBECONFIG": kubeconfig},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "3 passed, 1 skipped" in done.stdout
    assert "needs the embedded API server" in done.stdout

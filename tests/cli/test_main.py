"""The command line: every command is there, and none is imported before it is needed."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from hatoba import __version__
from hatoba.cli.main import COMMANDS, hatoba


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_explains_itself(name):
    result = CliRunner().invoke(hatoba, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_help_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from hatoba.cli.main import hatoba\n"
        "assert CliRunner().invoke(hatoba, ['--help']).exit_code == 0\n"
        "print([name for name in sys.modules if name.startswith('hatoba.')])\n"
        "print([name for name in ('pydantic', 'lightkube', 'sqlalchemy') if name in sys.modules])\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert set(json.loads(output[0].replace("'", '"'))) <= {
        "hatoba.cli",
        "hatoba.cli.main",
        "hatoba.kernel",
        "hatoba.kernel.errors",
    }
    assert output[1] == "[]"


def test_an_unknown_command_is_refused():
    assert CliRunner().invoke(hatoba, ["nonsense"]).exit_code == 2


def test_the_kubeconfigs_path_is_printed_and_nothing_else(tmp_path):
    result = CliRunner().invoke(hatoba, ["kubeconfig"], env={"HATOBA_HOME": str(tmp_path)})
    assert result.output == f"{tmp_path}/kubeconfig\n"


def test_the_status_of_a_home_without_a_cluster_says_so(tmp_path):
    home = {"HATOBA_HOME": str(tmp_path)}
    result = CliRunner().invoke(hatoba, ["status", "--output", "json"], env=home)
    assert result.exit_code == 1
    assert json.loads(result.output)["cluster"] == {
        "running": False,
        "pid": None,
        "supervisor": None,
        "api": None,
    }


def test_stopping_what_does_not_run_is_no_error(tmp_path):
    result = CliRunner().invoke(hatoba, ["down"], env={"HATOBA_HOME": str(tmp_path)})
    assert result.exit_code == 0
    assert "No cluster runs" in result.output


def test_the_version_is_known_without_an_installed_distribution():
    result = CliRunner().invoke(hatoba, ["--version"])
    assert result.output == f"hatoba, version {__version__}\n"

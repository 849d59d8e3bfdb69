"""Rules of the house that import-linter cannot say."""

import re
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
ROOMS = (
    "accounts", "access", "repositories", "content", "retention",
    "mirroring", "scanning", "audit", "backup",
)  # fmt: skip
COMPOSITION = ("hatoba.registry.app", "hatoba.registry.rooms")


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("hatoba", cache_dir=None)


def test_only_a_rooms_own_modules_import_its_store(graph):
    offenders = {
        (importer, store)
        for room in ROOMS
        for store in graph.find_matching_modules(f"hatoba.registry.{room}.store")
        for importer in graph.find_modules_that_directly_import(store)
        if not importer.startswith((f"hatoba.registry.{room}.", *COMPOSITION))
    }
    assert offenders == set()


@pytest.mark.parametrize("edge", ["v2", "api", "web"])
def test_an_edge_never_touches_a_table(graph, edge):
    offenders = {
        (module, imported)
        for module in graph.find_descendants(f"hatoba.registry.{edge}")
        for imported in graph.find_modules_directly_imported_by(module)
        if imported.startswith("hatoba.registry.db")
    }
    assert offenders == set()


def test_the_journeys_lead_through_files_that_exist():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    journeys = text.partition("## Journeys")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z0-9]+(?:/[a-z0-9_]+)+)`", journeys)
    source = ROOT / "src" / "hatoba"
    assert len(named) > 30
    assert [
        path
        for path in named
        if not (source / path).is_dir() and not (source / f"{path}.py").is_file()
    ] == []


def test_no_file_names_a_package_index_host():
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org"]
    files = [p for p in (ROOT / "requirements").iterdir() if p.suffix in {".txt", ".in"}]
    assert [p.name for p in files for host in hosts if host in p.read_text()] == []


def test_every_test_of_the_operator_says_what_it_needs_of_a_cluster():
    """The mark comes first. Collecting a test without one fails, too, but only where it is done."""
    wanted = re.compile(
        r"^pytestmark = \[?\s*pytest\.mark\.(alone|api|embedded|nodes)\b", re.MULTILINE
    )
    files = (ROOT / "tests" / "operator").glob("test_*.py")
    assert [path.name for path in files if not wanted.search(path.read_text())] == []

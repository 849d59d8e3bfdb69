"""The hard stops of CONTRIBUTING.md, "Sizes"."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "bench").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FILE_STOP, TABLE_FILE_STOP, TEST_FILE_STOP = 500, 700, 600
FUNCTION_STOP, CLASS_STOP = 60, 300
TABLE_FILES = {"tables", "routes", "media_types", "versions", "printers"}


def _span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _definitions(kinds):
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kinds):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", _span(node)


def test_no_source_file_passes_its_hard_stop():
    too_long = {}
    for path in SOURCES:
        is_table = TABLE_FILES & {*path.parts, path.stem}
        lines = len(path.read_text().splitlines())
        if lines > (TABLE_FILE_STOP if is_table else FILE_STOP):
            too_long[str(path.relative_to(ROOT))] = lines
    assert too_long == {}


def test_no_test_file_passes_its_hard_stop():
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in TESTS}
    assert {name: n for name, n in lengths.items() if n > TEST_FILE_STOP} == {}


def test_no_function_passes_its_hard_stop():
    spans = _definitions((ast.FunctionDef, ast.AsyncFunctionDef))
    assert {where: n for where, n in spans if n > FUNCTION_STOP} == {}


def test_no_class_passes_its_hard_stop():
    assert {where: n for where, n in _definitions(ast.ClassDef) if n > CLASS_STOP} == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))

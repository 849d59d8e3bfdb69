"""The page of promises names tests; each of them must exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/promises.md"


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", PAGE.read_text())
    assert len(named) > 20
    missing = [
        (path, name)
        for path, name in named
        if not (ROOT / path).exists() or (name and f"def {name}(" not in (ROOT / path).read_text())
    ]
    assert missing == []


def test_every_promise_has_a_test() -> None:
    sections = PAGE.read_text().split("\n## ")[1:9]
    assert [section[:2] for section in sections] == [f"{number}." for number in range(1, 9)]
    assert all("`tests/" in section for section in sections)

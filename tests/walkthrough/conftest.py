"""One embedded cluster for the whole walkthrough; each file deploys in a namespace of its own."""

import os
import sys
from collections.abc import Mapping

import pytest
import yaml
from tests.torture import next_version
from tests.walkthrough.embedded import ROOT, Home, need, new_home, remove
from tests.walkthrough.story import Story

OLDER = os.environ.get("HATOBA_TEST_POSTGRES_BEFORE", "")
"""Directory with the programs of an older PostgreSQL, which databases begin with."""


def pytest_collection_modifyitems(items):
    """The walkthrough tells its story from an empty cluster; the other files go on from its end.

    Last comes what cannot be undone.
    """
    places = {"test_walkthrough.py": 0, "test_next_version.py": 2}
    items.sort(key=lambda item: places.get(item.path.name, 1))


def offer_other_versions(home: Home) -> None:
    """Let the cluster know an image of the next version, and an older PostgreSQL where there is one."""
    revisions = next_version.write_revisions(home.directory / "next-revisions")
    image = {
        "image": "hatoba-next:*",
        "like": "hatoba:latest",
        "command": [sys.executable, "-m", "tests.torture.next_version"],
        "env": {"HATOBA_NEXT_REVISIONS": str(revisions), "PYTHONPATH": str(ROOT)},
    }
    images: list[Mapping[str, object]] = [image]
    if OLDER:
        known = "quay.io/sclorg/postgresql-13-c9s:latest"
        older = {"image": "*sclorg/postgresql-13-*", "like": known}
        images.append(older | {"program": f"{OLDER}/postgres"})
    (home.directory / "catalog.yaml").write_text(yaml.safe_dump(images))


@pytest.fixture(scope="session")
def home():
    need("kubectl", "curl", "redis-server")
    home: Home = new_home("walkthrough")
    offer_other_versions(home)
    try:
        home.hatoba("up", "--cluster-only", timeout=180)
        home.connect()
        yield home
    finally:
        remove(home)


@pytest.fixture(scope="session")
def story(home, tmp_path_factory):
    return Story(home, tmp_path_factory.mktemp("walkthrough"))


@pytest.fixture(scope="session")
def registry(story):
    """The walkthrough's registry, available, with its first user and organization."""
    story.ensure()
    return story

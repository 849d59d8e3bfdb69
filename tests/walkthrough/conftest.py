"""One embedded cluster for the whole walkthrough; each file deploys in a namespace of its own."""

import pytest
from tests.walkthrough.embedded import Home, need, new_home, remove
from tests.walkthrough.story import Story


def pytest_collection_modifyitems(items):
    """The walkthrough tells its story from an empty cluster; the other files go on from its end."""
    items.sort(key=lambda item: item.path.name != "test_walkthrough.py")


@pytest.fixture(scope="session")
def home():
    need("kubectl", "curl", "redis-server")
    home: Home = new_home("walkthrough")
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

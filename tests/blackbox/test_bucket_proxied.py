"""The whole protocol upon a bucket, with FEATURE_PROXY_STORAGE: nobody sees the difference."""

import pytest
from tests.blackbox.test_bucket import upon_a_bucket
from tests.blackbox.test_protocol import *  # noqa: F403 -- the same claims, of this registry

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def registry(tmp_path_factory, postgres_server, object_storage):
    with upon_a_bucket(
        tmp_path_factory, postgres_server, object_storage, FEATURE_PROXY_STORAGE=True
    ) as running:
        yield running

"""The house on every database."""

import pytest
from tests.registry.retention.house import open_house


@pytest.fixture
async def house(database):
    return await open_house(database)

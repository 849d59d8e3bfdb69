"""The house on every database."""

from contextlib import AsyncExitStack

import pytest
from tests.registry.retention.house import open_house


@pytest.fixture
async def house(database):
    async with AsyncExitStack() as stack:
        yield await open_house(database, stack=stack)

"""A PostgreSQL database for the replay."""

import pytest
from tests.postgresql import running_postgres
from tests.recorded.quay.recording import SHARED


@pytest.fixture(scope="session")
def recorded_database():
    if not (SHARED / "exchanges.jsonl.gz").exists():
        pytest.skip(f"no recording at {SHARED}")
    with running_postgres() as server, server.database() as url:
        yield url

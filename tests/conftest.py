"""Fixtures that every test may use."""

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings
from tests.azure_storage import AzureEmulator, running_azure
from tests.object_storage import ObjectStorage, running_object_storage
from tests.postgresql import PostgresServer, running_postgres
from tests.swift_storage import Swift, running_swift

# How long an example takes says more of the machine than of what is tested.
settings.register_profile("hatoba", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hatoba")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what a command did that ran in the test's own process: its output may be closed."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The one server of this test process; skips where PostgreSQL is not installed."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def object_storage() -> Iterator[ObjectStorage]:
    """The one S3 server of this test process."""
    with running_object_storage() as storage:
        yield storage


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureEmulator]:
    """The one emulator of Azure of this test process; skips where it is not installed."""
    with running_azure(tmp_path_factory.mktemp("azure")) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """The one Swift of this test process."""
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server

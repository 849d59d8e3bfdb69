"""A disk that is full, and has room again: of the blobs, and of PostgreSQL."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.torture.disks import filled, small_disk
from tests.torture.pushers import read_everything
from tests.torture.stage import running_postgres, staged

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]

BLOB_DISK = 96 << 20
DATABASE_DISK = 200 << 20
SMALL = 20_000
"""Blobs are small here, so that the disk is filled by the test and not by what it pushes."""


@contextmanager
def shared_directory() -> Iterator[Path]:
    """Give a directory that PostgreSQL's own account can enter."""
    with tempfile.TemporaryDirectory(prefix="hatoba-torture-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_full_blob_storage_refuses_and_loses_nothing(tmp_path, torture) -> None:
    dice = torture.random("pauses")
    with (
        small_disk(tmp_path / "storage", size=BLOB_DISK) as disk,
        running_postgres() as postgres,
        staged(tmp_path, postgres) as stage,
    ):
        with torture.crowd(stage, largest=SMALL):
            for _ in torture.instants(stage, short=4, least=3, shares=1):
                with filled(disk):
                    time.sleep(dice.uniform(0.2, 1.0))
        read_everything(stage.client())
        print(dict(stage.ledger.counts))
        assert stage.ledger.counts["status 503"] > 0, "no request met the full disk"
        assert stage.ledger.counts["connections broken"] == 0
        stage.verdict()
        stage.expire_uploads()


def test_a_full_disk_of_the_database_loses_nothing(tmp_path, torture) -> None:
    """PostgreSQL may give up when it cannot write its log; whoever runs it starts it again."""
    dice = torture.random("pauses")
    with (
        shared_directory() as place,
        small_disk(place / "disk", size=DATABASE_DISK) as disk,
        running_postgres(disk) as postgres,
        staged(tmp_path, postgres) as stage,
    ):
        with torture.crowd(stage, largest=SMALL):
            for _ in torture.instants(stage, short=4, least=2, shares=1):
                with filled(disk):
                    time.sleep(dice.uniform(0.5, 2.0))
                if not postgres.is_running:
                    postgres.start()
                stage.replicas[0].wait_until_ready()
        read_everything(stage.client())
        print(dict(stage.ledger.counts))
        stage.verdict()

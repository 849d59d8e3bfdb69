"""A registry with a vault, and an empty place to restore into."""

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from tests.registry.retention.house import SETTINGS, House, open_house

from hatoba.kernel.clock import SystemClock
from hatoba.registry.backup.catalog import Catalog
from hatoba.registry.backup.models import BackupPolicy, BlobMode
from hatoba.registry.backup.restoring import Restorer
from hatoba.registry.backup.sealing import BackupKey
from hatoba.registry.backup.service import Maker
from hatoba.registry.backup.vault import DirectoryVault
from hatoba.registry.blobs.memory import MemoryBlobs
from hatoba.registry.db.tables.hatoba import leases
from hatoba.registry.retention.hold import Hold
from hatoba.sql.engine import open_database
from hatoba.sql.leases import Leases

POLICY = BackupPolicy(renewal=timedelta(milliseconds=50))


@dataclass(kw_only=True)
class Yard:
    """A house, and what makes backups of it."""

    house: House
    catalog: Catalog
    maker: Maker
    restored: list = field(default_factory=list)

    @property
    def hold(self) -> Hold:
        return self.maker.hold

    async def create(self, *, mode=BlobMode.COPY, attached=None, backup_id=""):
        return await self.maker.create(
            mode=mode, attached=attached or {"config/config.yaml": b"A: 1"}, backup_id=backup_id
        )


def settings_for(uri):
    return SETTINGS.model_copy(update={"db_uri": uri})


@pytest.fixture
async def yard(database, migrated_uri, tmp_path):
    house = await open_house(database)
    catalog = Catalog(
        vault=DirectoryVault(Path(tmp_path, "vault")),
        key=BackupKey(os.urandom(32)),
        clock=SystemClock(),
        policy=POLICY,
    )
    maker = Maker(
        settings=settings_for(migrated_uri),
        database=database,
        blobs=house.shelf.blobs,
        hold=Hold(leases=Leases(database=database, table=leases, clock=house.clock)),
        catalog=catalog,
        clock=house.clock,
    )
    return Yard(house=house, catalog=catalog, maker=maker)


@pytest.fixture
def empty_uri(migrated_uri, request, tmp_path):
    """The address of an empty database of the same kind."""
    if migrated_uri.startswith("sqlite"):
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


@pytest.fixture
def restorer(yard, empty_uri):
    """Open a restorer of the yard's vault into the empty place."""

    @asynccontextmanager
    async def opened(*, blobs=None, uri=empty_uri, catalog=yard.catalog):
        database = open_database(uri)
        try:
            yield Restorer(
                settings=settings_for(uri),
                database=database,
                blobs=MemoryBlobs() if blobs is None else blobs,
                catalog=catalog,
                clock=yard.house.clock,
            )
        finally:
            await database.close()

    return opened

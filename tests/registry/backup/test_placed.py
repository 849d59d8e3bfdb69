"""A volume that blobs move to is judged by what the database names."""

import pytest
from tests.registry.backup.test_volumes import place, put
from tests.registry.retention.house import SETTINGS, open_house

from hatoba.kernel.digests import Digest
from hatoba.registry.backup.errors import VolumeUnusable
from hatoba.registry.backup.placed import settle_placed
from hatoba.registry.backup.volumes import Volumes

pytestmark = pytest.mark.anyio
IN_A_VOLUME = SETTINGS.model_copy(
    update={
        "distributed_storage_config": {"default": ["LocalStorage", {"storage_path": "registry"}]},
        "distributed_storage_preference": ["default"],
    }
)


@pytest.fixture
async def house(database):
    return await open_house(database)


@pytest.fixture
def volumes(tmp_path):
    found = Volumes(source=tmp_path / "old", target=tmp_path / "new")
    for path in (found.source, found.target):
        path.mkdir()
    return found


async def test_what_the_database_names_is_in_the_new_volume(house, database, volumes):
    blobs = [b"config", b"layer"]
    await house.push_image("latest", *blobs)
    for blob in blobs:
        put(volumes.source, blob)
    done, lost = await settle_placed(volumes, database, settings=IN_A_VOLUME)
    assert (done.copied, lost) == (2, 0)
    assert place(volumes.target, Digest.of(b"layer")).read_bytes() == b"layer"


async def test_a_blob_that_was_lost_before_is_counted_and_stops_nothing(house, database, volumes):
    await house.push_image("latest", b"config", b"layer")
    put(volumes.source, b"config")
    done, lost = await settle_placed(volumes, database, settings=IN_A_VOLUME)
    assert (done.copied, lost) == (1, 1)


async def test_an_old_volume_without_any_blob_of_the_database_is_the_wrong_one(
    house, database, volumes
):
    await house.push_image("latest", b"config", b"layer")
    kept = put(volumes.target, b"layer")
    with pytest.raises(VolumeUnusable, match="holds none of the 2 blobs"):
        await settle_placed(volumes, database, settings=IN_A_VOLUME)
    assert kept.exists()


async def test_a_registry_whose_blobs_lie_elsewhere_has_no_volume_to_settle(database, volumes):
    elsewhere = {"default": ["LocalStorage", {"storage_path": "/somewhere"}]}
    settings = IN_A_VOLUME.model_copy(update={"distributed_storage_config": elsewhere})
    with pytest.raises(VolumeUnusable, match="names no location in a volume"):
        await settle_placed(volumes, database, settings=settings)

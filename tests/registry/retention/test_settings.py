"""What the configuration says reaches the collection, and is refused beyond its edges."""

from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from tests.registry.retention.house import TIME_MACHINE

from hatoba.config.schema import QuayConfig
from hatoba.config.validation import validate_mapping
from hatoba.registry.content.models import ContentPolicy
from hatoba.registry.retention.models import RetentionPolicy
from hatoba.registry.retention.service import Collector


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("GARBAGE_COLLECTION_QUARANTINE", "2m", "119s"),
        ("GARBAGE_COLLECTION_BATCH", 1, 0),
        ("GARBAGE_COLLECTION_BATCH", 10_000, 10_001),
        ("UPLOAD_LIFETIME", "1h", "59m"),
        ("UPLOAD_SWEEP_MARGIN", "1m", "59s"),
        ("STORAGE_SCRUB_ORPHAN_GRACE", "1h", "59m"),
        ("STORAGE_SCRUB_RATE", 0, -1),
        ("STORAGE_SCRUB_MODE", "repair", "destroy"),
    ],
)
def test_a_setting_is_taken_up_to_its_edge(key, good, bad):
    assert validate_mapping({key: good}) == []
    assert [finding.field for finding in validate_mapping({key: bad})] == [key]


def test_the_defaults_keep_longer_than_a_process_remembers():
    settings = QuayConfig.model_validate({})
    assert settings.garbage_collection_quarantine == RetentionPolicy().quarantine
    assert settings.upload_lifetime == ContentPolicy().upload_lifetime
    assert settings.upload_sweep_margin == ContentPolicy().sweep_margin


@pytest.mark.anyio
async def test_the_quarantine_lasts_as_long_as_it_is_set_to(house):
    house.collector = Collector(
        shelf=house.shelf, policy=RetentionPolicy(quarantine=timedelta(minutes=2))
    )
    await house.push_image("latest", b"{}", b"layer")
    await house.delete("latest")
    house.clock.elapsed += TIME_MACHINE + timedelta(hours=1)
    await house.collector.collect_everything()
    house.clock.elapsed += timedelta(minutes=2) - timedelta(seconds=1)
    assert (await house.collector.collect_everything()).blobs == 0
    house.clock.elapsed += timedelta(seconds=1)
    assert (await house.collector.collect_everything()).blobs == 2


@pytest.mark.anyio
async def test_what_a_collection_did_is_counted(house):
    def counted(name, **labels):
        return REGISTRY.get_sample_value(name, labels) or 0

    before = counted("hatoba_retention_freed_bytes_total")
    blobs = counted("hatoba_retention_removed_total", kind="blob")
    await house.push_image("latest", b"{}", b"layer")
    await house.delete("latest")
    house.clock.elapsed += TIME_MACHINE + timedelta(hours=1)
    await house.collect_until_nothing_waits()
    assert counted("hatoba_retention_freed_bytes_total") - before == len(b"{}layer")
    assert counted("hatoba_retention_removed_total", kind="blob") - blobs == 2

"""Duty: collect what nothing refers to any more.

Every pod collects: each step claims what it works on. The sweep, which looks for what no event
led to, is done by one of them at a time.
"""

from datetime import timedelta
from typing import Final

from hatoba.config.schema import QuayConfig
from hatoba.registry.retention.service import Collector
from hatoba.registry.workers.schedule import Duty

SWEEP_INTERVAL: Final = timedelta(minutes=5)


def collect_duties(collector: Collector, settings: QuayConfig) -> list[Duty]:
    """Return the duties; none where FEATURE_GARBAGE_COLLECTION is off or nothing may change."""
    if not settings.feature_garbage_collection or settings.registry_state != "normal":
        return []
    interval = timedelta(seconds=settings.garbage_collection_frequency)
    return [
        Duty(name="gcworker", interval=interval, run=collector.collect, exclusive=False),
        Duty(name="gcsweep", interval=SWEEP_INTERVAL, run=collector.sweep),
    ]

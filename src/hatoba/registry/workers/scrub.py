"""Duty: read all stored blobs again and again, and compare their digests.

Every pod asks whether a pass is due; the pass itself holds a lease of its own, which is prolonged
while it lasts, for hours.
"""

from datetime import timedelta
from typing import Final

from hatoba.config.schema import QuayConfig
from hatoba.registry.retention.scrub import Scrubber
from hatoba.registry.workers.schedule import Duty

ASK_INTERVAL: Final = timedelta(minutes=1)


def scrub_duties(scrubber: Scrubber, settings: QuayConfig) -> list[Duty]:
    """Return the duty; none where FEATURE_STORAGE_SCRUB is off or nothing may change."""
    if not settings.feature_storage_scrub or settings.registry_state != "normal":
        return []
    return [Duty(name="storagescrub", interval=ASK_INTERVAL, run=scrubber.run_due, exclusive=False)]

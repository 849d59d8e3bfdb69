"""Duty: hand manifests to the security scanner that it has not seen."""

from datetime import timedelta

from hatoba.registry.scanning.service import Scanning
from hatoba.registry.workers.schedule import Duty


def scan_duties(scanning: Scanning | None, *, interval_seconds: int) -> list[Duty]:
    """Return the duty; none where the scanner is off."""
    if scanning is None:
        return []
    interval = timedelta(seconds=interval_seconds)
    return [Duty(name="securityscan", interval=interval, run=scanning.index_due)]

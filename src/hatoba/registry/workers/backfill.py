"""Duty: read the manifests that another version stored without reading their subjects."""

from datetime import timedelta

from hatoba.registry.content.backfill import MANIFESTS_PER_BATCH, Backfill
from hatoba.registry.workers.schedule import Duty, to_the_end


def backfill_duties(backfill: Backfill) -> list[Duty]:
    """Return the duty. It repeats, as old pods may write beside new ones during an upgrade."""
    fill = to_the_end(backfill.fill_subjects, batch=MANIFESTS_PER_BATCH)
    return [Duty(name="manifestsubjectbackfill", interval=timedelta(hours=1), run=fill)]

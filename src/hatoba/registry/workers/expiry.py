"""Duty: forget uploads that nobody continued, what they left, and holds that have run out."""

from datetime import timedelta

from hatoba.registry.content.holdings import Holdings
from hatoba.registry.content.uploads import Uploads
from hatoba.registry.workers.schedule import Duty


def expiry_duties(uploads: Uploads, holdings: Holdings) -> list[Duty]:
    """Return the duties."""
    return [
        Duty(name="blobuploadcleanup", interval=timedelta(hours=1), run=uploads.expire_uploads),
        Duty(name="storagecleanup", interval=timedelta(hours=6), run=uploads.sweep_uploads),
        Duty(name="uploadedblobcleanup", interval=timedelta(hours=1), run=holdings.expire_holds),
    ]

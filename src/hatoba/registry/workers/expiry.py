"""Duty: forget uploads that nobody continued, what they left, and holds that have run out."""

from datetime import timedelta

from hatoba.registry.content.holdings import HOLDS_PER_BATCH, Holdings
from hatoba.registry.content.uploads import CLAIMS_PER_BATCH, UPLOADS_PER_BATCH, Uploads
from hatoba.registry.workers.schedule import Duty, to_the_end


def expiry_duties(uploads: Uploads, holdings: Holdings) -> list[Duty]:
    """Return the duties."""
    hour = timedelta(hours=1)
    expire_uploads = to_the_end(uploads.expire_uploads, batch=UPLOADS_PER_BATCH)
    forget_claims = to_the_end(uploads.forget_claims, batch=CLAIMS_PER_BATCH)
    expire_holds = to_the_end(holdings.expire_holds, batch=HOLDS_PER_BATCH)
    return [
        Duty(name="blobuploadcleanup", interval=hour, run=expire_uploads),
        Duty(name="uploadclaimcleanup", interval=hour, run=forget_claims),
        Duty(name="storagecleanup", interval=timedelta(hours=6), run=uploads.sweep_uploads),
        Duty(name="uploadedblobcleanup", interval=hour, run=expire_holds),
    ]

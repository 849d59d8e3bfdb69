"""Which duties there are, and what the background process of a pod runs.

`quay-app` pods run all but mirroring, which has pods of its own.
"""

from collections.abc import Sequence

from hatoba.kernel.errors import NotFound
from hatoba.registry.app import Services
from hatoba.registry.db.tables.hatoba import leases
from hatoba.registry.workers.backfill import backfill_duties
from hatoba.registry.workers.collect import collect_duties
from hatoba.registry.workers.expiry import expiry_duties
from hatoba.registry.workers.mirror import mirror_duties
from hatoba.registry.workers.scan import scan_duties
from hatoba.registry.workers.schedule import Duty, run_duties
from hatoba.registry.workers.scrub import scrub_duties
from hatoba.sql.leases import Leases


class DutyUnknown(NotFound):
    """A duty that does not exist."""


def background_duties(services: Services) -> list[Duty]:
    """Return the duties of a quay-app pod."""
    interval = services.settings.security_scanner_indexing_interval
    return [
        *expiry_duties(services.uploads, services.holdings),
        *backfill_duties(services.backfill),
        *collect_duties(services.collector, services.settings),
        *scrub_duties(services.scrubber, services.settings),
        *scan_duties(services.rooms.scanning, interval_seconds=interval),
    ]


def duties_named(services: Services, names: Sequence[str]) -> list[Duty]:
    """Return duties by their names.

    Raises:
        DutyUnknown: one of them does not exist.
    """
    known = {duty.name: duty for duty in [*background_duties(services), *mirror_duties(services)]}
    for name in names:
        if name not in known:
            raise DutyUnknown(f"there is no duty {name!r}; known are {', '.join(sorted(known))}")
    return [known[name] for name in names]


async def run_background(services: Services, duties: Sequence[Duty]) -> None:
    """Run duties until cancelled."""
    holding = Leases(database=services.database, table=leases, clock=services.clock)
    await run_duties(duties, leases=holding)

"""Duty: look for mirrors that are due and bring them up to date; what quay-mirror pods do.

Not exclusive: every pod looks, and the claim of a mirror decides who copies it.
"""

from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from hatoba.config.loader import configuration_directory
from hatoba.net.authorities import trusted_authorities
from hatoba.registry.app import Services
from hatoba.registry.audit.models import Actor
from hatoba.registry.content.models import Caller
from hatoba.registry.mirroring.endpoints import ContentTarget, source_opener
from hatoba.registry.mirroring.models import MirrorRecord
from hatoba.registry.mirroring.worker import MirrorWorker
from hatoba.registry.workers.schedule import Duty

log = structlog.get_logger()

NAME: Final = "mirror"
USER_AGENT: Final = "hatoba-mirror"


def mirror_duties(services: Services) -> list[Duty]:
    """Return the duty; it rests where FEATURE_REPO_MIRROR is off or nothing may change."""
    settings, rooms = services.settings, services.rooms
    interval = timedelta(seconds=settings.repo_mirror_interval)
    if not settings.feature_repo_mirror or settings.registry_state != "normal":
        return [Duty(name=NAME, interval=interval, run=_rest, exclusive=False)]

    def may_be_private(mirror: MirrorRecord) -> bool:
        return rooms.mirroring.may_be_private(mirror.source)

    worker = MirrorWorker(
        mirrors=rooms.mirroring,
        open_source=source_opener(
            may_be_private=may_be_private,
            verify_tls=settings.repo_mirror_tls_verify,
            trust=trusted_authorities(configuration_directory()),
        ),
        open_target=partial(_target, services),
        clock=services.clock,
    )
    return [Duty(name=NAME, interval=interval, run=worker.look, exclusive=False)]


async def _rest() -> None:
    log.debug("nothing is mirrored")


def _target(services: Services, mirror: MirrorRecord) -> ContentTarget:
    caller = Caller(
        actor=Actor(account_id=mirror.robot_id), username=mirror.robot, user_agent=USER_AGENT
    )
    return ContentTarget(
        mirror=mirror,
        caller=caller,
        manifests=services.manifests,
        uploads=services.uploads,
        holdings=services.holdings,
        listings=services.listings,
    )

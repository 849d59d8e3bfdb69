"""Whether the duty looks for mirrors that are due."""

from types import SimpleNamespace
from typing import Any

import pytest

from hatoba.config.schema import QuayConfig
from hatoba.kernel.clock import SystemClock
from hatoba.registry.workers.mirror import mirror_duties

pytestmark = pytest.mark.anyio


class Asked(Exception):
    """Somebody asked for a mirror that is due."""


class Mirrors:
    def __getattr__(self, name: str) -> object:
        raise Asked(name)


@pytest.mark.parametrize(
    ("changes", "asks"),
    [
        ({"FEATURE_REPO_MIRROR": True}, True),
        ({"FEATURE_REPO_MIRROR": False}, False),
        ({"FEATURE_REPO_MIRROR": True, "REGISTRY_STATE": "readonly"}, False),
    ],
)
async def test_a_registry_that_only_reads_mirrors_nothing(
    changes: dict[str, object], asks: bool
) -> None:
    settings = QuayConfig.model_validate({"SECRET_KEY": "s", "DATABASE_SECRET_KEY": "d", **changes})
    # What is asked for a mirror is all that matters here.
    services: Any = SimpleNamespace(
        settings=settings, rooms=SimpleNamespace(mirroring=Mirrors()), clock=SystemClock()
    )
    (duty,) = mirror_duties(services)
    if asks:
        with pytest.raises(Asked):
            await duty.run()
    else:
        await duty.run()

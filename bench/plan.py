"""How long and how large: every loop of a benchmark is bounded by what stands here."""

from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20


@dataclass(slots=True, frozen=True, kw_only=True)
class Plan:
    """The bounds of a run."""

    label: str
    rounds: int
    seconds: int
    """Of one window of measurement."""
    settle_seconds: float
    """After a window, until the audit rows of its pulls are written: their cost is its cost, and
    must not weigh on the peer's turn."""
    large_bytes: int
    chunk_bytes: int
    large_limit: int
    """Large operations in one window at most; times the concurrency."""
    limit: int
    """Small operations in one window at most."""
    tags: int
    repositories: int
    layers: int
    layer_bytes: int
    mixed_seconds: float
    upload_bytes: int
    uploads: int
    statements: int
    """Requests whose SQL statements are counted."""
    registries: int
    """QuayRegistries that one operator looks after."""
    namespaces: int
    idle_seconds: float
    """How long the operator is watched after its work."""


FULL: Final = Plan(
    label="full",
    rounds=3,
    seconds=3,
    settle_seconds=1.3,
    large_bytes=100 * MIB,
    chunk_bytes=10 * MIB,
    large_limit=4,
    limit=100_000,
    tags=10_000,
    repositories=300,
    layers=20,
    layer_bytes=5 * MIB,
    mixed_seconds=60.0,
    upload_bytes=1024 * MIB,
    uploads=16,
    statements=2000,
    registries=500,
    namespaces=50,
    idle_seconds=10.0,
)
QUICK: Final = Plan(
    label="quick",
    rounds=1,
    seconds=1,
    settle_seconds=1.3,
    large_bytes=100 * MIB,
    chunk_bytes=10 * MIB,
    large_limit=1,
    limit=100_000,
    tags=10_000,
    repositories=120,
    layers=20,
    layer_bytes=5 * MIB,
    mixed_seconds=6.0,
    upload_bytes=64 * MIB,
    uploads=16,
    statements=2000,
    registries=10,
    namespaces=5,
    idle_seconds=3.0,
)
TINY: Final = Plan(
    label="tiny",
    rounds=1,
    seconds=1,
    settle_seconds=0.0,
    large_bytes=2 * MIB,
    chunk_bytes=MIB,
    large_limit=1,
    limit=200,
    tags=30,
    repositories=5,
    layers=2,
    layer_bytes=MIB,
    mixed_seconds=1.0,
    upload_bytes=2 * MIB,
    uploads=2,
    statements=20,
    registries=2,
    namespaces=2,
    idle_seconds=0.5,
)
"""For tests of the harness: shows that it works, says nothing about speed."""

PLANS: Final = {plan.label: plan for plan in (FULL, QUICK, TINY)}

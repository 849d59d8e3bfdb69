"""How the connections that a process may open to PostgreSQL are shared among its pools.

A pool opens a connection when it needs one, and keeps it. No pool lends to another, so that who
holds a connection of one never waits for himself in it.
"""

from dataclasses import dataclass
from typing import Final

LISTENING: Final = 1
"""Hears of changes (`content/invalidation`)."""
TAGS: Final = 1
"""Those who wait for it are asked for together (`content/resolver`)."""
_LISTS: Final = 2
"""More would only compete for the one CPU of the process."""
_PUSHES: Final = 8


@dataclass(slots=True, frozen=True, kw_only=True)
class Pools:
    """The most connections of each pool."""

    lists: int
    pushes: int
    """So many things are pushed at once; others wait."""
    rest: int
    """All that SQLAlchemy asks."""


def share(connections: int) -> Pools:
    """Return pools that have so many connections in all, with those of `TAGS` and `LISTENING`.

    Eight or more: fewer leave a pool without any.
    """
    left = connections - LISTENING - TAGS
    lists = min(_LISTS, left // 6)
    pushes = min(_PUSHES, (left - lists) // 2)
    return Pools(lists=lists, pushes=pushes, rest=left - lists - pushes)

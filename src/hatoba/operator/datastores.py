"""Where data of a registry lives and where it is moving: a database, or blobs in a volume. Values.

Made by `stores` and `blobstores` from what is there; part of the plan.
"""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True, kw_only=True)
class DataMove:
    """A database, or all blobs, on the way into another claim."""

    claim: str
    """Name without the registry's prefix of the claim that it moves to."""
    image: str
    """The server that is to run with it; for blobs, what copies them."""
    checked: bool = False
    """True once a pod has shown that image and claim can be had: before that it serves."""
    filled: bool = False
    """Of blobs: true once a first copy was made, beside a registry that serves."""
    held: str = ""
    """Of blobs: what has to end before nobody may write."""
    failure: str = ""
    """Why it stays where it is; "" while it is on its way."""
    step: str = ""
    """What lets it go on by itself; "" when that takes a new Job."""


@dataclass(slots=True, frozen=True, kw_only=True)
class DataStore:
    """Where a managed database or blobs live. Names of claims are without the registry's prefix."""

    claim: str
    image: str
    """The server that runs with it."""
    copied: bool = False
    """True when the data came there by a move."""
    kept: tuple[str, ...] = ()
    """Claims with the data from before earlier moves."""
    abandoned: str = ""
    """A claim that a move had begun to fill which is not wanted any more."""
    move: DataMove | None = None
    settling: bool = False
    """Of blobs: true while pods have the claim from before a move."""
    access_mode: str = ""
    """Of blobs that move: how the claim is shared that they are in; "" else."""

    @property
    def is_quiet(self) -> bool:
        """Of blobs: true while they are only read."""
        move = self.move
        ready = move is not None and move.filled and not (move.failure or move.held)
        return self.settling or ready

    @property
    def is_stopped(self) -> bool:
        """True while nobody may write."""
        return self.move is not None and self.move.checked and not self.move.failure

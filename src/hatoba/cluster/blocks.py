"""Which addresses a cluster uses: a block of 127.0.0.0/8 that no other running cluster uses.

The claim is a socket in Linux's abstract namespace: it belongs to exactly one process, is seen by
all users of the machine, and is gone the moment the process is.
"""

import hashlib
import socket
from pathlib import Path
from typing import Final

from hatoba.kernel.errors import Unavailable

_FIRST: Final = 16
_COUNT: Final = 224
"""127.16 to 127.239: away from what systemd-resolved (127.0.0.53) and Debian (127.0.1.1) use."""


class NoBlockLeft(Unavailable):
    """Every block belongs to a running cluster."""


class Block:
    """A claimed block."""

    def __init__(self, number: int, claim: socket.socket) -> None:
        self.number = number
        self._claim = claim

    def release(self) -> None:
        """Let others have it."""
        self._claim.close()


def claim_block(home: Path, *, wanted: int) -> Block:
    """Claim the wanted block, else one that the home's path suggests, else the next free one.

    Raises:
        NoBlockLeft: two hundred clusters run already.
    """
    digest = hashlib.sha256(str(home).encode()).digest()
    start = int.from_bytes(digest[:4], "big") % _COUNT
    candidates = [_FIRST + (start + step) % _COUNT for step in range(_COUNT)]
    for number in ([wanted] if wanted else []) + candidates:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0hatoba-block-{number}")
        except OSError:
            claim.close()
            continue
        return Block(number, claim)
    raise NoBlockLeft("all address blocks belong to running clusters")

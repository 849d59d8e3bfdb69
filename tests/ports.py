"""Ports for servers that tests start."""

import random
import socket
from typing import Final

FIRST: Final = 20_000
LAST: Final = 29_999
"""Below what Linux gives to outgoing connections (32768 on): none of these takes the port of a
server that is about to start, or is down for a moment."""
_dice = random.SystemRandom()
"""Not the seeded generator: parallel test processes would draw the same ports."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    while True:
        port = _dice.randint(FIRST, LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port

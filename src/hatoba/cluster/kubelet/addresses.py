"""Addresses of pods: each has one of its own in 127.0.0.0/8, so that ports never collide.

A home owns 127.<block>.0.0/16: pods live in its lower half, Services' addresses (on which nobody
listens) in its upper half.
"""

from typing import Final

from hatoba.kernel.errors import Unavailable

_FIRST: Final = 2
_LAST: Final = 127 * 256 + 254


class NoAddressLeft(Unavailable):
    """All addresses of the block are in use."""


def node_address(block: int) -> str:
    """Return the node's own address."""
    return f"127.{block}.0.1"


def service_network(block: int) -> str:
    """Return the network that Services' addresses are taken from."""
    return f"127.{block}.128.0/17"


class Addresses:
    """Hands out pod addresses; one that was given back is used again as late as possible."""

    def __init__(self, block: int) -> None:
        self._block = block
        self._used: dict[int, str] = {}
        self._next = _FIRST

    def claim(self, address: str, *, owner: str) -> bool:
        """Mark an address that a pod has from before; False when it is not free, or not ours."""
        parts = address.split(".")
        if len(parts) != 4 or parts[:2] != ["127", str(self._block)]:
            return False
        number = int(parts[2]) * 256 + int(parts[3])
        if self._used.get(number, owner) != owner:
            return False
        self._used[number] = owner
        self._next = max(self._next, number + 1)
        return True

    def allocate(self, owner: str) -> str:
        """Return the owner's address, a new one at the first call.

        Raises:
            NoAddressLeft: thirty thousand pods run already.
        """
        for number, holder in self._used.items():
            if holder == owner:
                return self._text(number)
        for _ in range(_FIRST, _LAST):
            number = self._next if self._next <= _LAST else _FIRST
            self._next = number + 1
            # The last byte is neither 0 nor 255, so that nobody takes it for a network.
            if number not in self._used and number % 256 not in {0, 255}:
                self._used[number] = owner
                return self._text(number)
        raise NoAddressLeft(f"no free address in 127.{self._block}.0.0/17")

    def release(self, owner: str) -> None:
        """Give back what the owner has."""
        for number in [number for number, holder in self._used.items() if holder == owner]:
            del self._used[number]

    def _text(self, number: int) -> str:
        return f"127.{self._block}.{number // 256}.{number % 256}"

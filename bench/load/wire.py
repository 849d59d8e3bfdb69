"""HTTP/1.1 for the lean client: what goes out in pieces without copies, what comes in by counting.

Bodies of answers are counted and dropped. Spec: RFC 9112.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_LAST_CHUNK: Final = b"0\r\n\r\n"


@dataclass(slots=True, frozen=True, kw_only=True)
class Outgoing:
    """A request: its head, and its body in pieces."""

    head: bytes
    body: tuple[memoryview, ...] = ()
    is_head: bool = False


@dataclass(slots=True, kw_only=True)
class Incoming:
    """A response as far as it has come in."""

    is_head: bool
    buffer: bytearray = field(default_factory=bytearray)
    head: bytes = b""
    status: int = 0
    body_bytes: int = 0
    is_complete: bool = False
    _length: int | None = None
    _tail: bytes = b""

    def feed(self, data: memoryview) -> None:
        """Take what was received."""
        if self.head:
            self._count(data)
            return
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        self.head = bytes(self.buffer[: end + 2])
        self.status = int(self.head[9:12])
        self._count(memoryview(bytes(self.buffer[end + 4 :])))

    def header(self, name: bytes) -> str:
        """Return a header's value, empty where there is none."""
        found = re.search(rb"\r\n" + name + rb": *([^\r]*)\r\n", self.head, re.IGNORECASE)
        return found[1].decode("latin-1") if found else ""

    def _count(self, data: memoryview) -> None:
        self.body_bytes += len(data)
        if self.is_head or self.status in {204, 304}:
            self.is_complete = True
        elif _CHUNKED.search(self.head):
            self._tail = (self._tail + bytes(data[-len(_LAST_CHUNK) :]))[-len(_LAST_CHUNK) :]
            self.is_complete = self._tail == _LAST_CHUNK
        else:
            if self._length is None:
                found = _LENGTH.search(self.head)
                self._length = int(found[1]) if found else 0
            self.is_complete = self.body_bytes >= self._length


def request(
    method: str,
    target: str,
    *,
    port: int,
    headers: dict[str, str],
    body: Iterable[memoryview] | None = None,
    length: int = 0,
) -> Outgoing:
    """Build a request; a body announces its length, and so does none where one is expected."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: localhost:{port}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None or method in {"POST", "PUT", "PATCH"}:
        lines.append(f"Content-Length: {length}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return Outgoing(head=head, body=tuple(body or ()), is_head=method == "HEAD")

"""Walk a tar archive front to back without extracting it.

Nothing is written anywhere and no name is trusted, so there is no path to escape to. Memory is
bounded: the reader asks for one entry's header, and its user decides whether to read the content.

Spec: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual,
"GNU tar format" for long names, base-256 numbers and sparse files.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from hatoba.scanner.indexer.errors import LayerMalformed, LayerTooLarge

BLOCK: Final = 512
MAXIMUM_ENTRIES: Final = 4_000_000
MAXIMUM_EXTENSION_BYTES: Final = 1 << 20
SKIP_BYTES: Final = 1 << 20
REGULAR: Final = frozenset({b"0", b"\0", b"7"})
_ZERO: Final = bytes(BLOCK)


class Source(Protocol):
    """Something to read from, front to back."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """A member of an archive; `read` works until the next entry is asked for."""

    path: str
    """Normalised: without a leading or trailing slash, `.` or `..` parts."""
    kind: bytes
    size: int
    is_sparse: bool
    _archive: "Archive" = field(repr=False)

    @property
    def is_regular(self) -> bool:
        """Whether it is a file with content of its own."""
        return self.kind in REGULAR and not self.is_sparse

    def read(self, *, limit: int) -> bytes:
        """Return the content.

        Raises:
            LayerTooLarge: it is longer than `limit`.
        """
        if self.size > limit:
            raise LayerTooLarge(f"{self.path[:200]} has {self.size} bytes, more than {limit}")
        return self._archive.read_content(self.size)


def normalise(path: str) -> str:
    """Resolve `.` and `..` within the archive's root; `../../etc` cannot leave it."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


class Archive:
    """An archive being walked."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0
        """Bytes of the present entry, padding included, that were not read yet."""

    def entries(self) -> Iterator[Entry]:
        """Give the entries in order.

        Raises:
            LayerMalformed: not a tar archive, or cut off.
            LayerTooLarge: more entries or longer names than any image has.
        """
        extended: dict[str, str] = {}
        for _ in range(MAXIMUM_ENTRIES):
            self._skip()
            header = self._exactly(BLOCK, may_end=True)
            if not header or header == _ZERO:
                return
            _check(header)
            kind, size = header[156:157], _number(header[124:136])
            if kind in b"xgLK":
                self._left = -(-size // BLOCK) * BLOCK
                extended |= self._extension(kind, size)
                continue
            yield self._entry(header, kind=kind, size=size, extended=extended)
            extended = {}
        raise LayerTooLarge(f"the layer has more than {MAXIMUM_ENTRIES} entries")

    def read_content(self, size: int) -> bytes:
        """Return the next bytes of the present entry."""
        content = self._exactly(size)
        self._left -= size
        return content

    def _entry(self, header: bytes, *, kind: bytes, size: int, extended: dict[str, str]) -> Entry:
        sparse = kind == b"S" or any(name.startswith("GNU.sparse.") for name in extended)
        if kind == b"S":
            self._skip_sparse_map(header)
        if "size" in extended:
            size = _decimal(extended["size"])
        if kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
            size = 0
        self._left = -(-size // BLOCK) * BLOCK
        path = extended.get("GNU.sparse.name") or extended.get("path") or _name(header)
        return Entry(path=normalise(path), kind=kind, size=size, is_sparse=sparse, _archive=self)

    def _extension(self, kind: bytes, size: int) -> dict[str, str]:
        if size > MAXIMUM_EXTENSION_BYTES:
            raise LayerTooLarge(f"an extended header has {size} bytes")
        content = self.read_content(size)
        if kind == b"L":
            return {"path": content.split(b"\0", 1)[0].decode("utf-8", "replace")}
        return _records(content) if kind == b"x" else {}

    def _skip_sparse_map(self, header: bytes) -> None:
        more = header[482:483] == b"\1"
        while more:
            more = self._exactly(BLOCK)[504:505] == b"\1"

    def _skip(self) -> None:
        while self._left:
            self._left -= len(self._exactly(min(self._left, SKIP_BYTES)))

    def _exactly(self, size: int, *, may_end: bool = False) -> bytes:
        pieces: list[bytes] = []
        missing = size
        while missing:
            piece = self._source.read(missing)
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        if missing and (pieces or not may_end):
            raise LayerMalformed("the layer ends in the middle of an entry")
        return b"".join(pieces)


def _check(header: bytes) -> None:
    given = _number(header[148:156])
    plain = header[:148] + b" " * 8 + header[156:]
    # Some old writers summed signed bytes; the second sum is made only for them.
    if given != sum(plain) and given != sum(byte - 256 if byte > 127 else byte for byte in plain):
        raise LayerMalformed("the layer is not a tar archive")


def _number(raw: bytes) -> int:
    if raw[0] == 0x80:
        # Base-256, positive.
        return int.from_bytes(raw[1:], "big")
    text = raw.split(b"\0", 1)[0].strip()
    try:
        value = int(text or b"0", 8)
    except ValueError as error:
        raise LayerMalformed("the layer is not a tar archive") from error
    if value < 0:
        raise LayerMalformed("an entry of the layer has a negative size")
    return value


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    return name.decode("utf-8", "replace")


def _records(content: bytes) -> dict[str, str]:
    """Read records of the form `<length> <key>=<value>`, each ended by a line feed."""
    found = {}
    while content:
        length_text, space, _ = content.partition(b" ")
        length = _decimal(length_text.decode("ascii", "replace"))
        record = content[:length]
        is_whole = len(record) == length > len(length_text) + 1 and record.endswith(b"\n")
        if not space or not is_whole:
            raise LayerMalformed("an extended header of the layer is damaged")
        key, _, value = record[len(length_text) + 1 : -1].partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        content = content[length:]
    return found


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise LayerMalformed("an extended header of the layer is damaged")
    return int(text)

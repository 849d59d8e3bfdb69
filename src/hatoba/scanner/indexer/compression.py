"""Open a layer for reading, whatever it is compressed with.

The media type is not believed: the first bytes tell. What comes out is bounded, so that a small
file that unpacks to terabytes is given up early.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from hatoba.scanner.indexer.errors import LayerEncodingUnsupported, LayerMalformed, LayerTooLarge
from hatoba.scanner.indexer.tar import Source

MAXIMUM_UNPACKED_BYTES: Final = 64 << 30
_GZIP: Final = b"\x1f\x8b"
_REFUSED: Final = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"LRZI": "lrzip",
}


class BoundedSource:
    """Passes reads on until too much has been read, and speaks of damage in our words."""

    def __init__(self, source: Source, *, limit: int) -> None:
        self._source = source
        self._limit = limit
        self._left = limit

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            LayerMalformed: the compressed data are damaged or cut off.
            LayerTooLarge: the limit is passed.
        """
        try:
            content = self._source.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise LayerMalformed("the layer's compressed data are damaged") from error
        self._left -= len(content)
        if self._left < 0:
            raise LayerTooLarge(f"the layer unpacks to more than {self._limit} bytes")
        return content


@contextmanager
def opened_blocking(path: Path, *, limit: int = MAXIMUM_UNPACKED_BYTES) -> Iterator[Source]:
    """Give the unpacked bytes of a layer's file.

    Raises:
        LayerEncodingUnsupported: compressed with something else than gzip.
    """
    with path.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        for magic, name in _REFUSED.items():
            if start.startswith(magic):
                raise LayerEncodingUnsupported(f"layers compressed with {name} are not supported")
        yield BoundedSource(_unpacked(file, start), limit=limit)


def _unpacked(file: BinaryIO, start: bytes) -> Source:
    if start.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file, mode="rb")
    return file

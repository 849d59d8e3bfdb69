"""Sealed streams: what a backup's files look like, for whoever has the key and for everybody else.

    header  8 bytes  "HATOBAK1"
            4 bytes  length of a chunk's plain text, big endian
            8 bytes  which key it was, so that a wrong one is told from damage
           32 bytes  salt
    chunks  AES-256-GCM, each 16 bytes longer than its plain text; all but the last are full

The key of a stream is derived (HKDF-SHA256) from the key, the salt and the name of the file, so
that no file can stand for another one. A chunk's nonce holds its number and whether it is the
last: chunks cannot be left out, exchanged or cut off unnoticed. The header is authenticated with
every chunk. A changed format gets another magic, and this one stays readable.
"""

import base64
import binascii
import os
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hatoba.registry.backup.errors import FormatUnknown, KeyMalformed, KeyWrong, SealBroken

MAGIC: Final = b"HATOBAK1"
KEY_BYTES: Final = 32
CHUNK_BYTES: Final = 1 << 20
LARGEST_CHUNK_BYTES: Final = 16 << 20
"""More than this nobody writes; a forged header must not make us take any amount of memory."""
TAG_BYTES: Final = 16
_SALT_BYTES: Final = 32
_HEADER: Final = struct.Struct(f">8sI8s{_SALT_BYTES}s")
HEADER_BYTES: Final = _HEADER.size


@dataclass(slots=True, frozen=True)
class BackupKey:
    """The one secret of a vault: whoever has it can read its backups and make new ones."""

    secret: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "BackupKey":
        """Read the text of a key.

        Raises:
            KeyMalformed: it is not 32 bytes in base64.
        """
        try:
            secret = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError) as error:
            raise KeyMalformed("the key is not base64; `hatoba backup key` makes one") from error
        if len(secret) != KEY_BYTES:
            raise KeyMalformed(
                f"the key has {len(secret)} bytes instead of {KEY_BYTES}; "
                "`hatoba backup key` makes one"
            )
        return cls(secret)

    @classmethod
    def new(cls) -> "BackupKey":
        """Return a key that nobody had before."""
        return cls(os.urandom(KEY_BYTES))

    def text(self) -> str:
        """Return the key as people keep it."""
        return base64.b64encode(self.secret).decode()

    def known_by(self) -> bytes:
        """Return eight bytes that tell keys apart and nothing about them."""
        return self._derive(b"", b"which key")[:8]

    def for_stream(self, salt: bytes, name: str) -> AESGCM:
        """Return the cipher of one file."""
        return AESGCM(self._derive(salt, b"stream " + name.encode()))

    def hidden(self, text: str) -> str:
        """Return a name that only holders of the key can connect with a text; always the same."""
        mac = HMAC(self._derive(b"", b"names"), SHA256())
        mac.update(text.encode())
        return mac.finalize().hex()

    def _derive(self, salt: bytes, purpose: bytes) -> bytes:
        derivation = HKDF(
            algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=b"hatoba backup 1 " + purpose
        )
        return derivation.derive(self.secret)


def sealed_size(plain_bytes: int, *, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Return how long a stream is once it is sealed."""
    chunks = max(1, -(-plain_bytes // chunk_bytes))
    return HEADER_BYTES + plain_bytes + chunks * TAG_BYTES


async def seal(
    plain: AsyncIterator[bytes], *, key: BackupKey, name: str, chunk_bytes: int = CHUNK_BYTES
) -> AsyncIterator[bytes]:
    """Yield the sealed form of a stream that will be called `name`."""
    salt = os.urandom(_SALT_BYTES)
    header = _HEADER.pack(MAGIC, chunk_bytes, key.known_by(), salt)
    cipher = key.for_stream(salt, name)
    yield header
    number, waiting = 0, bytearray()
    async for data in plain:
        waiting += data
        # One byte more than a chunk proves that this chunk is not the last.
        while len(waiting) > chunk_bytes:
            chunk = bytes(waiting[:chunk_bytes])
            del waiting[:chunk_bytes]
            yield cipher.encrypt(_nonce(number, is_last=False), chunk, header)
            number += 1
    yield cipher.encrypt(_nonce(number, is_last=True), bytes(waiting), header)


async def unseal(
    sealed: AsyncIterator[bytes], *, key: BackupKey, name: str
) -> AsyncIterator[bytes]:
    """Yield the plain form of a stream that is called `name`.

    What was yielded is authentic; that it is whole is known only at the end.

    Raises:
        FormatUnknown: it is no sealed stream of a format that is known here.
        KeyWrong: it was sealed with another key.
        SealBroken: it was changed or cut off, or was made as another file.
    """
    waiting = bytearray()
    cipher: AESGCM | None = None
    header, number, length = b"", 0, 0
    async for data in sealed:
        waiting += data
        if cipher is None:
            if len(waiting) < HEADER_BYTES:
                continue
            header = bytes(waiting[:HEADER_BYTES])
            del waiting[:HEADER_BYTES]
            cipher, length = _opened(header, key=key, name=name)
        while len(waiting) > length:
            chunk = bytes(waiting[:length])
            del waiting[:length]
            yield _decrypt(cipher, chunk, header, name=name, nonce=_nonce(number, is_last=False))
            number += 1
    if cipher is None:
        raise FormatUnknown(f"{name} is shorter than the header of a sealed file")
    nonce = _nonce(number, is_last=True)
    yield _decrypt(cipher, bytes(waiting), header, name=name, nonce=nonce)


def _opened(header: bytes, *, key: BackupKey, name: str) -> tuple[AESGCM, int]:
    magic, chunk_bytes, known_by, salt = _HEADER.unpack(header)
    if magic != MAGIC:
        raise FormatUnknown(f"{name} is not a sealed file of a format that is known here")
    if not 0 < chunk_bytes <= LARGEST_CHUNK_BYTES:
        raise FormatUnknown(f"{name} has chunks of {chunk_bytes} bytes, which is not allowed")
    if known_by != key.known_by():
        raise KeyWrong(f"{name} was sealed with another key")
    return key.for_stream(salt, name), chunk_bytes + TAG_BYTES


def _decrypt(cipher: AESGCM, chunk: bytes, header: bytes, *, name: str, nonce: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, chunk, header)
    except (InvalidTag, ValueError) as error:
        raise SealBroken(f"{name} was changed or cut off") from error


def _nonce(number: int, *, is_last: bool) -> bytes:
    return struct.pack(">7xI?", number, is_last)

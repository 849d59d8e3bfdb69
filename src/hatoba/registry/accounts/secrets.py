"""Secrets at rest: hashes of passwords, encrypted columns, encrypted passwords.

All three are byte-compatible with Quay, so that an adopted database keeps working. Spec: the
stored-value notes of a Quay database; columns are `v0$$` + base64(nonce[13] + AES-CCM), encrypted
passwords are base64(IV[16] + AES-256-CBC(PKCS7(JSON))).
"""

import asyncio
import base64
import binascii
import itertools
import json
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Final

import bcrypt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.padding import PKCS7

from hatoba.kernel.errors import InvalidInput
from hatoba.registry.accounts.matches import SharedMatches
from hatoba.registry.accounts.metrics import PASSWORD_HASHES

COLUMN_PREFIX: Final = "v0$$"
NONCE_BYTES: Final = 13
BLOCK_BYTES: Final = 16
BCRYPT_BYTES: Final = 72


class UnreadableSecret(InvalidInput):
    """A stored value that the configured key does not open."""


def derive_key(configured: str) -> bytes:
    """Return the 32 bytes that a configured secret key stands for.

    Quay reads a decimal number as its bytes, else a UUID as its bytes, else the character codes,
    and repeats them to the length of an AES-256 key.
    """
    if not configured:
        raise InvalidInput("the secret key is empty")
    return bytes(itertools.islice(itertools.cycle(_key_material(configured)), 32))


def _key_material(configured: str) -> bytes:
    try:
        return bytes.fromhex(f"{int(configured):02x}")
    except ValueError:
        pass
    try:
        return uuid.UUID(configured).bytes
    except ValueError:
        return bytes(ord(character) % 256 for character in configured)


@dataclass(slots=True, frozen=True)
class ColumnCipher:
    """Encrypts columns of the database with DATABASE_SECRET_KEY."""

    key: bytes = field(repr=False)

    def encrypt(self, value: str) -> str:
        """Return the stored form of a value; different each time."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESCCM(self.key).encrypt(nonce, value.encode(), None)
        return COLUMN_PREFIX + base64.b64encode(nonce + sealed).decode()

    def decrypt(self, stored: str) -> str:
        """Return the value behind a stored form.

        Raises:
            UnreadableSecret: another key encrypted it, or it is damaged.
        """
        if not stored.startswith(COLUMN_PREFIX):
            raise UnreadableSecret("the stored value has no known version")
        try:
            sealed = base64.b64decode(stored[len(COLUMN_PREFIX) :], validate=True)
            opened = AESCCM(self.key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
            return opened.decode()
        except (InvalidTag, ValueError) as error:
            raise UnreadableSecret(
                "a stored secret cannot be decrypted: DATABASE_SECRET_KEY is not the one it was"
                " written with"
            ) from error


@dataclass(slots=True, frozen=True)
class PasswordCipher:
    """Makes the encrypted passwords that people paste into `docker login`, with SECRET_KEY."""

    key: bytes = field(repr=False)

    def encrypt(self, password: str) -> str:
        """Return the encrypted form of a password; different each time."""
        padder = PKCS7(BLOCK_BYTES * 8).padder()
        plain = json.dumps({"password": password}).encode()
        padded = padder.update(plain) + padder.finalize()
        vector = secrets.token_bytes(BLOCK_BYTES)
        encryptor = Cipher(algorithms.AES(self.key), modes.CBC(vector)).encryptor()
        return base64.b64encode(vector + encryptor.update(padded) + encryptor.finalize()).decode()

    def decrypt(self, text: str) -> str | None:
        """Return the password inside; None when the text is not an encrypted password of ours."""
        try:
            sealed = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(sealed) < 2 * BLOCK_BYTES or len(sealed) % BLOCK_BYTES:
            return None
        vector, body = sealed[:BLOCK_BYTES], sealed[BLOCK_BYTES:]
        decryptor = Cipher(algorithms.AES(self.key), modes.CBC(vector)).decryptor()
        unpadder = PKCS7(BLOCK_BYTES * 8).unpadder()
        try:
            padded = decryptor.update(body) + decryptor.finalize()
            decoded = json.loads(unpadder.update(padded) + unpadder.finalize())
        except ValueError:
            return None
        password = decoded.get("password") if isinstance(decoded, dict) else None
        return password if isinstance(password, str) else None


@dataclass(slots=True, kw_only=True)
class SecretHasher:
    """bcrypt, off the event loop; remembers in memory which secrets it saw match.

    A secret that several requests bring at once is hashed once, in whichever processes that share
    `known` they arrive.

    What is remembered is bound to the stored hash, so that a changed password or a revoked token
    is never accepted from memory: the row is read each time.
    """

    rounds: int = 12
    known: SharedMatches = field(default_factory=SharedMatches, repr=False)
    _comparing: dict[bytes, asyncio.Task[bool]] = field(default_factory=dict, repr=False)

    async def hash(self, secret: str) -> str:
        """Return the stored form of a secret."""
        return await asyncio.to_thread(self._hash_blocking, secret)

    async def matches(self, secret: str, *, stored: str) -> bool:
        """Say whether a secret is the one behind a stored hash."""
        mark = self.known.mark(secret, stored=stored)
        if mark in self.known:
            return True
        if mark not in self._comparing:
            comparing = asyncio.create_task(
                asyncio.to_thread(self._compare_blocking, mark, secret, stored)
            )
            comparing.add_done_callback(lambda _: self._comparing.pop(mark, None))
            self._comparing[mark] = comparing
        # Who waits may leave; the others still want to know.
        return await asyncio.shield(self._comparing[mark])

    def _compare_blocking(self, mark: bytes, secret: str, stored: str) -> bool:
        with self.known.alone_blocking(mark):
            # Another process may have found it while this one waited.
            if mark in self.known:
                return True
            if not _matches_blocking(secret, stored):
                return False
            self.known.add(mark)
            return True

    async def waste_time(self, secret: str) -> None:
        """Take as long as a comparison, so that unknown names cannot be told by their speed."""
        await asyncio.to_thread(self._hash_blocking, secret)

    def _hash_blocking(self, secret: str) -> str:
        PASSWORD_HASHES.inc()
        salt = bcrypt.gensalt(self.rounds)
        return bcrypt.hashpw(_for_bcrypt(secret), salt).decode()


def _for_bcrypt(secret: str) -> bytes:
    """Cut to the 72 bytes that bcrypt looks at: Quay does so silently, and its hashes stand."""
    return secret.encode(errors="surrogatepass")[:BCRYPT_BYTES]


def _matches_blocking(secret: str, stored: str) -> bool:
    PASSWORD_HASHES.inc()
    try:
        return bcrypt.checkpw(_for_bcrypt(secret), stored.encode())
    except ValueError:
        return False

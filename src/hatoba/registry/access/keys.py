"""Keys that sign registry tokens: made once, shared by all replicas, rotated daily.

The private half lies in the database, encrypted with DATABASE_SECRET_KEY, so that any replica
signs with the same key; the public half lies in `servicekey` until the last token that it signed
has expired. Parsed keys are kept in memory.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog
from joserfc.jwk import RSAKey

from hatoba.kernel.clock import Clock
from hatoba.registry.access import store_keys
from hatoba.registry.access.errors import SigningKeyMissing
from hatoba.registry.accounts.secrets import ColumnCipher
from hatoba.sql.engine import Database

SERVICE: Final = "quay"
KEY_BITS: Final = 2048
SIGNING_PERIOD: Final = timedelta(hours=24)
LONGEST_LIFETIME: Final = timedelta(hours=1)
"""Of a token: its key is known until then."""
CLOCK_SKEW: Final = timedelta(minutes=5)
UNKNOWN_KEY_PAUSE_SECONDS: Final = 0.25
"""Between two looks for unknown keys: forged tokens must not become load on the database."""

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class KeyRing:
    """The keys of this registry, as one process sees them."""

    database: Database
    cipher: ColumnCipher
    clock: Clock
    _signing: tuple[RSAKey, datetime] | None = None
    _public: dict[str, RSAKey] = field(default_factory=dict)
    _looked_at: float = float("-inf")
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def signing_key(self) -> RSAKey:
        """Return the key that signs now; makes one where none is valid."""
        if self._signing is not None and self._signing[1] > self.clock.now():
            return self._signing[0]
        async with self._lock:
            now = self.clock.now()
            async with self.database.read() as connection:
                stored = await store_keys.current_key(connection, now=now)
            if stored is None:
                stored = await self._make()
            key = RSAKey.import_key(
                self.cipher.decrypt(stored.encrypted_private_key), {"kid": stored.kid}
            )
            if not key.is_private:
                raise SigningKeyMissing(f"signing key {stored.kid} has no private half")
            self._signing = key, stored.sign_until
            return key

    def known_key(self, kid: str) -> RSAKey | None:
        """Return a public key that is in memory."""
        return self._public.get(kid)

    async def public_key(self, kid: str) -> RSAKey | None:
        """Return a public key; asks the database for an unknown one, a few times per second.

        Nobody is told that a key is unknown by a look that began before he asked: another
        replica may have made it since. All who wait share the next look.
        """
        known = self._public.get(kid)
        if known is not None:
            return known
        asked_at = self.clock.monotonic()
        async with self._looking:
            if self._looked_at < asked_at:
                pause = self._looked_at + UNKNOWN_KEY_PAUSE_SECONDS - asked_at
                if pause > 0:
                    await asyncio.sleep(pause)
                await self.refresh()
            return self._public.get(kid)

    async def refresh(self) -> None:
        """Read the valid public keys; keys that expired are forgotten."""
        looked_at = self.clock.monotonic()
        async with self.database.read() as connection:
            found = await store_keys.public_keys(connection, service=SERVICE, now=self.clock.now())
        self._public = {kid: RSAKey.import_key(jwk) for kid, jwk in found.items()}
        self._looked_at = looked_at

    async def _make(self) -> store_keys.StoredKey:
        # Hundreds of milliseconds of arithmetic: not on the event loop.
        key = await asyncio.to_thread(RSAKey.generate_key, KEY_BITS)
        kid = key.thumbprint()
        now = self.clock.now()
        async with self.database.begin() as connection:
            await store_keys.lock_key_creation(
                connection, is_postgresql=self.database.is_postgresql
            )
            existing = await store_keys.current_key(connection, now=now)
            if existing is not None:
                return existing
            stored = store_keys.StoredKey(
                kid=kid,
                encrypted_private_key=self.cipher.encrypt(key.as_pem(private=True).decode()),
                sign_until=now + SIGNING_PERIOD,
            )
            await store_keys.insert_key(
                connection,
                key=stored,
                public={**key.as_dict(private=False), "kid": kid},
                service=SERVICE,
                created=now,
                expires=stored.sign_until + LONGEST_LIFETIME + CLOCK_SKEW,
            )
        log.info("signing key made", kid=kid)
        return stored

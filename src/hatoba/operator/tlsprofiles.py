"""The TLS profile that an OpenShift cluster has for everything that serves in it.

`observe` reads it from APIServer `cluster`; `configuration` gives it to a registry that holds its
certificate itself, unless its bundle says otherwise. Pure.

Source: OpenShift `config.openshift.io/v1` APIServer, `spec.tlsSecurityProfile`, whose named
profiles are Mozilla's of "Server Side TLS" 5.0.
"""

from dataclasses import dataclass
from typing import Final

from hatoba.config.tls import PROTOCOLS, TlsProtocol
from hatoba.kernel.json import JsonObject

PROFILE_KEYS: Final = frozenset({"SSL_PROTOCOLS", "SSL_CIPHERS"})
APISERVER: Final = "cluster"
"""The name of the only APIServer there is."""

_OLDEST: Final[dict[str, TlsProtocol]] = {
    "VersionTLS10": "TLSv1",
    "VersionTLS11": "TLSv1.1",
    "VersionTLS12": "TLSv1.2",
    "VersionTLS13": "TLSv1.3",
}
_SUITE: Final = "TLS_"
"""What the names of TLS 1.3's suites begin with."""


@dataclass(slots=True, frozen=True, kw_only=True)
class TlsProfile:
    """What may be spoken."""

    protocols: tuple[TlsProtocol, ...]
    """Oldest first, without a gap."""
    ciphers: tuple[str, ...]
    """In OpenSSL's words, most wanted first."""

    @classmethod
    def read(cls, obj: JsonObject) -> "TlsProfile":
        """Parse an APIServer; what it leaves open, or this release does not know, is Intermediate.

        That is OpenShift's own default.
        """
        given = (obj.get("spec") or {}).get("tlsSecurityProfile") or {}
        if given.get("type") == "Custom":
            return _custom(given.get("custom") or {})
        return _NAMED.get(str(given.get("type")), INTERMEDIATE)

    @property
    def configuration(self) -> JsonObject:
        """The keys of config.yaml that say the same."""
        return {"SSL_PROTOCOLS": list(self.protocols), "SSL_CIPHERS": list(self.ciphers)}


def _custom(given: JsonObject) -> TlsProfile:
    ciphers = tuple(map(str, given.get("ciphers") or INTERMEDIATE.ciphers))
    oldest = _OLDEST.get(str(given.get("minTLSVersion")), INTERMEDIATE.protocols[0])
    if all(cipher.startswith(_SUITE) for cipher in ciphers):
        # Older versions had no cipher to agree on; OpenSSL would refuse the list for them.
        oldest = PROTOCOLS[-1]
    return TlsProfile(protocols=_since(oldest), ciphers=ciphers)


def _since(oldest: TlsProtocol) -> tuple[TlsProtocol, ...]:
    return PROTOCOLS[PROTOCOLS.index(oldest) :]


_MODERN_CIPHERS: Final = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)
_INTERMEDIATE_CIPHERS: Final = (
    *_MODERN_CIPHERS,
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
)
_OLD_CIPHERS: Final = (
    *_INTERMEDIATE_CIPHERS,
    "DHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "DHE-RSA-AES128-SHA256",
    "DHE-RSA-AES256-SHA256",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA256",
    "AES256-SHA256",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
)
MODERN: Final = TlsProfile(protocols=_since("TLSv1.3"), ciphers=_MODERN_CIPHERS)
INTERMEDIATE: Final = TlsProfile(protocols=_since("TLSv1.2"), ciphers=_INTERMEDIATE_CIPHERS)
OLD: Final = TlsProfile(protocols=_since("TLSv1"), ciphers=_OLD_CIPHERS)
_NAMED: Final = {"Old": OLD, "Intermediate": INTERMEDIATE, "Modern": MODERN}

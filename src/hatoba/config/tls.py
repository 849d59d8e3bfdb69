"""Which versions of TLS and which ciphers the registry speaks: SSL_PROTOCOLS and SSL_CIPHERS.

The schema and `validation` ask here what can be spoken at all, by the OpenSSL of this process;
whoever opens a TLS listener applies the rules to its context. TLS 1.3 has suites of its own, which
Python leaves to OpenSSL: naming them is allowed, and neither adds nor takes one away.
"""

import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

TlsProtocol: TypeAlias = Literal["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]

PROTOCOLS: Final[tuple[TlsProtocol, ...]] = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
"""Oldest first."""
USUAL_PROTOCOLS: Final[tuple[TlsProtocol, ...]] = PROTOCOLS[2:]
_SEPARATORS: Final = re.compile("[:, ]")
"""One entry may hold several names, as OpenSSL itself takes them."""
_VERSIONS: Final = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


@dataclass(slots=True, frozen=True, kw_only=True)
class TlsRules:
    """What clients may speak; the protocols have neither gaps nor an end open."""

    protocols: Sequence[TlsProtocol] = USUAL_PROTOCOLS
    ciphers: Sequence[str] = ()
    """In OpenSSL's words, most wanted first; none: those that Python chooses."""

    @property
    def oldest(self) -> TlsProtocol:
        """The oldest version that is spoken."""
        return min(self.protocols, key=PROTOCOLS.index)

    @property
    def newest(self) -> TlsProtocol:
        """The newest version that is spoken."""
        return max(self.protocols, key=PROTOCOLS.index)

    @property
    def needs_ciphers(self) -> bool:
        """Whether a version is spoken whose ciphers can be chosen."""
        return self.oldest != PROTOCOLS[-1]

    def apply(self, context: ssl.SSLContext) -> None:
        """Hold a server's context to the rules.

        Raises:
            ssl.SSLError: OpenSSL knows none of the ciphers.
        """
        context.minimum_version = _VERSIONS[self.oldest]
        context.maximum_version = _VERSIONS[self.newest]
        if self.ciphers and self.needs_ciphers:
            context.set_ciphers(":".join(self.ciphers))


def gap_in(protocols: Sequence[TlsProtocol]) -> tuple[TlsProtocol, ...]:
    """Return the versions between the oldest and the newest that are not listed.

    OpenSSL is told the ends alone, so that these would be spoken all the same.
    """
    places = [PROTOCOLS.index(protocol) for protocol in protocols]
    between = PROTOCOLS[min(places) : max(places)]
    return tuple(protocol for protocol in between if protocol not in protocols)


def faults_of(rules: TlsRules) -> Iterator[tuple[str, str]]:
    """Yield (key, sentence) for what nobody could connect with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    suites = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"}
    try:
        if rules.ciphers:
            context.set_ciphers(":".join(rules.ciphers))
    except ssl.SSLError:
        if suites.isdisjoint(_SEPARATORS.split(":".join(rules.ciphers))):
            yield "SSL_CIPHERS", f"names no cipher that {ssl.OPENSSL_VERSION} offers"
        elif rules.needs_ciphers:
            yield (
                "SSL_CIPHERS",
                f"names ciphers of TLSv1.3 alone, while SSL_PROTOCOLS begins with {rules.oldest}",
            )
        return
    level = context.security_level
    if rules.newest in PROTOCOLS[:2] and level > 0:
        sentence = (
            f"must name TLSv1.2 or TLSv1.3: OpenSSL's security level {level} refuses older "
            "versions, unless SSL_CIPHERS has @SECLEVEL=0"
        )
        yield "SSL_PROTOCOLS", sentence

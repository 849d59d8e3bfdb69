"""Judge the certificate that a bundle brings, and sign one where nobody brings any.

Messages follow those of Go's crypto/x509, which Quay's operator shows.
"""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hatoba.operator.model import CertificatePair

LIFETIME: Final = timedelta(days=365)
RENEWAL: Final = timedelta(days=30)
"""So long before its end a certificate of our own is replaced."""


def self_signed(hosts: Sequence[str], *, now: datetime) -> CertificatePair:
    """Return a new pair for these host names or addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(list(map(_general, hosts))), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return CertificatePair(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def serves(pair: CertificatePair, hosts: Sequence[str], *, now: datetime) -> bool:
    """Tell whether a pair is for all these hosts, and for a while longer."""
    if any(fault_of(pair.certificate, key=pair.key, host=host) for host in hosts):
        return False
    parsed = x509.load_pem_x509_certificates(pair.certificate)[0]
    return bool(parsed.not_valid_after_utc - now > RENEWAL)


def _general(host: str) -> x509.GeneralName:
    if _is_address(host):
        return x509.IPAddress(ipaddress.ip_address(host))
    return x509.DNSName(host)


def fault_of(certificate: bytes, *, key: bytes, host: str) -> str:
    """Say why a certificate and key cannot serve a host; "" when they can."""
    try:
        parsed = x509.load_pem_x509_certificates(certificate)[0]
    except (ValueError, IndexError):
        return "tls: failed to find any PEM data in certificate input"
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        return "tls: failed to find any PEM data in key input"
    if _public(private.public_key()) != _public(parsed.public_key()):
        return "tls: private key does not match public key"
    return _mismatch(parsed, host)


def _public(key: object) -> bytes:
    encode = key.public_bytes  # type: ignore[attr-defined]  # the union of key types has it
    found: bytes = encode(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found


def _mismatch(certificate: x509.Certificate, host: str) -> str:
    addresses, hosts = _names(certificate)
    if _is_address(host):
        if host in addresses:
            return ""
        if not addresses:
            return (
                f"x509: cannot validate certificate for {host} because it doesn't contain any "
                "IP SANs"
            )
        return f"x509: certificate is valid for {', '.join(addresses)}, not {host}"
    if any(_covers(pattern, host) for pattern in hosts):
        return ""
    if not hosts:
        return f"x509: certificate is not valid for any names, but wanted to match {host}"
    return f"x509: certificate is valid for {', '.join(hosts)}, not {host}"


def _names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """Return the addresses and the DNS names that a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return addresses, found.get_values_for_type(x509.DNSName)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _covers(pattern: str, host: str) -> bool:
    """Match a DNS name; a wildcard stands for exactly the first label (RFC 6125 6.4.3)."""
    wanted, given = pattern.lower().split("."), host.lower().rstrip(".").split(".")
    if len(wanted) != len(given):
        return False
    head = wanted[0] in ("*", given[0])
    return head and wanted[1:] == given[1:]

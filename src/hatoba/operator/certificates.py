"""Judge the certificate that a bundle brings. Pure.

Messages follow those of Go's crypto/x509, which Quay's operator shows.
"""

import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import serialization


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

"""The cluster's certificate authority, its certificates, the admin's token and kubeconfig."""

import base64
import datetime as dt
import ipaddress
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hatoba.cluster.home import Home, write_private
from hatoba.kernel.clock import Clock

_YEARS: Final = dt.timedelta(days=3650)
_LEAF: Final = dt.timedelta(days=397)
"""What browsers accept of a server's certificate."""
_RENEW: Final = dt.timedelta(days=30)
_BACKDATED: Final = dt.timedelta(hours=1)
API_NAMES: Final = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
EDGE_NAMES: Final = ("localhost",)
LOOPBACK: Final = ("127.0.0.1", "::1")


@dataclass(slots=True, frozen=True, kw_only=True)
class Credentials:
    """What the cluster's servers and its administrator need."""

    ca_pem: str
    admin_token: str
    api: ssl.SSLContext
    edge: ssl.SSLContext


def load_credentials(home: Home, *, clock: Clock, addresses: tuple[str, ...]) -> Credentials:
    """Read the credentials, making what is missing or about to expire."""
    authority = _authority(home.pki, clock)
    api = _server(home.pki, "api", API_NAMES, (*LOOPBACK, *addresses), authority, clock)
    edge = _server(home.pki, "edge", EDGE_NAMES, LOOPBACK, authority, clock)
    return Credentials(
        ca_pem=(home.pki / "ca.crt").read_text(),
        admin_token=_token(home.pki),
        api=api,
        edge=edge,
    )


def _token(directory: Path) -> str:
    path = directory / "admin.token"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text()


_Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _authority(directory: Path, clock: Clock) -> _Authority:
    certificate_path, key_path = directory / "ca.crt", directory / "ca.key"
    if certificate_path.exists() and key_path.exists():
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate(certificate_path.read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hatoba-cluster-ca")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key, clock, _YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(key_path, _private(key))
    write_private(certificate_path, _public(certificate), mode=0o644)
    return certificate, key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    clock: Clock,
    lifetime: dt.timedelta,
) -> x509.CertificateBuilder:
    now = clock.now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _server(
    directory: Path,
    name: str,
    hosts: tuple[str, ...],
    addresses: tuple[str, ...],
    authority: _Authority,
    clock: Clock,
) -> ssl.SSLContext:
    """Return a server's TLS context; its certificate is made anew before it expires."""
    certificate_path, key_path = directory / f"{name}.crt", directory / f"{name}.key"
    if not _is_usable(certificate_path, key_path, hosts, addresses, clock):
        issuer, issuer_key = authority
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        certificate = (
            _builder(subject, issuer.subject, key, clock, _LEAF)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(identifier, critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        write_private(key_path, _private(key))
        write_private(certificate_path, _public(certificate) + _public(issuer))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate_path, key_path)
    return context


def _is_usable(
    certificate_path: Path,
    key_path: Path,
    hosts: tuple[str, ...],
    addresses: tuple[str, ...],
    clock: Clock,
) -> bool:
    if not certificate_path.exists() or not key_path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {*names.get_values_for_type(x509.DNSName)}
    known |= {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return {*hosts, *addresses} <= known and certificate.not_valid_after_utc > clock.now() + _RENEW


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def write_kubeconfig(home: Home, credentials: Credentials, *, port: int) -> None:
    """Write the administrator's kubeconfig."""
    authority = base64.b64encode(credentials.ca_pem.encode()).decode()
    server = f"https://127.0.0.1:{port}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "hatoba",
                "cluster": {"server": server, "certificate-authority-data": authority},
            }
        ],
        "users": [{"name": "admin", "user": {"token": credentials.admin_token}}],
        "contexts": [{"name": "hatoba", "context": {"cluster": "hatoba", "user": "admin"}}],
        "current-context": "hatoba",
    }
    write_private(home.kubeconfig, yaml.safe_dump(content, sort_keys=False))

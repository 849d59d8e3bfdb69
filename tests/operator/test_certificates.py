import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.operator.builders import a_plan

from hatoba.operator.certificates import fault_of
from hatoba.operator.model import Reason, RolloutBlocked
from hatoba.operator.plan import check_plan

pytestmark = pytest.mark.alone


def a_key():
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def a_pair(*names, key=None):
    key = key or a_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3650))
    )
    if names:
        kinds = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
            for name in names
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(kinds), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem(key)


@pytest.mark.parametrize(
    ("names", "host", "fault"),
    [
        (["quay.example"], "quay.example", ""),
        (["*.example"], "quay.example", ""),
        (
            ["*.example"],
            "a.quay.example",
            "x509: certificate is valid for *.example, not a.quay.example",
        ),
        (
            ["a.example", "b.example"],
            "c.example",
            "x509: certificate is valid for a.example, b.example, not c.example",
        ),
        (["127.0.0.1"], "127.0.0.1", ""),
        (["127.0.0.1"], "127.0.0.2", "x509: certificate is valid for 127.0.0.1, not 127.0.0.2"),
        (
            [],
            "quay.example",
            "x509: certificate is not valid for any names, but wanted to match quay.example",
        ),
        (
            ["a.example"],
            "127.0.0.1",
            "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
        ),
    ],
)
def test_a_certificate_must_cover_the_host(names, host, fault):
    certificate, key = a_pair(*names)
    assert fault_of(certificate, key=key, host=host) == fault


def test_a_key_must_belong_to_its_certificate():
    certificate, _ = a_pair("quay.example")
    found = fault_of(certificate, key=key_pem(a_key()), host="quay.example")
    assert found == "tls: private key does not match public key"


def test_what_is_no_certificate_is_refused():
    certificate, key = a_pair("quay.example")
    assert "certificate input" in fault_of(b"nonsense", key=key, host="quay.example")
    assert "key input" in fault_of(certificate, key=b"nonsense", host="quay.example")


def test_a_rollout_with_the_wrong_certificate_is_blocked():
    certificate, key = a_pair("other.example")
    plan = a_plan(
        "tls", files={"ssl.cert": certificate, "ssl.key": key}, hostname="quay.example:8443"
    )
    with pytest.raises(RolloutBlocked) as caught:
        check_plan(plan)
    assert caught.value.reason is Reason.CREATION_FAILED
    assert caught.value.message == (
        "could not inflate QuayRegistry into Kubernetes objects: provided certificate/key pair not "
        "valid for host 'quay.example': x509: certificate is valid for other.example, not "
        "quay.example: put a pair for quay.example into ssl.cert and ssl.key of Secret "
    )


def test_a_certificate_must_cover_the_host_of_builds_too():
    def fault(*names):
        certificate, key = a_pair(*names)
        files = {"ssl.cert": certificate, "ssl.key": key}
        config = {"BUILDMAN_HOSTNAME": "builds.example:443"}
        plan = a_plan("tls", files=files, config=config, hostname="quay.example:8443")
        try:
            check_plan(plan)
        except RolloutBlocked as blocked:
            return blocked.fact
        return ""

    assert fault("quay.example", "builds.example") == ""
    assert "not valid for host 'builds.example'" in fault("quay.example")

"""What a listener speaks: real handshakes with clients that are not offered it."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hatoba.config.tls import PROTOCOLS, TlsRules
from hatoba.serving.asgi import answer
from hatoba.serving.listeners import ListenFailed, TlsFiles, listening

pytestmark = pytest.mark.anyio
VERSIONS = dict(
    zip(
        PROTOCOLS,
        (
            ssl.TLSVersion.TLSv1,
            ssl.TLSVersion.TLSv1_1,
            ssl.TLSVersion.TLSv1_2,
            ssl.TLSVersion.TLSv1_3,
        ),
        strict=True,
    )
)
GCM, CHACHA, CBC = "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305", "AES128-SHA"
REFUSED = (ssl.SSLError, ConnectionError)
"""The server hangs up, and its alert may be lost with the connection."""
LONG = 60


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pair")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .sign(key, SHA256())
    )
    (directory / "ssl.cert").write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "ssl.key").write_bytes(pem)
    return directory / "ssl.cert", directory / "ssl.key"


@asynccontextmanager
async def serving(files, **rules):
    async def application(_scope, _receive, send):
        await answer(send, status=200, body=b"here")

    certificate, key = files
    tls = TlsFiles(certificate=certificate, key=key, rules=TlsRules(**rules))
    async with listening(application, tls=tls, grace_seconds=1) as server:
        yield server.port


async def spoken(port, version, *ciphers):
    """Return the cipher of a connection with a client that speaks one version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(":".join(ciphers or ("ALL", "@SECLEVEL=0")))
    context.minimum_version = context.maximum_version = VERSIONS[version]
    async with asyncio.timeout(LONG):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b"here")
            assert writer.get_extra_info("ssl_object").version() == version
            return writer.get_extra_info("cipher")[0]
        finally:
            writer.close()


async def test_without_rules_the_two_newest_are_spoken(files):
    async with serving(files) as port:
        for version in ("TLSv1.2", "TLSv1.3"):
            assert await spoken(port, version)


async def test_a_client_of_tls_1_2_is_refused_where_only_1_3_is_listed(files):
    async with serving(files, protocols=["TLSv1.3"]) as port:
        assert await spoken(port, "TLSv1.3")
        with pytest.raises(REFUSED):
            await spoken(port, "TLSv1.2")


async def test_a_client_of_tls_1_3_is_refused_where_only_1_2_is_listed(files):
    async with serving(files, protocols=["TLSv1.2"]) as port:
        assert await spoken(port, "TLSv1.2")
        with pytest.raises(REFUSED):
            await spoken(port, "TLSv1.3")


async def test_a_cipher_that_is_not_listed_is_refused(files):
    async with serving(files, ciphers=[GCM, "UNHEARD-OF"]) as port:
        assert await spoken(port, "TLSv1.2", CHACHA, GCM) == GCM
        with pytest.raises(REFUSED):
            await spoken(port, "TLSv1.2", CHACHA)


async def test_the_order_of_the_list_decides(files):
    for first, second in ((GCM, CHACHA), (CHACHA, GCM)):
        async with serving(files, ciphers=[first, second]) as port:
            assert await spoken(port, "TLSv1.2", GCM, CHACHA) == first


async def test_suites_of_tls_1_3_are_openssls_own(files):
    async with serving(files, ciphers=["TLS_AES_128_GCM_SHA256", GCM]) as port:
        assert await spoken(port, "TLSv1.3") == "TLS_AES_256_GCM_SHA384"
    async with serving(files, protocols=["TLSv1.3"], ciphers=["TLS_AES_128_GCM_SHA256"]) as port:
        assert await spoken(port, "TLSv1.3") == "TLS_AES_256_GCM_SHA384"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_versions_need_openssls_lowest_level(files):
    async with serving(files, protocols=PROTOCOLS, ciphers=[CBC, GCM]) as port:
        assert await spoken(port, "TLSv1.2")
        with pytest.raises(REFUSED):
            await spoken(port, "TLSv1.1")
    async with serving(files, protocols=PROTOCOLS, ciphers=[CBC, "@SECLEVEL=0"]) as port:
        assert await spoken(port, "TLSv1") == CBC
    async with serving(files, protocols=PROTOCOLS[1:], ciphers=[CBC, "@SECLEVEL=0"]) as port:
        assert await spoken(port, "TLSv1.1") == CBC
        with pytest.raises(REFUSED):
            await spoken(port, "TLSv1")


async def test_ciphers_that_nobody_has_are_told_at_the_start(files):
    with pytest.raises(ListenFailed, match="cannot use the TLS certificate, key and ciphers"):
        async with serving(files, ciphers=["UNHEARD-OF"]):
            pass

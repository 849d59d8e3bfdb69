"""Connections to a PostgreSQL server with a certificate, verified as libpq would."""

import asyncio
import datetime as dt
import os
import shutil
import ssl
from pathlib import Path

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import text
from tests.postgresql import running_postgres

from hatoba.sql.engine import DatabaseUnavailable, MalformedDatabaseUri, open_database

pytestmark = pytest.mark.anyio
IN_USE = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


def certificate(directory, name):
    """Write a self-signed certificate for `localhost`; return its path and its key's."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "database")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, key_file = directory / f"{name}.crt", directory / f"{name}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    key_file.chmod(0o600)
    return pem, key_file


@pytest.fixture(scope="module")
def server():
    """A server of this file's own: it is reconfigured."""
    if os.environ.get("HATOBA_TEST_POSTGRES"):
        pytest.skip("only a server of our own is reconfigured")
    with running_postgres() as server:
        yield server


@pytest.fixture
async def secured(server, tmp_path):
    """The URL of a server that speaks TLS, and the certificate that it shows."""
    connection = await asyncpg.connect(server.url)
    data = Path(await connection.fetchval("SHOW data_directory"))
    pem, key = certificate(tmp_path, "server")
    for source in (pem, key):
        shutil.copy(source, data / source.name)
        if os.geteuid() == 0:
            shutil.chown(data / source.name, user="nobody", group="nogroup")
    await connection.execute("ALTER SYSTEM SET ssl_cert_file = 'server.crt'")
    await connection.execute("ALTER SYSTEM SET ssl_key_file = 'server.key'")
    await connection.execute("ALTER SYSTEM SET ssl = on")
    await connection.execute("SELECT pg_reload_conf()")
    # The server reloads when its main process comes to it: asked until it has.
    while await connection.fetchval("SHOW ssl") != "on":  # noqa: ASYNC110 -- nobody else can tell
        await asyncio.sleep(0.02)
    await connection.close()
    return server.url, pem


async def uses_tls(url, **arguments):
    database = open_database(url, connection_arguments=arguments)
    try:
        async with database.read() as connection:
            pooled = (await connection.execute(IN_USE)).scalar_one()
        direct = await asyncpg.connect(**database.asyncpg_arguments())
        try:
            return pooled, await direct.fetchval(str(IN_USE))
        finally:
            await direct.close()
    finally:
        await database.close()


@pytest.mark.postgres
async def test_certificates_are_verified_as_asked(secured, tmp_path):
    url, pem = secured
    named = url.replace("127.0.0.1", "localhost")
    other, _ = certificate(tmp_path, "other")
    assert await uses_tls(url, sslmode="require") == (True, True)
    assert await uses_tls(url, sslmode="verify-ca", sslrootcert=str(pem)) == (True, True)
    assert await uses_tls(named, sslmode="verify-full", sslrootcert=str(pem)) == (True, True)
    assert await uses_tls(f"{named}?sslmode=verify-full&sslrootcert={pem}") == (True, True)
    for address, mode, root in (
        (url, "verify-full", pem),
        (named, "verify-full", other),
        (url, "verify-ca", other),
        (url, "require", other),
    ):
        with pytest.raises((ssl.SSLError, DatabaseUnavailable)):
            await uses_tls(address, sslmode=mode, sslrootcert=str(root))


def test_a_root_certificate_that_is_not_there_is_said(tmp_path):
    with pytest.raises(MalformedDatabaseUri, match="cannot be read"):
        open_database(f"postgresql://u@h/d?sslmode=verify-full&sslrootcert={tmp_path}/none")

"""Bucket location -> driver: the library's clients, and who signs URLs.

Retries are ours (`net.retries`), so the library's are off. Checksum headers and streaming
signatures are off unless asked for: many storages refuse them.
"""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.handlers import add_expect_header
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hatoba.config.loader import extra_authorities
from hatoba.config.schema.storage import BucketLocation, CloudFront
from hatoba.kernel.clock import Clock, SystemClock
from hatoba.kernel.errors import InvalidInput
from hatoba.registry.blobs.bucket import Bucket, Patience, Sleep
from hatoba.registry.blobs.bucket_blobs import BucketBlobs, SignUrl
from hatoba.registry.blobs.pieces import Layout
from hatoba.registry.blobs.s3_bucket import S3Bucket

DEFAULT_REGION: Final = "us-east-1"
"""What storages that know no regions expect in a signature."""


class KeyUnusable(InvalidInput):
    """The private key of a CloudFront distribution cannot be read."""


@asynccontextmanager
async def open_bucket(
    location: BucketLocation,
    *,
    directory: Path,
    sends_clients_there: bool = True,
    sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[BucketBlobs]:
    """Open a bucket; nothing is asked of it yet.

    Args:
        location: what the configuration says.
        directory: the configuration directory, for certificates and keys.
        sends_clients_there: whether clients are sent to the storage for the bytes of blobs.
        sleep: how pauses between attempts are made.

    Raises:
        KeyUnusable: the private key of a CloudFront distribution cannot be read.
    """
    options = location.options
    async with AsyncExitStack() as stack:
        trust = _trust(stack, location, directory=directory)
        client = await stack.enter_async_context(
            _client(location, endpoint=location.endpoint_url, trust=trust)
        )
        sign_url = None
        if sends_clients_there:
            sign_url = await _signer(stack, location, client=client, directory=directory)
        yield BucketBlobs(
            S3Bucket(
                client,
                name=location.bucket,
                patience=Patience(attempts=options.attempts, sleep=sleep),
            ),
            layout=Layout(
                prefix=f"{location.prefix}/" if location.prefix else "",
                part_bytes=options.minimum_chunk_size_mb << 20,
                copy_bytes=options.maximum_chunk_size_mb << 20,
                copies=options.server_side_assembly,
                joins=options.server_side_assembly and location.joins,
            ),
            sign_url=sign_url,
        )


@asynccontextmanager
async def open_plain_bucket(location: BucketLocation) -> AsyncIterator[Bucket]:
    """Open a bucket for other files than blobs; nothing is asked of it yet."""
    async with AsyncExitStack() as stack:
        trust = _trust(stack, location, directory=Path("/"))
        made = _client(location, endpoint=location.endpoint_url, trust=trust)
        client = await stack.enter_async_context(made)
        patience = Patience(attempts=location.options.attempts)
        yield S3Bucket(client, name=location.bucket, patience=patience)


@cache
def _session() -> AioSession:
    """Return the one session of the process: it keeps the parsed description of the API."""
    return get_session()


@asynccontextmanager
async def _client(
    location: BucketLocation, *, endpoint: str | None, trust: str | bool
) -> AsyncIterator[Any]:
    options = location.options
    checksums = "when_supported" if options.checksums else "when_required"
    made = _session().create_client(
        "s3",
        region_name=location.region or DEFAULT_REGION,
        endpoint_url=endpoint,
        aws_access_key_id=location.access_key,
        aws_secret_access_key=location.secret_key,
        verify=trust,
        config=AioConfig(
            signature_version=options.signature_version,
            connect_timeout=options.connect_timeout_seconds,
            read_timeout=options.read_timeout_seconds,
            max_pool_connections=options.connections,
            retries={"total_max_attempts": 1, "mode": "standard"},
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
            s3={"addressing_style": options.addressing_style},
            user_agent_extra="hatoba",
        ),
    )
    async with made as client:
        # `Expect: 100-continue` costs a round trip for each part, and a proxy that swallows the
        # answer would hold each write until its timeout.
        client.meta.events.unregister("before-call.s3", add_expect_header)
        if options.signature_version == "s3":
            client.meta.events.register("before-sign.s3", partial(_sign_path, location.bucket))
        yield client


def _sign_path(bucket: str, request: Any, **_: Any) -> None:
    """Let the old signature hold the path that is sent.

    Amazon S3 User Guide, "Signing and authenticating REST requests": with the bucket in the path
    it is that path. The library always signs `/bucket/`, which strict storages refuse.
    """
    if urlsplit(request.url).path.rstrip("/") == f"/{bucket}":
        request.auth_path = None


async def _signer(
    stack: AsyncExitStack, location: BucketLocation, *, client: Any, directory: Path
) -> SignUrl:
    if location.cloudfront is not None:
        return _cloudfront(location.cloudfront, location, directory=directory)
    endpoint = location.options.public_endpoint_url
    if endpoint is not None:
        # Signing asks nothing of anybody, so this client never connects.
        client = await stack.enter_async_context(_client(location, endpoint=endpoint, trust=True))
    return _presigner(client, location)


def _presigner(client: Any, location: BucketLocation) -> SignUrl:
    lifetime = location.options.link_expiry_seconds

    async def sign(key: str) -> str:
        url: str = await client.generate_presigned_url(
            "get_object", Params={"Bucket": location.bucket, "Key": key}, ExpiresIn=lifetime
        )
        return url

    return sign


def _cloudfront(
    distribution: CloudFront,
    location: BucketLocation,
    *,
    directory: Path,
    clock: Clock | None = None,
) -> SignUrl:
    key = _private_key(directory / distribution.key_file)
    lifetime = timedelta(seconds=location.options.link_expiry_seconds)
    now = (clock or SystemClock()).now

    def sign_message(message: bytes) -> bytes:
        # Amazon CloudFront Developer Guide, "Create a signed URL using a canned policy": SHA-1.
        return key.sign(message, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 -- see above

    signer = CloudFrontSigner(distribution.key_id, sign_message)

    async def sign(object_key: str) -> str:
        url: str = signer.generate_presigned_url(
            f"https://{distribution.domain}/{object_key}", date_less_than=now() + lifetime
        )
        return url

    return sign


def _private_key(path: Path) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyUnusable(
            f"the key of the CloudFront distribution cannot be read: {path}"
        ) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyUnusable(f"the key of the CloudFront distribution is no RSA key: {path}")
    return key


def _trust(stack: AsyncExitStack, location: BucketLocation, *, directory: Path) -> str | bool:
    """Return the file of the authorities to believe, or whether to believe at all."""
    options = location.options
    if not options.verify_tls:
        return False
    if options.ca_bundle is not None:
        return str(directory / options.ca_bundle)
    paths = ssl.get_default_verify_paths()
    system, extra = Path(paths.cafile or paths.openssl_cafile), extra_authorities(directory)
    if not extra:
        return str(system) if system.is_file() else True
    # The library takes one file.
    files = [path for path in [system, *extra] if path.is_file()]
    bundle = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".pem"))  # noqa: SIM115 -- the stack closes it
    bundle.write(b"\n".join(path.read_bytes() for path in files))
    bundle.flush()
    return bundle.name

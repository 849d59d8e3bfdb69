"""One bucket of an object storage: single calls, tried again, with errors of ours.

`s3` and `s3_upload` are made of these. What the library raises stops here. Nothing of a call but
its name and the kind of its failure is logged: parameters hold keys, URLs may be signed.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any, Final, Protocol

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as EndpointError
from botocore.parsers import ResponseParserError
from prometheus_client import Histogram

from hatoba.kernel.errors import HatobaError, NotFound
from hatoba.kernel.json import JsonObject
from hatoba.net.retries import pause_before, with_retries
from hatoba.registry.blobs.driver import READ_BYTES, StorageUnavailable

CALL_SECONDS: Final = 90.0
"""How long a call may take with all its attempts, besides the time of the bytes it carries."""
SLOWEST_BYTES_PER_SECOND: Final = 128 << 10
CALL_DURATION: Final = Histogram(
    "hatoba_blobs_call_seconds",
    "Seconds until the object storage answered a call.",
    labelnames=("operation", "outcome"),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
CONTENT_TYPE: Final = "application/octet-stream"

_TRANSIENT_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
_NOT_IMPLEMENTED: Final = 501
_TRANSIENT_CODES: Final = frozenset(
    {"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown"}
)
_MISSING_CODES: Final = frozenset({"404", "NoSuchKey", "NoSuchUpload", "NotFound", "InvalidPart"})
_INTERRUPTIONS: Final = (
    EndpointError,
    HTTPClientError,
    IncompleteReadError,
    ResponseParserError,
    aiohttp.ClientError,
    OSError,
)

Sleep = Callable[[float], Awaitable[None]]


class ObjectMissing(NotFound):
    """The bucket has no such object, or no such multipart upload."""


class StorageInterrupted(StorageUnavailable):
    """The storage does not answer, or asks to come back later."""


class OperationUnknown(StorageUnavailable):
    """The storage does not know an operation."""


class S3Calls(Protocol):
    """A client of the library: one coroutine function for each operation of the API."""

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        """Return the operation."""


@dataclass(slots=True, frozen=True, kw_only=True)
class FoundObject:
    """An object as a listing shows it."""

    key: str
    size: int
    modified_at: datetime


@dataclass(slots=True, frozen=True, kw_only=True)
class FoundMultipart:
    """A multipart upload that was not ended, as a listing shows it."""

    key: str
    upload_id: str
    begun_at: datetime


@dataclass(slots=True, frozen=True, kw_only=True)
class Part:
    """A part of a multipart upload."""

    number: int
    etag: str


class Bucket:
    """The calls, for one bucket."""

    def __init__(
        self, client: S3Calls, *, name: str, attempts: int, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._client = client
        self._name = name
        self._attempts = attempts
        self._sleep = sleep

    async def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        await self._call("put_object", Key=key, content=content, ContentType=CONTENT_TYPE)

    async def size(self, key: str) -> int:
        """Return the length of an object.

        Raises:
            ObjectMissing: there is none.
        """
        return int((await self._call("head_object", Key=key))["ContentLength"])

    async def etag(self, key: str) -> str:
        """Return the entity tag of an object, without quotes.

        Raises:
            ObjectMissing: there is none.
        """
        return str((await self._call("head_object", Key=key))["ETag"]).strip('"')

    async def read(self, key: str, *, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield bytes of an object; where the connection breaks, go on behind the last byte.

        Raises:
            ObjectMissing: there is none.
        """
        failures = 0
        while start < end:
            before = start
            try:
                async with self._body(key, start=start, end=end) as chunks:
                    async for data in chunks:
                        start += len(data)
                        yield data
            except StorageInterrupted:
                failures = failures + 1 if start == before else 1
                if failures >= self._attempts:
                    raise
                await self._sleep(pause_before(failures))

    async def copy(self, source: str, target: str) -> None:
        """Copy an object of at most 5 GiB.

        Raises:
            ObjectMissing: there is no source.
        """
        await self._call(
            "copy_object",
            Key=target,
            CopySource={"Bucket": self._name, "Key": source},
            ContentType=CONTENT_TYPE,
            MetadataDirective="REPLACE",
        )

    async def delete(self, key: str) -> None:
        """Remove an object; idempotent."""
        await self._call("delete_object", Key=key)

    async def list_objects(self, prefix: str, *, after: str = "") -> AsyncIterator[FoundObject]:
        """Yield the objects whose key begins with `prefix`, in order, behind the key `after`."""
        place: JsonObject = {"StartAfter": after} if after else {}
        while True:
            page = await self._call("list_objects_v2", Prefix=prefix, **place)
            for found in page.get("Contents", ()):
                yield FoundObject(
                    key=found["Key"], size=found["Size"], modified_at=found["LastModified"]
                )
            if not page.get("IsTruncated"):
                return
            place = {"ContinuationToken": page["NextContinuationToken"]}

    async def list_multiparts(self, prefix: str) -> AsyncIterator[FoundMultipart]:
        """Yield the multipart uploads under way whose key begins with `prefix`.

        Nothing where the storage does not tell: it then has rules of its own to end them.
        """
        place: JsonObject = {}
        while True:
            try:
                page = await self._call("list_multipart_uploads", Prefix=prefix, **place)
            except OperationUnknown:
                return
            for found in page.get("Uploads", ()):
                yield FoundMultipart(
                    key=found["Key"], upload_id=found["UploadId"], begun_at=found["Initiated"]
                )
            if not page.get("IsTruncated"):
                return
            place = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    async def begin_multipart(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        begun = await self._call("create_multipart_upload", Key=key, ContentType=CONTENT_TYPE)
        return str(begun["UploadId"])

    async def put_part(self, key: str, upload_id: str, *, number: int, content: bytes) -> Part:
        """Write a part."""
        done = await self._call(
            "upload_part", Key=key, UploadId=upload_id, PartNumber=number, content=content
        )
        return Part(number=number, etag=done["ETag"])

    async def copy_part(
        self, key: str, upload_id: str, *, number: int, source: str, start: int, end: int
    ) -> Part:
        """Let the storage copy the bytes from `start` up to `end` of another object.

        Raises:
            ObjectMissing: there is no source.
        """
        done = await self._call(
            "upload_part_copy",
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            CopySource={"Bucket": self._name, "Key": source},
            CopySourceRange=f"bytes={start}-{end - 1}",
        )
        return Part(number=number, etag=done["CopyPartResult"]["ETag"])

    async def complete_multipart(self, key: str, upload_id: str, parts: list[Part]) -> None:
        """Make the parts one object.

        Raises:
            ObjectMissing: the upload was ended, maybe by an attempt whose answer was lost.
        """
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        await self._call(
            "complete_multipart_upload",
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": listed},
        )

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        """Drop a multipart upload with its parts; idempotent."""
        try:
            await self._call("abort_multipart_upload", Key=key, UploadId=upload_id)
        except ObjectMissing:
            return

    async def _call(
        self, operation: str, *, content: bytes | None = None, **parameters: Any
    ) -> JsonObject:
        async def once() -> JsonObject:
            # A body that was read must not be sent again from its end.
            body = {} if content is None else {"Body": io.BytesIO(content)}
            answer: JsonObject = await self._once(operation, **parameters, **body)
            return answer

        deadline = CALL_SECONDS + len(content or b"") / SLOWEST_BYTES_PER_SECOND
        try:
            return await with_retries(
                once,
                transient=StorageInterrupted,
                attempts=self._attempts,
                deadline_seconds=deadline,
                sleep=self._sleep,
            )
        except TimeoutError as error:
            raise StorageUnavailable(
                f"the object storage did not do {operation} within {deadline:.0f} seconds"
            ) from error

    async def _once(self, operation: str, **parameters: Any) -> Any:
        begun, outcome = monotonic(), "cancelled"
        try:
            answer = await self._ask(operation, **parameters)
            outcome = "done"
        except HatobaError as error:
            outcome = type(error).__name__
            raise
        finally:
            CALL_DURATION.labels(operation, outcome).observe(monotonic() - begun)
        return answer

    async def _ask(self, operation: str, **parameters: Any) -> Any:
        try:
            return await getattr(self._client, operation)(Bucket=self._name, **parameters)
        except ClientError as error:
            raise _translated(error, operation) from error
        except _INTERRUPTIONS as error:
            raise StorageInterrupted(
                f"the object storage does not answer {operation}: {type(error).__name__}"
            ) from error
        except BotoCoreError as error:
            raise StorageUnavailable(
                f"the object storage cannot be asked {operation}: {type(error).__name__}"
            ) from error

    @asynccontextmanager
    async def _body(self, key: str, *, start: int, end: int) -> AsyncIterator[AsyncIterator[bytes]]:
        answer = await self._once("get_object", Key=key, Range=f"bytes={start}-{end - 1}")
        async with answer["Body"] as body:
            yield _chunks(body, length=end - start)


async def _chunks(body: Any, *, length: int) -> AsyncIterator[bytes]:
    while length > 0:
        try:
            data = await body.read(READ_BYTES)
        except _INTERRUPTIONS as error:
            raise StorageInterrupted(
                f"the object storage broke off: {type(error).__name__}"
            ) from error
        if not data:
            raise StorageInterrupted("the object storage ended an answer too early")
        length -= len(data)
        yield data


def _translated(error: ClientError, operation: str) -> Exception:
    answer = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _MISSING_CODES:
        return ObjectMissing(f"the object storage has no such thing ({code})")
    message = f"the object storage refuses {operation}: {code or status}"
    if code == "NotImplemented" or status == _NOT_IMPLEMENTED:
        return OperationUnknown(message)
    if code in _TRANSIENT_CODES or status in _TRANSIENT_STATUSES:
        return StorageInterrupted(message)
    return StorageUnavailable(message)

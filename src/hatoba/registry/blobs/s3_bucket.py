"""A bucket of a storage that speaks S3; `s3_opening` makes it."""

import hashlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as EndpointError
from botocore.parsers import ResponseParserError
from typing_extensions import override

from hatoba.kernel.json import JsonObject
from hatoba.registry.blobs.bucket import (
    CONTENT_TYPE,
    TRANSIENT_STATUSES,
    Bucket,
    FoundMultipart,
    FoundObject,
    ObjectMissing,
    OperationUnknown,
    Part,
    Patience,
    StorageInterrupted,
    measured,
)
from hatoba.registry.blobs.driver import READ_BYTES, StorageUnavailable

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


class S3Calls(Protocol):
    """A client of the library: one coroutine function for each operation of the API."""

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        """Return the operation."""


class S3Bucket(Bucket):
    """The calls, for one bucket."""

    def __init__(self, client: S3Calls, *, name: str, patience: Patience) -> None:
        self._client = client
        self._name = name
        self._patience = patience

    @override
    async def put(self, key: str, content: bytes) -> None:
        await self._call("put_object", Key=key, content=content, ContentType=CONTENT_TYPE)

    @override
    async def size(self, key: str) -> int:
        return int((await self._call("head_object", Key=key))["ContentLength"])

    @override
    def read(self, key: str, *, start: int, end: int) -> AsyncIterator[bytes]:
        return self._patience.read(partial(self._body, key, end), start=start, end=end)

    @override
    async def copy(self, source: str, target: str) -> None:
        await self._call(
            "copy_object",
            Key=target,
            CopySource={"Bucket": self._name, "Key": source},
            ContentType=CONTENT_TYPE,
            MetadataDirective="REPLACE",
        )

    @override
    async def delete(self, key: str) -> None:
        await self._call("delete_object", Key=key)

    @override
    async def list_objects(self, prefix: str, *, after: str = "") -> AsyncIterator[FoundObject]:
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

    @override
    async def list_multiparts(self, prefix: str) -> AsyncIterator[FoundMultipart]:
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

    @override
    async def begin_multipart(self, key: str) -> str:
        begun = await self._call("create_multipart_upload", Key=key, ContentType=CONTENT_TYPE)
        return str(begun["UploadId"])

    @override
    async def put_part(self, key: str, upload_id: str, *, number: int, content: bytes) -> Part:
        done = await self._call(
            "upload_part", Key=key, UploadId=upload_id, PartNumber=number, content=content
        )
        return Part(number=number, etag=done["ETag"], size=len(content))

    @override
    async def copy_part(
        self, key: str, upload_id: str, *, number: int, source: str, start: int, end: int
    ) -> Part:
        done = await self._call(
            "upload_part_copy",
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            CopySource={"Bucket": self._name, "Key": source},
            CopySourceRange=f"bytes={start}-{end - 1}",
        )
        return Part(number=number, etag=done["CopyPartResult"]["ETag"], size=end - start)

    @override
    async def complete_multipart(self, key: str, upload_id: str, parts: list[Part]) -> None:
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        await self._call(
            "complete_multipart_upload",
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": listed},
        )

    @override
    async def is_joined(self, key: str, upload_id: str, parts: list[Part]) -> bool:
        # Amazon S3 API Reference, "CompleteMultipartUpload": the tag of the whole is the MD5 of the
        # parts' MD5s, and their number. Where a storage counts otherwise the answer is no.
        try:
            joined = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
            found = await self._call("head_object", Key=key)
        except (ValueError, ObjectMissing):
            return False
        digest = hashlib.md5(joined, usedforsecurity=False).hexdigest()
        return str(found["ETag"]).strip('"') == f"{digest}-{len(parts)}"

    @override
    async def abort_multipart(self, key: str, upload_id: str) -> None:
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
            answer: JsonObject = await self._ask(operation, **parameters, **body)
            return answer

        return await self._patience.call(operation, once, carried_bytes=len(content or b""))

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
    async def _body(self, key: str, end: int, start: int) -> AsyncIterator[AsyncIterator[bytes]]:
        wanted = {"Key": key, "Range": f"bytes={start}-{end - 1}"}
        answer = await measured("get_object", partial(self._ask, "get_object", **wanted))
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
    if code in _TRANSIENT_CODES or status in TRANSIENT_STATUSES:
        return StorageInterrupted(message)
    return StorageUnavailable(message)

"""The operations of the lean client, as generators: a request goes out, its response comes back.

A body is one random block over and over with a suffix that makes it unique: its digest costs
the hash of the suffix alone, and no body takes memory.
"""

import hashlib
import json
import random
from collections.abc import Callable, Generator, Iterator
from functools import lru_cache
from itertools import count
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from bench.load.spec import Cycle, PushBlob, PushManifest, Work
from bench.load.wire import Incoming, Outgoing, request

BLOCK_BYTES: Final = 1 << 20
SUFFIX_BYTES: Final = 16
_BLOCK: Final = memoryview(random.Random(7).randbytes(BLOCK_BYTES))  # noqa: S311 -- filler

Script: TypeAlias = Generator[Outgoing, Incoming, int]
"""One operation; returns how many bytes of payload it moved."""


class UnexpectedAnswer(Exception):
    """A status that the operation cannot go on with."""


def scripts_of(work: Work, *, port: int) -> Callable[[], Script]:
    """Return what begins the next operation of some work."""
    match work:
        case Cycle():
            return _cycle(work, port=port)
        case PushBlob():
            numbers = count()
            return lambda: _push_blob(work, next(numbers), port=port)
        case PushManifest():
            numbers = count()
            return lambda: _push_manifest(work, next(numbers), port=port)


def slices(size: int, suffix: bytes, *, start: int, stop: int) -> Iterator[memoryview]:
    """Cut a part out of a body of `size` bytes that ends with the suffix."""
    edge = size - len(suffix)
    at = start
    while at < min(stop, edge):
        offset = at % BLOCK_BYTES
        take = min(BLOCK_BYTES - offset, min(stop, edge) - at)
        yield _BLOCK[offset : offset + take]
        at += take
    if stop > edge:
        yield memoryview(suffix)[max(0, at - edge) : stop - edge]


def digest_of(size: int, suffix: bytes) -> str:
    """Return the digest of the whole body."""
    hasher = _filler_hash(size - len(suffix)).copy()
    hasher.update(suffix)
    return f"sha256:{hasher.hexdigest()}"


def suffix_of(nonce: str, number: int) -> bytes:
    """Return what makes a body unique."""
    return hashlib.blake2b(f"{nonce}/{number}".encode(), digest_size=SUFFIX_BYTES).digest()


@lru_cache
def _filler_hash(length: int) -> "hashlib._Hash":
    hasher = hashlib.sha256()
    for piece in slices(length, b"", start=0, stop=length):
        hasher.update(piece)
    return hasher


def _cycle(work: Cycle, *, port: int) -> Callable[[], Script]:
    prepared = [request(work.method, path, port=port, headers=work.headers) for path in work.paths]
    numbers = count()

    def one() -> Script:
        answer = yield prepared[next(numbers) % len(prepared)]
        _demand(answer, work.status)
        return answer.body_bytes

    return one


def _push_blob(work: PushBlob, number: int, *, port: int) -> Script:
    suffix = suffix_of(work.nonce, number)
    digest = digest_of(work.size_bytes, suffix)
    start = f"/v2/{work.repository}/blobs/uploads/"
    answer = yield request("POST", start, port=port, headers=work.headers)
    target = _location(_demand(answer, 202))
    body: Iterator[memoryview] = iter(())
    rest, kind = work.size_bytes, {**work.headers, "Content-Type": "application/octet-stream"}
    if work.chunk_bytes:
        for at in range(0, work.size_bytes, work.chunk_bytes):
            stop = min(at + work.chunk_bytes, work.size_bytes)
            body = slices(work.size_bytes, suffix, start=at, stop=stop)
            headers = {**kind, "Content-Range": f"{at}-{stop - 1}"}
            answer = yield request(
                "PATCH", target, port=port, headers=headers, body=body, length=stop - at
            )
            target = _location(_demand(answer, 202))
        body, rest = iter(()), 0
    else:
        body = slices(work.size_bytes, suffix, start=0, stop=work.size_bytes)
    target += ("&" if "?" in target else "?") + f"digest={digest}"
    answer = yield request("PUT", target, port=port, headers=kind, body=body, length=rest)
    _demand(answer, 201)
    return work.size_bytes


def _push_manifest(work: PushManifest, number: int, *, port: int) -> Script:
    unique = f"{work.nonce}-{number}"
    body = json.dumps({**work.template, "annotations": {"bench": unique}}).encode()
    headers = {**work.headers, "Content-Type": work.media_type}
    answer = yield request(
        "PUT",
        f"/v2/{work.repository}/manifests/{unique}",
        port=port,
        headers=headers,
        body=[memoryview(body)],
        length=len(body),
    )
    _demand(answer, 201)
    return len(body)


def _demand(answer: Incoming, status: int) -> Incoming:
    if answer.status != status:
        raise UnexpectedAnswer(f"status {answer.status} instead of {status}")
    return answer


def _location(answer: Incoming) -> str:
    parts = urlsplit(answer.header(b"location"))
    return f"{parts.path}?{parts.query}" if parts.query else parts.path

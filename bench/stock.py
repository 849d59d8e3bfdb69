"""What lies in a registry before it is measured: the same bytes under the same names on both sides.

Everything is pushed through HTTP but the thousands of tags, which each side multiplies in its own
store from one that was pushed.
"""

import hashlib
import json
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from bench.plan import MIB, Plan
from bench.servers.side import Side, call, demand

REPOSITORY: Final = "bench/app"
TAGGED: Final = "bench/tagged"
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
SMALL_BYTES: Final = 1024
SMALL_BLOBS, MIDDLE_BLOBS, LARGE_BLOBS, MANIFESTS = 64, 8, 1, 64
LAYERS_PER_MANIFEST: Final = 5
FILLERS: Final = 4
"""How many repositories of the catalog are made at once."""
_CONFIG: Final = b'{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers"}}'


@dataclass(slots=True, frozen=True, kw_only=True)
class Stock:
    """Fills the sides, each part once and when it is first asked for."""

    plan: Plan
    _done: set[tuple[str, str]] = field(default_factory=set)

    def manifests(self, side: Side) -> tuple[str, ...]:
        """Put manifests into `REPOSITORY`; return their digests. Each has a tag of its own."""

        def fill() -> None:
            headers = side.authorize(f"repository:{REPOSITORY}:pull,push")
            _push_blobs(side, REPOSITORY, [_CONFIG, *_layers()], headers=headers)
            for index in range(MANIFESTS):
                tag, content = tag_of(index), manifest(index)
                push_manifest(side, REPOSITORY, tag, content, headers=headers)

        self.once(side, "manifests", fill)
        return _manifest_digests()

    def blobs(self, side: Side, *, size: int) -> tuple[str, ...]:
        """Put blobs of a size into `REPOSITORY`; return their digests."""
        number = LARGE_BLOBS if size > MIB else MIDDLE_BLOBS if size == MIB else SMALL_BLOBS

        def fill() -> None:
            headers = side.authorize(f"repository:{REPOSITORY}:pull,push")
            for index in range(number):
                push_blob(side, REPOSITORY, _blob(index, size), headers=headers)

        self.once(side, f"blobs of {size}", fill)
        return _blob_digests(number, size)

    def tagged(self, side: Side) -> None:
        """Give a manifest of `TAGGED` as many tags as the plan says."""

        def fill() -> None:
            headers = side.authorize(f"repository:{TAGGED}:pull,push")
            _push_blobs(side, TAGGED, [_CONFIG, *_layers()], headers=headers)
            push_manifest(side, TAGGED, "t-0", manifest(0), headers=headers)
            names = [f"t-{number}" for number in range(1, self.plan.tags)]
            side.multiply_tag(TAGGED, tag="t-0", names=names)

        self.once(side, "tagged", fill)

    def catalog(self, side: Side) -> None:
        """Make as many repositories as the plan says, each with an image without layers."""

        def fill() -> None:
            content = json.dumps({**template(), "layers": []}).encode()

            def make(number: int) -> None:
                repository = f"bench/r-{number:04}"
                headers = side.authorize(f"repository:{repository}:pull,push")
                push_blob(side, repository, _CONFIG, headers=headers)
                push_manifest(side, repository, "latest", content, headers=headers)

            with ThreadPoolExecutor(max_workers=FILLERS) as threads:
                deque(threads.map(make, range(self.plan.repositories)), maxlen=0)

        self.once(side, "catalog", fill)

    def once(self, side: Side, part: str, fill: Callable[[], None]) -> None:
        """Do something for a side unless it was done."""
        if (side.name, part) not in self._done:
            fill()
            self._done.add((side.name, part))


def tag_of(index: int) -> str:
    """Return the tag of the n-th manifest of `REPOSITORY`."""
    return f"m-{index}"


def manifest(number: int) -> bytes:
    """Return an image manifest of the size that is usual, unlike those of other numbers."""
    return json.dumps({**template(), "annotations": {"bench": str(number)}}).encode()


def template() -> dict[str, object]:
    """Return a manifest that needs no more than something of its own."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(_CONFIG, CONFIG_TYPE),
        "layers": [_descriptor(layer, LAYER_TYPE) for layer in _layers()],
    }


def digest(content: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def push_blob(side: Side, repository: str, content: bytes, *, headers: dict[str, str]) -> None:
    """Push a blob as a POST and a PUT."""
    path = f"/v2/{repository}/blobs/uploads/"
    started = demand(call(side.port, "POST", path, headers=headers), 202)
    location = started.headers["location"].removeprefix(f"http://127.0.0.1:{side.port}")
    location = location.removeprefix(f"http://localhost:{side.port}")
    joined = f"{location}{'&' if '?' in location else '?'}digest={digest(content)}"
    kind = {**headers, "Content-Type": "application/octet-stream"}
    demand(call(side.port, "PUT", joined, headers=kind, body=content), 201)


def push_manifest(
    side: Side, repository: str, tag: str, content: bytes, *, headers: dict[str, str]
) -> None:
    """Push a manifest under a tag."""
    path = f"/v2/{repository}/manifests/{tag}"
    kind = {**headers, "Content-Type": MANIFEST_TYPE}
    demand(call(side.port, "PUT", path, headers=kind, body=content), 201)


def _push_blobs(
    side: Side, repository: str, contents: list[bytes], *, headers: dict[str, str]
) -> None:
    for content in contents:
        push_blob(side, repository, content, headers=headers)


def _layers() -> list[bytes]:
    return [_blob(index, SMALL_BYTES) for index in range(LAYERS_PER_MANIFEST)]


@cache
def _manifest_digests() -> tuple[str, ...]:
    return tuple(digest(manifest(index)) for index in range(MANIFESTS))


@cache
def _blob_digests(number: int, size: int) -> tuple[str, ...]:
    return tuple(digest(_blob(index, size)) for index in range(number))


def _blob(index: int, size: int) -> bytes:
    return random.Random(f"{index}/{size}").randbytes(size)  # noqa: S311 -- filler


def _descriptor(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}

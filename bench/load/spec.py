"""What the lean client is asked to do and what it answers: JSON on its standard streams."""

import msgspec


class Cycle(msgspec.Struct, frozen=True, kw_only=True, tag="cycle"):
    """Ask for the paths one after the other."""

    method: str
    paths: list[str]
    headers: dict[str, str]
    status: int = 200


class PushBlob(msgspec.Struct, frozen=True, kw_only=True, tag="push-blob"):
    """Push blobs that nobody has seen; with `chunk_bytes` by PATCHes, else by one PUT."""

    repository: str
    size_bytes: int
    headers: dict[str, str]
    nonce: str
    chunk_bytes: int = 0


class PushManifest(msgspec.Struct, frozen=True, kw_only=True, tag="push-manifest"):
    """Push manifests that nobody has seen, each under a tag of its own."""

    repository: str
    template: dict[str, object]
    media_type: str
    headers: dict[str, str]
    nonce: str


Work = Cycle | PushBlob | PushManifest


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Some connections that all do the same work."""

    connections: int
    work: Work


class LoadSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run; it ends by time or by the number of operations, whichever comes first."""

    port: int
    parts: list[Part]
    seconds: float
    limit: int
    """Operations that are begun at most, over all connections."""


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What happened. An operation is a whole push, or one request of a cycle."""

    requests: int
    failures: int
    first_failure: str
    seconds: float
    p50_ms: float
    p99_ms: float
    body_bytes: int
    client_cpu_seconds: float

"""Layers and images made by tests."""

import gzip
import io
import tarfile
from dataclasses import dataclass, field

from hatoba.kernel.digests import Digest

DEBIAN_RELEASE = b"""PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
"""
ALPINE_RELEASE = b"""NAME="Alpine Linux"
ID=alpine
VERSION_ID=3.18.4
PRETTY_NAME="Alpine Linux v3.18"
"""


def dpkg_status(*packages: tuple[str, str, str]) -> bytes:
    """Each package: name, version, Source field ("" for none)."""
    stanzas = []
    for name, version, source in packages:
        lines = [f"Package: {name}", "Status: install ok installed", f"Version: {version}"]
        lines += [f"Source: {source}"] if source else []
        stanzas.append("\n".join([*lines, "Architecture: amd64", "Description: x", " more: text"]))
    return ("\n\n".join(stanzas) + "\n").encode()


def apk_installed(*packages: tuple[str, str, str]) -> bytes:
    """Each package: name, version, origin."""
    return "\n".join(
        f"C:Q1xx=\nP:{name}\nV:{version}\nA:x86_64\no:{origin}\nF:bin\nR:sh\n"
        for name, version, origin in packages
    ).encode()


def tar(files: dict[str, bytes], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def layer(files: dict[str, bytes]) -> bytes:
    return gzip.compress(tar(files), mtime=0)


@dataclass
class Shelf:
    """What a fake registry serves, and how."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    token: str = "Bearer let-me-in"
    requests: list[str] = field(default_factory=list)
    failures: int = 0
    """This many requests are answered 503 first."""

    def put(self, content: bytes) -> str:
        digest = str(Digest.of(content))
        self.blobs[digest] = content
        return digest

    async def __call__(self, scope, receive, send):
        digest = scope["path"].rsplit("/", 1)[1]
        self.requests.append(digest)
        headers = dict(scope["headers"])
        status, body = 200, self.blobs.get(digest, b"")
        if self.failures:
            self.failures -= 1
            status, body = 503, b""
        elif headers.get(b"authorization", b"").decode() != self.token:
            status, body = 401, b""
        elif digest not in self.blobs:
            status = 404
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    def manifest(self, url: str, *layers: bytes, name: bytes = b"manifest") -> dict:
        digests = [self.put(content) for content in layers]
        return {
            "hash": str(Digest.of(name + "".join(digests).encode())),
            "layers": [
                {
                    "hash": digest,
                    "uri": f"{url}/v2/a/b/blobs/{digest}",
                    "headers": {"Accept": ["application/gzip"], "Authorization": [self.token]},
                }
                for digest in digests
            ],
        }

"""A registry under test, of any make: what distribution-spec 1.1 lets a client do over HTTP.

Nothing here knows whose registry it speaks to, but for how credentials are got.
"""

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hatoba.kernel.digests import Digest

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCTETS = "application/octet-stream"
UNKNOWN = f"sha256:{'0' * 64}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        return [error["code"] for error in self.json["errors"]]

    @property
    def location(self) -> str:
        """The path of the Location, which may be absolute or relative."""
        parts = urlsplit(self.headers["location"])
        return parts.path + (f"?{parts.query}" if parts.query else "")

    @property
    def following(self) -> str | None:
        """The path of the next page. Spec: RFC 8288."""
        link = self.headers.get("link")
        if link is None:
            return None
        target, _, relation = link.partition(";")
        assert relation.replace('"', "").strip() == "rel=next"
        parts = urlsplit(target.strip()[1:-1])
        return f"{parts.path}?{parts.query}"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running registry. `headers_for` returns the credentials for some repositories."""

    port: int
    headers_for: Callable[..., dict[str, str]]
    prefix: str

    def call(self, method, path, *, body=None, headers=None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=lower, body=content)

    def repository(self, name: str, *also: str) -> "Repository":
        """Return a repository, with credentials for it and for others to be read."""
        full = [f"{self.prefix}{one}" for one in (name, *also)]
        return Repository(target=self, name=full[0], headers=self.headers_for(*full))


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One repository and what clients do with it."""

    target: Target
    name: str
    headers: dict[str, str] = field(repr=False)

    def call(self, method, path, *, body=None, **headers) -> Answer:
        """Call an endpoint of this repository; a path that begins with /v2/ is whole."""
        whole = path if path.startswith("/v2/") else f"/v2/{self.name}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.target.call(method, whole, body=body, headers={**self.headers, **named})

    def start(self) -> str:
        """Begin an upload; return where it goes on."""
        answer = self.call("POST", "/blobs/uploads/", Content_Length="0")
        assert answer.status == 202, answer.body
        return answer.location

    def finish(self, location, digest, *, body=None, **headers) -> Answer:
        """Close an upload. The location may have a query of its own."""
        glue = "&" if "?" in location else "?"
        return self.call(
            "PUT", f"{location}{glue}digest={digest}", body=body, Content_Type=OCTETS, **headers
        )

    def push_blob(self, content: bytes, algorithm: str = "sha256") -> str:
        digest = str(Digest.of(content, algorithm))
        answer = self.finish(self.start(), digest, body=content)
        assert answer.status == 201, answer.body
        return digest

    def blob(self, content: bytes, media_type: str, algorithm: str = "sha256"):
        """Push a blob; return its descriptor."""
        digest = self.push_blob(content, algorithm)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def image(self, text: str = "image", *, media_type: str = IMAGE, **changes) -> bytes:
        """Push what an image needs; return its manifest."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "text": text}).encode()
        document = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self.blob(config, CONFIG),
            "layers": [self.blob(f"layer of {text}".encode(), LAYER)],
            **changes,
        }
        return json.dumps(
            {key: document[key] for key in document if document[key] is not None}
        ).encode()

    def push(self, reference, content: bytes, media_type: str = IMAGE) -> Answer:
        return self.call("PUT", f"/manifests/{reference}", body=content, Content_Type=media_type)

    def push_by_digest(self, content: bytes, media_type: str = IMAGE, algorithm: str = "sha256"):
        """Push a manifest under its digest; return its descriptor."""
        digest = str(Digest.of(content, algorithm))
        answer = self.push(digest, content, media_type)
        assert answer.status == 201, answer.body
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def pull(self, reference, *, accept: str = f"{IMAGE}, {INDEX}") -> Answer:
        return self.call("GET", f"/manifests/{reference}", Accept=accept)

    def referrers(self, digest, query: str = ""):
        """Return the descriptors of one page."""
        answer = self.call("GET", f"/referrers/{digest}{query}")
        assert answer.status == 200, answer.body
        return answer.json["manifests"]


def index(*children, media_type: str = INDEX, **more) -> bytes:
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(children), **more}
    return json.dumps(document).encode()

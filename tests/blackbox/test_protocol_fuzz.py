"""Hypothesis speaks to /v2: whatever it says, it is answered as the specification has it.

Never a 5xx, always the documented shape, the same processes afterwards, and nothing stored by what
was refused. The examples are the same in every run, and a failing one is printed as it was sent.
"""

import asyncio
import http.client
import json
import re
import socket
import string
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.blackbox.conftest import Registry, on_postgresql
from tests.blackbox.test_protocol import Client

from hatoba.kernel.digests import Digest

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

NAME = "admin/fuzz"
EMPTY = str(Digest.of(b""))
UNKNOWN = f"sha256:{'0' * 64}"
NO_HTTP = b"Invalid HTTP request received."
"""What the parser of HTTP says, before anybody knows that `/v2` is meant."""
CONFIG = b"{}"
LIVE = "LIVE-UPLOAD"
"""Stands for the id of an upload that is under way."""
CODES = {
    *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID"),
    *("MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID"),
    *("NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED"),
    *("TOOMANYREQUESTS", "INVALID_REQUEST"),
}
"""The codes of the specification, and Quay's own of `/v2/auth`."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, to the byte."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    length: str | None = None
    """Content-Length where it is not the body's."""
    has_token: bool = True

    def wire(self, *, token: str, upload_id: str) -> bytes:
        length = str(len(self.body)) if self.length is None else self.length
        lines = [
            f"{self.method} {self.target.replace(LIVE, upload_id)} HTTP/1.1",
            "Host: localhost",
            "Connection: close",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        if self.has_token:
            lines.append(f"Authorization: Bearer {token}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


@dataclass(kw_only=True, repr=False)
class Target:
    """The registry that is spoken to, and what it acknowledged."""

    registry: Registry
    token: str
    url: str
    pids: list[int]
    upload_id: str = ""
    tags: set[str] = field(default_factory=set)
    manifests: set[str] = field(default_factory=set)
    statuses: dict[int, int] = field(default_factory=dict)

    def send(self, call: Call) -> http.client.HTTPResponse | None:
        """Return the answer, its body read; None where there was none."""
        wire = call.wire(token=self.token, upload_id=self.upload_id)
        with socket.create_connection(("127.0.0.1", self.registry.port), timeout=30) as opened:
            try:
                opened.sendall(wire)
                if call.length is not None:
                    # A body that was announced and does not come must not be waited for.
                    with suppress(OSError):
                        opened.shutdown(socket.SHUT_WR)
                answer = http.client.HTTPResponse(opened, method=call.method)
                answer.begin()
                answer.content = answer.read()  # type: ignore[attr-defined] # kept for the checks
            except (http.client.HTTPException, ConnectionError):
                return None
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        return answer

    def query(self, statement: str):
        async def fetch():
            connection = await asyncpg.connect(self.url)
            try:
                return [row[0] for row in await connection.fetch(statement)]
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def begin_upload(self) -> None:
        """See to it that there is an upload under way."""
        headers = {"Authorization": f"Bearer {self.token}"}
        state = self.registry.call(
            "GET", f"/v2/{NAME}/blobs/uploads/{self.upload_id or 'none'}", headers=headers
        )
        if state.status != 204:
            path = f"/v2/{NAME}/blobs/uploads/"
            begun = self.registry.call("POST", path, headers=headers)
            self.upload_id = begun.headers["docker-upload-uuid"]


@pytest.fixture(scope="module")
def target(tmp_path_factory, postgres_server) -> Iterator[Target]:
    directory = tmp_path_factory.mktemp("fuzz")
    with postgres_server.database() as url, on_postgresql(directory, url) as registry:
        client = Client(registry, NAME)
        client.push("v1", client.image("x"))
        scopes = [f"repository:{NAME}:pull,push", "repository:admin/other:pull"]
        token = registry.bearer(*scopes)["Authorization"].removeprefix("Bearer ")
        found = Target(registry=registry, token=token, url=url, pids=registry.workers())
        client.push_blob(CONFIG)
        found.tags = set(found.query("SELECT name FROM tag"))
        found.manifests = set(found.query("SELECT digest FROM manifest"))
        yield found


# -- what is said --

printable = st.text(string.ascii_letters + string.digits + "._-~!$&'()*+,;=:@%", max_size=20)
anything = st.text(max_size=12).map(lambda text: quote(text, safe=""))
oddities = st.sampled_from(
    [
        "",
        ".",
        "..",
        "%00",
        "%2F",
        "%FF%FE",
        "%ED%A0%80",
        "a" * 300,
        "UPPER",
        "a//b",
        "-a",
        "a_",
        "%",
    ]
)
words = st.one_of(printable, anything, oddities)
names = st.one_of(
    st.just(NAME),
    st.just(NAME),
    st.sampled_from(["admin/other", "library", "nobody/there", "admin/fuzz/manifests/v1"]),
    st.lists(words, min_size=1, max_size=3).map("/".join),
)
hexes = st.text("0123456789abcdefABCDEFg", max_size=130)
digests = st.one_of(
    st.sampled_from(
        [EMPTY, UNKNOWN, f"sha512:{'0' * 128}", UNKNOWN.upper(), "sha256:", ":", "md5:00"]
    ),
    st.builds("{}:{}".format, st.sampled_from(["sha256", "sha512", "sha1", "a+b"]), hexes),
    words,
)
references = st.one_of(st.just("v1"), digests, words, st.text("ab.-_", max_size=140))
numbers = st.one_of(
    st.sampled_from(["", "0", "-1", "1", "+1", "01", "1e3", "1.5", "NaN", "٣", "9" * 30]),
    st.integers(-(10**20), 10**20).map(str),
).map(lambda text: quote(text, safe="+-."))
keys = st.sampled_from(
    ["n", "last", "digest", "mount", "from", "artifactType", "scope", "service", "ns", "_state"]
)
queries = st.lists(
    st.builds("{}={}".format, keys, st.one_of(numbers, digests, words, names)), max_size=3
).map(lambda parts: "?" + "&".join(parts) if parts else "")
uploads = st.one_of(st.just(LIVE), st.just(LIVE), words)
paths = st.one_of(
    st.builds("/v2/{}/manifests/{}".format, names, references),
    st.builds("/v2/{}/blobs/{}".format, names, digests),
    st.builds("/v2/{}/blobs/uploads/".format, names),
    st.builds("/v2/{}/blobs/uploads/{}".format, names, uploads),
    st.builds("/v2/{}/tags/list".format, names),
    st.builds("/v2/{}/referrers/{}".format, names, digests),
    st.sampled_from(["/v2/", "/v2/_catalog", "/v2/auth", "/v2/x"]),
    st.builds("/v2/{}".format, words),
)
spans = st.one_of(
    st.builds("{}-{}".format, numbers, numbers),
    st.builds("bytes={}-{}".format, numbers, numbers),
    st.builds("bytes={}-{}/{}".format, numbers, numbers, numbers),
    st.lists(st.builds("{}-{}".format, numbers, numbers), max_size=30).map(
        lambda all_of: "bytes=" + ",".join(all_of)
    ),
    words,
)
types = st.one_of(
    st.sampled_from(
        [
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8",
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "application/json",
            ";;;",
        ]
    ),
    words,
)
header = st.one_of(
    st.tuples(st.just("Content-Range"), spans),
    st.tuples(st.just("Range"), spans),
    st.tuples(st.just("Content-Type"), types),
    st.tuples(st.just("Accept"), types),
    st.tuples(st.just("If-None-Match"), st.one_of(digests.map('"{}"'.format), words)),
    st.tuples(st.just("Authorization"), st.sampled_from(["", "Bearer", "Bearer x.y.z", "Basic !"])),
    st.tuples(st.just("Expect"), st.sampled_from(["100-continue", "the-unexpected"])),
    st.tuples(st.just("X-Forwarded-For"), words),
    st.tuples(st.just("X-Large"), st.sampled_from([1000, 8000, 70_000]).map("a".__mul__)),
)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), digests
)
described = st.fixed_dictionaries(
    {},
    optional={
        "mediaType": st.one_of(types, plain),
        "digest": st.one_of(digests, plain),
        "size": st.one_of(st.sampled_from([0, -1, 1 << 80, 1.5]), plain),
        "platform": plain,
        "annotations": st.dictionaries(st.text(max_size=4), plain, max_size=2),
        "data": plain,
        "urls": plain,
    },
)
stored = st.just(
    {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": str(Digest.of(CONFIG)),
        "size": len(CONFIG),
    }
)
documents = st.fixed_dictionaries(
    {"schemaVersion": st.sampled_from([2, 2, 2, 1, "2", None, 2.0])},
    optional={
        "mediaType": types,
        "config": st.one_of(stored, stored, described, plain),
        "layers": st.one_of(st.just([]), st.lists(stored | described, max_size=3), plain),
        "manifests": st.one_of(st.lists(described, max_size=3), plain),
        "subject": st.one_of(described, plain),
        "artifactType": plain,
        "annotations": st.one_of(st.dictionaries(st.text(max_size=4), plain, max_size=2), plain),
        "history": plain,
    },
)
sound = st.fixed_dictionaries(
    {"schemaVersion": st.just(2), "config": stored, "layers": st.lists(stored, max_size=2)},
    optional={
        "subject": stored | described,
        "artifactType": st.just("application/x") | plain,
        "annotations": st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
        "history": plain,
    },
)
bodies = st.one_of(
    st.just(b""),
    st.binary(max_size=60),
    documents.map(lambda document: json.dumps(document).encode()),
    st.sampled_from([b"[" * 100_000, b'{"schemaVersion":2', b"\xff\xfe{}", b'{"a":' + b"9" * 5000]),
)
lengths = st.one_of(
    st.none(), st.none(), st.none(), st.sampled_from(["0", "-1", "5", "+5", "x", "9" * 40, "1 1"])
)
methods = st.sampled_from(
    ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
)
calls = st.builds(
    Call,
    method=methods,
    target=st.builds("{}{}".format, paths, queries),
    headers=st.lists(header, max_size=2).map(tuple),
    body=bodies,
    length=lengths,
    has_token=st.sampled_from([True, True, True, False]),
)
pushes = st.builds(
    Call,
    method=st.just("PUT"),
    target=st.builds(
        f"/v2/{NAME}/manifests/{{}}".format, st.sampled_from(["v1", "v2"]) | references
    ),
    headers=st.one_of(
        st.just((("Content-Type", "application/vnd.oci.image.manifest.v1+json"),)),
        st.tuples(st.tuples(st.just("Content-Type"), types)),
    ),
    body=(documents | sound).map(lambda document: json.dumps(document).encode()),
)
chunks = st.builds(
    Call,
    method=st.sampled_from(["PATCH", "PUT", "POST"]),
    target=st.builds(f"/v2/{NAME}/blobs/uploads/{LIVE}{{}}".format, queries),
    headers=st.lists(st.tuples(st.just("Content-Range"), spans), max_size=1).map(tuple),
    body=st.binary(max_size=60),
    length=lengths,
)


# -- what is held against it --


def speak(target: Target, strategy: st.SearchStrategy[Call], *, count: int) -> None:
    """Say what a strategy finds to say; a failure shows the call alone."""

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(call=strategy)
    def said(call: Call) -> None:
        check(target, call)

    said()


def is_sound_http(call: Call) -> bool:
    """Say whether a request gets past the parser of HTTP, whose answers are its own."""
    if call.method == "BREW" or call.length not in {None, "0", "5"}:
        return False
    return sum(len(name) + len(value) for name, value in call.headers) < 60_000


def check(target: Target, call: Call) -> None:
    answer = target.send(call)
    if answer is None:
        # Whoever hangs up half-way, or sends more than is read of him, may miss the answer.
        large = sum(len(value) for _, value in call.headers) + len(call.body)
        assert call.length is not None or large > 60_000, "no answer"
        return
    content: bytes = answer.content  # type: ignore[attr-defined] # set by send
    assert answer.status < 500, content
    if answer.status < 400:
        remember(target, call, answer)
        return
    if content == NO_HTTP:
        assert (answer.status, is_sound_http(call)) == (400, False)
        return
    if answer.status == 431:
        assert not is_sound_http(call)
        return
    if call.method != "HEAD" and answer.status != 416:
        assert_documented(call, content)
    if answer.status == 401 and not call.target.startswith("/v2/auth"):
        assert (answer.getheader("WWW-Authenticate") or "").startswith('Bearer realm="')
    if answer.status == 405 and "/v2/auth" not in call.target:
        assert answer.getheader("Allow") or b'"UNSUPPORTED"' in content or call.method == "HEAD"
    if answer.status == 429:
        assert (answer.getheader("Retry-After") or "").isdigit()


def assert_documented(call: Call, content: bytes) -> None:
    errors = json.loads(content)["errors"]
    assert errors, call
    for error in errors:
        assert error["code"] in CODES
        assert isinstance(error["message"], str)
        assert error["message"]
        assert not re.search(r"Traceback|asyncpg|sqlalchemy|/src/hatoba|\.py\b", error["message"])


def remember(target: Target, call: Call, answer: http.client.HTTPResponse) -> None:
    """Note what an acknowledged manifest stores."""
    if call.method == "PUT" and "/manifests/" in call.target and answer.status == 201:
        target.manifests.add(answer.getheader("Docker-Content-Digest") or "")
        target.tags.add(call.target.partition("?")[0].rpartition("/")[2])


def test_whatever_is_said_is_answered_properly(target: Target) -> None:
    speak(target, calls, count=300)
    assert_the_processes_are_the_same_as_before(target)


def test_whatever_is_pushed_is_answered_properly_and_stored_if_acknowledged(target: Target) -> None:
    speak(target, pushes, count=120)
    assert_nothing_was_stored_that_was_not_acknowledged(target)
    assert_the_processes_are_the_same_as_before(target)


def test_whatever_a_chunk_says_is_answered_properly(target: Target) -> None:
    target.begin_upload()
    speak(target, chunks, count=80)
    assert_the_processes_are_the_same_as_before(target)


def assert_nothing_was_stored_that_was_not_acknowledged(target: Target) -> None:
    print(dict(sorted(target.statuses.items())))
    assert target.statuses[201] > 0, "nothing got far enough to be stored"
    visible = set(target.query("SELECT name FROM tag WHERE NOT hidden"))
    assert visible <= target.tags
    assert set(target.query("SELECT digest FROM manifest")) <= target.manifests
    storage = target.registry.directory / "storage"
    files = {f"{path.parts[-3]}:{path.name}" for path in storage.glob("sha*/??/*")}
    assert files <= set(target.query("SELECT content_checksum FROM imagestorage"))


def assert_the_processes_are_the_same_as_before(target: Target) -> None:
    assert target.registry.workers() == target.pids
    assert target.registry.call("GET", "/health/instance").status == 200

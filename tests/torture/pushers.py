"""Pushes, moves, deletes and reads at random, and writes down what was acknowledged."""

import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Self

from tests.torture.client import Answer, Broken, Client, Refused
from tests.torture.ledger import Absent, Named, digest_of

from hatoba.oci import media_types

TAGS = 6
LARGEST_BLOB = 400_000
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def descriptor(content: bytes, media_type: str) -> dict:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def image(config: bytes, layer: bytes) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": descriptor(config, media_types.OCI_CONFIG),
            "layers": [descriptor(layer, LAYER)],
        }
    ).encode()


@dataclass(kw_only=True)
class Pusher:
    """One client at work in a repository of its own."""

    client: Client
    repository: str
    random: random.Random
    deletes: bool = True
    largest: int = LARGEST_BLOB

    def step(self) -> None:
        """Do one thing.

        Raises:
            Broken, Refused: it did not work; the ledger knows what that means.
        """
        steps = [self.push_image] * 4 + [self.push_chunked, self.push_at_once, self.read_tag]
        steps += [self.read_blob] * 2 + ([self.delete_tag] if self.deletes else [])
        self.random.choice(steps)()

    def content(self) -> bytes:
        return self.random.randbytes(self.random.randrange(1, self.largest))

    def push_at_once(self, content: bytes | None = None) -> bytes:
        """Push a blob by a single POST."""
        content = content if content is not None else self.content()
        path = f"/blobs/uploads/?digest={digest_of(content)}"
        self._acknowledge(content, self._call("POST", path, body=content))
        return content

    def push_chunked(self) -> bytes:
        """Push a blob by POST, PATCHes and PUT; go on where the registry says it stands."""
        content = self.content()
        upload = self._location(self._call("POST", "/blobs/uploads/"))
        sent = 0
        for _ in range(self.random.randrange(1, 4)):
            chunk = content[sent : sent + self.random.randrange(1, self.largest)]
            if chunk:
                sent = self._append(upload, content, start=sent, chunk=chunk)
        path = f"{upload}?digest={digest_of(content)}"
        self._acknowledge(content, self._call("PUT", path, body=content[sent:]))
        return content

    def _append(self, upload: str, content: bytes, *, start: int, chunk: bytes) -> int:
        """Append a chunk; when that fails, ask how far the registry got."""
        end = start + len(chunk)
        try:
            self._call("PATCH", upload, body=chunk, Content_Range=f"{start}-{end - 1}")
        except (Broken, Refused):
            stands = self.client.get(self.repository, upload)
            if stands.status == 404:
                self.client.ledger.lost.append(f"upload {upload} is gone with {start} bytes")
            if stands.status != 204:
                raise
            received = self._received(stands)
            if received not in {start, end}:
                self.client.ledger.lost.append(f"{upload}: {received}, not {start} or {end}")
            return received
        return end

    @staticmethod
    def _received(answer: Answer) -> int:
        last = int(answer.headers["range"].split("-")[1])
        return last + 1 if last else 0

    def push_image(self) -> None:
        """Push config, layer and manifest, under a tag that may exist already."""
        config = json.dumps({"os": "linux", "x": self.random.random()}).encode()
        self.push_at_once(config)
        layer = self.random.choice([self.push_at_once, self.push_chunked])()
        manifest = image(config, layer)
        tag = Named(self.repository, f"t{self.random.randrange(TAGS)}")
        target = digest_of(manifest)
        before = self.client.ledger.tag_begins(tag, target)
        answer = self.client.call(
            "PUT",
            self.repository,
            f"/manifests/{tag.name}",
            body=manifest,
            Content_Type=media_types.OCI_MANIFEST,
        )
        self._decide(answer, tag, target=target, before=before, success=201)

    def delete_tag(self, name: str | None = None) -> None:
        tag = Named(self.repository, name or f"t{self.random.randrange(TAGS)}")
        before = self.client.ledger.tag_begins(tag, Absent)
        answer = self.client.call("DELETE", self.repository, f"/manifests/{tag.name}")
        if answer.status == 404:
            self.client.ledger.tag_refused(tag, before)
            self.client.ledger.found(tag, Absent)
            self.client.ledger.tag_acknowledged(tag, Absent)
            return
        self._decide(answer, tag, target=Absent, before=before, success=202)

    def read_tag(self) -> None:
        tag = Named(self.repository, f"t{self.random.randrange(TAGS)}")
        read_tag(self.client, tag)

    def read_blob(self) -> None:
        blob = self.client.ledger.some_blob(self.random.choice)
        if blob is not None:
            read_blob(self.client, blob)

    def _decide(
        self, answer: Answer, tag: Named, *, target: str | None, before: set, success: int
    ) -> None:
        if answer.status == success:
            self.client.ledger.tag_acknowledged(tag, target)
            return
        if not answer.is_unknown:
            self.client.ledger.tag_refused(tag, before)
        raise Refused(answer)

    def _acknowledge(self, content: bytes, answer: Answer) -> None:
        assert answer.status == 201, answer
        blob = Named(self.repository, digest_of(content))
        self.client.ledger.blob_acknowledged(blob, len(content))

    def _call(self, method: str, path: str, *, body=None, **headers) -> Answer:
        answer = self.client.call(method, self.repository, path, body=body, **headers)
        if answer.status >= 300:
            raise Refused(answer)
        return answer

    @staticmethod
    def _location(answer: Answer) -> str:
        return "/blobs/uploads/" + answer.headers["docker-upload-uuid"]


def read_tag(client: Client, tag: Named) -> None:
    """Read a tag and hold it, and the bytes behind it, against the ledger."""
    answer = client.get(tag.repository, f"/manifests/{tag.name}")
    if answer.status == 404:
        client.ledger.found(tag, Absent)
    elif answer.status == 200:
        client.ledger.found(tag, digest_of(answer.body))
    else:
        raise Refused(answer)


def read_blob(client: Client, blob: Named) -> None:
    """Read a blob and hold its bytes against the ledger."""
    answer = client.get(blob.repository, f"/blobs/{blob.name}")
    if answer.status not in {200, 404}:
        raise Refused(answer)
    client.ledger.found_blob(blob, answer.body if answer.status == 200 else None)


def read_everything(client: Client, *, rounds: int = 1) -> None:
    """Read all that was ever acknowledged."""
    for _ in range(rounds):
        for tag in list(client.ledger.tags):
            read_tag(client, tag)
        for blob in list(client.ledger.blobs):
            read_blob(client, blob)


@dataclass(kw_only=True)
class Crowd:
    """Pushers in threads; leaving the block ends them, and raises what a thread died of."""

    pushers: list[Pusher]
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _failures: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        for pusher in self.pushers:
            thread = threading.Thread(target=self._work, args=(pusher,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(90)
        stuck = [thread for thread in self._threads if thread.is_alive()]
        assert stuck == [], "a request hangs"
        if self._failures:
            raise self._failures[0]

    def _work(self, pusher: Pusher) -> None:
        while not self._stopping.is_set():
            try:
                pusher.step()
            except (Broken, Refused):
                time.sleep(0.05)
            except BaseException as error:  # noqa: BLE001 -- raised again in the test's thread
                self._failures.append(error)
                return

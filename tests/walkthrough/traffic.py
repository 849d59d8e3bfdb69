"""A bounded loop of real pulls and pushes over HTTP, counting every answer that is not right."""

import http.client
import json
import random
import ssl
import threading
import time
import urllib.parse
from base64 import b64encode
from hashlib import sha256

from tests.walkthrough.images import CONFIG, LAYER, MANIFEST


class Traffic:
    """Pull and push in turn from several threads until stopped; `failures` must stay empty."""

    def __init__(self, story, repository: str, *, threads: int = 2, user: str, password: str):
        host, _, port = story.host.partition(":")
        self._address = host, int(port or 443)
        self._service = story.host
        self._repository = repository
        self._basic = b64encode(f"{user}:{password}".encode()).decode()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.failures: list[str] = []
        self.pulls = self.pushes = 0
        self.pushed: dict[str, str] = {}
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        source = random.Random(number)
        deadline = time.monotonic() + 400
        while not self._stop.is_set() and time.monotonic() < deadline:
            try:
                self._round(number, source)
            except Exception as error:  # noqa: BLE001 -- every failure is a finding
                with self._lock:
                    self.failures.append(f"{time.strftime('%X')} {error!r}")

    def _round(self, number: int, source: random.Random) -> None:
        token = self._token()
        layer, config = source.randbytes(20_000), b'{"architecture":"amd64","os":"linux"}'
        for content in (layer, config):
            self._upload(token, content)
        manifest = json.dumps(
            {
                "schemaVersion": 2, "mediaType": MANIFEST,
                "config": _descriptor(config, CONFIG), "layers": [_descriptor(layer, LAYER)],
            }
        ).encode()  # fmt: skip
        tag = f"t{number}"
        path = f"/v2/{self._repository}/manifests/{tag}"
        self._call("PUT", path, token, {201}, manifest, {"Content-Type": MANIFEST})
        with self._lock:
            self.pushes += 1
            self.pushed[tag] = "sha256:" + sha256(manifest).hexdigest()
        for _ in range(3):
            body, _ = self._call("GET", path, token, {200})
            assert body == manifest, "another manifest than the one that was pushed"
            digest = "sha256:" + sha256(layer).hexdigest()
            body, _ = self._call("GET", f"/v2/{self._repository}/blobs/{digest}", token, {200})
            assert body == layer, "other bytes than the ones that were pushed"
            with self._lock:
                self.pulls += 1

    def _upload(self, token: str, content: bytes) -> None:
        path = f"/v2/{self._repository}/blobs/uploads/"
        _, headers = self._call("POST", path, token, {202})
        location = urllib.parse.urlsplit(headers["location"])
        query = f"{location.query}&" if location.query else ""
        digest = "sha256:" + sha256(content).hexdigest()
        self._call(
            "PUT", f"{location.path}?{query}digest={digest}", token, {201}, content,
            {"Content-Type": "application/octet-stream"},
        )  # fmt: skip

    def _token(self) -> str:
        scope = f"repository:{self._repository}:pull,push"
        query = urllib.parse.urlencode({"service": self._service, "scope": scope})
        body, _ = self._request(
            "GET", f"/v2/auth?{query}", {"Authorization": f"Basic {self._basic}"}
        )
        return json.loads(body)["token"]

    def _call(self, method, path, token, expected, body=None, headers=None):
        headers = {**(headers or {}), "Authorization": f"Bearer {token}"}
        return self._request(method, path, headers, expected, body)

    def _request(self, method, path, headers, expected=frozenset({200}), body=None):
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(*self._address, context=context, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status not in expected:
                raise AssertionError(f"{method} {path}: {answer.status} {content[:300]!r}")
            return content, {key.lower(): value for key, value in answer.getheaders()}
        finally:
            connection.close()


def _descriptor(content: bytes, media_type: str) -> dict:
    digest = "sha256:" + sha256(content).hexdigest()
    return {"mediaType": media_type, "digest": digest, "size": len(content)}

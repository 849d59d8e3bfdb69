"""An editor that serves over loopback, beside an operator that tells what it was sent."""

import base64
import contextlib
import json
from dataclasses import dataclass, field

import aiohttp
import pytest
import yaml

from hatoba.editor.app import Editor
from hatoba.editor.handover import OperatorRecipient
from hatoba.editor.protection import Protection
from hatoba.editor.settings import EditorSettings, Operator
from hatoba.net.http import HttpClient, open_session
from hatoba.serving.listeners import listening

PASSWORD = "a password"
MANAGED = ("Database", "Redis", "DistributedStorage", "SecurityScanner", "HostSettings")
CONFIG = {
    "SERVER_HOSTNAME": "registry.example:8443",
    "PREFERRED_URL_SCHEME": "https",
    "REGISTRY_TITLE": "Harbour <b>&",
    "DB_URI": "postgresql://quay:hunter2@db/quay",
    "SECRET_KEY": "key-of-sessions",
    "SUPER_USERS": ["quayadmin"],
    "FEATURE_USER_INITIALIZE": True,
    "USER_EVENTS_REDIS": {"host": "redis", "port": 6379, "password": "swordfish"},
    "TEAM_RESYNC_STALE_TIME": "30m",
    "SOMETHING_ELSE": {"a": [1, 2]},
}


@dataclass
class FakeOperator:
    """Answers as told, and remembers."""

    status: int = 200
    answer: bytes = b'{"status":"success"}'
    received: list = field(default_factory=list)

    async def __call__(self, scope, receive, send):
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.received.append((scope["method"], scope["path"], headers, json.loads(body)))
        kind = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self.status, "headers": kind})
        await send({"type": "http.response.body", "body": self.answer})


@dataclass
class Running:
    """An editor, and a browser that is signed in."""

    url: str
    session: aiohttp.ClientSession

    async def get(self, path="/", **options):
        async with self.session.get(self.url + path, **options) as response:
            return response, await response.text()

    async def post(self, path, **options):
        async with self.session.post(self.url + path, allow_redirects=False, **options) as response:
            return response, await response.read()


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "extra_ca_certs").mkdir()
    (tmp_path / "extra_ca_certs" / "ours.crt").write_bytes(b"PEM")
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "config.yaml").write_text("hidden")
    return tmp_path


@pytest.fixture
def operator():
    return FakeOperator()


@contextlib.asynccontextmanager
async def running_editor(directory, *, endpoint=None, groups=MANAGED, signed_in=True):
    settings = EditorSettings(
        directory=directory,
        password=PASSWORD,
        read_only_groups=groups,
        operator=Operator(endpoint=endpoint, namespace="ns", registry="reg") if endpoint else None,
    )
    credentials = base64.b64encode(f"quayconfig:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}"} if signed_in else {}
    async with open_session(allow_private=True) as outbound:
        recipient = None
        if settings.operator:
            recipient = OperatorRecipient(
                operator=settings.operator, password=PASSWORD, client=HttpClient(session=outbound)
            )
        editor = Editor(
            settings=settings, protection=Protection(password=PASSWORD), recipient=recipient
        )
        jar = aiohttp.CookieJar(unsafe=True)
        async with (
            listening(editor.application()) as server,
            aiohttp.ClientSession(headers=headers, cookie_jar=jar) as session,
        ):
            yield Running(url=server.url, session=session)


@pytest.fixture
async def editor(directory, operator):
    async with (
        listening(operator) as server,
        running_editor(directory, endpoint=server.url) as running,
    ):
        yield running

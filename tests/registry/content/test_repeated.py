"""A request that comes again, word for word, is answered from what is true by then."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from tests.registry.content.conftest import CALLER, NAME, Room

from hatoba.kernel.digests import Digest
from hatoba.registry.access.tokens import RegistryClaims
from hatoba.registry.content.catalog import Catalog
from hatoba.registry.db.tables.logs import log_entries
from hatoba.registry.v2 import remembered
from hatoba.registry.v2.app import V2Application
from hatoba.registry.v2.manifests import REMEMBERED_CONTENT_BYTES
from hatoba.registry.v2.messages import TokenInvalid
from hatoba.registry.v2.services import V2Services, V2Settings
from hatoba.serving.asgi import Message

pytestmark = pytest.mark.anyio

TAG = "/v2/someone/app/manifests/v1"


def claims_of(*actions: str, account_id: int | None = None) -> RegistryClaims:
    return RegistryClaims(
        username="someone",
        entity_kind="user",
        entity_reference="",
        account_id=account_id,
        grants={"someone/app": frozenset(actions)},
        expires_at=0,
    )


@dataclass(kw_only=True)
class Tokens:
    """Those that hold now, and what each says."""

    valid: dict[str, RegistryClaims] = field(default_factory=lambda: {"t": claims_of("pull")})

    async def verify(self, token: str) -> RegistryClaims:
        if token not in self.valid:
            raise TokenInvalid("Token has expired")
        return self.valid[token]


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Edge:
    """The application over a room, asked without a socket."""

    room: Room
    tokens: Tokens
    application: V2Application

    @property
    def kept(self) -> int:
        return len(self.application.remembered)

    async def ask(self, path: str = TAG, *, method: str = "GET", **headers: str) -> Answer:
        given = {"authorization": "Bearer t", **headers}
        told: list[Message] = []

        async def send(message) -> None:
            told.append(message)

        async def receive():
            raise AssertionError("a pull has no body")

        scope = {
            "method": method,
            "path": path,
            "headers": [(n.replace("_", "-").encode(), v.encode()) for n, v in given.items()],
        }
        await self.application(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in told[1:])
        return Answer(status=told[0]["status"], headers=dict(told[0]["headers"]), body=body)

    async def push(self, number: int, **extra: str) -> bytes:
        content = await self.room.image(annotations={"n": str(number), **extra})
        await self.room.push("v1", content)
        self.room.clock.advance(seconds=1)
        return content


@pytest.fixture
async def edge(room):
    async def reach(_: int):
        raise AssertionError("nobody lists")

    tokens = Tokens()
    services = V2Services(
        settings=V2Settings(hostname="localhost", scheme="http"),
        verifier=tokens,
        manifests=room.manifests,
        uploads=room.uploads,
        holdings=room.holdings,
        listings=room.listings,
        catalog=Catalog(shelf=room.shelf, reach=reach, shows_public=False),
    )
    return Edge(room=room, tokens=tokens, application=V2Application(services=services))


async def test_the_same_words_get_the_same_answer_and_a_row_each(edge) -> None:
    content = await edge.push(1)
    by_digest = f"/v2/someone/app/manifests/{Digest.of(content)}"
    for path in (TAG, by_digest):
        first, again = await edge.ask(path), await edge.ask(path)
        assert first == again
        assert (first.status, first.body) == (200, content)
    assert edge.kept == 2
    await edge.room.shelf.audit.flush()
    told = [row.metadata_json for row in await edge.room.rows(log_entries)]
    assert len([text for text in told if '"tag": "v1"' in text and "user-agent" in text]) == 3
    assert len([text for text in told if "manifest_digest" in text]) == 2


async def test_a_head_is_no_pull_however_often(edge) -> None:
    content = await edge.push(1)
    answers = [await edge.ask(method="HEAD") for _ in range(3)]
    assert [answer.headers[b"content-length"] for answer in answers] == [b"%d" % len(content)] * 3
    assert [answer.body for answer in answers] == [b""] * 3
    assert edge.room.shelf.audit.waiting == 0


async def test_a_tag_that_moved_is_answered_anew_each_time_it_moves(edge) -> None:
    for number in range(3):
        content = await edge.push(number)
        for _ in range(2):
            answer = await edge.ask()
            assert answer.body == content
            assert answer.headers[b"docker-content-digest"] == str(Digest.of(content)).encode()


async def test_a_manifest_that_went_is_not_found(edge) -> None:
    content = await edge.push(1)
    paths = [TAG, f"/v2/someone/app/manifests/{Digest.of(content)}"]
    assert [(await edge.ask(path)).status for path in paths] == [200, 200]
    await edge.room.manifests.delete_manifest(NAME, reference=Digest.of(content), caller=CALLER)
    assert [(await edge.ask(path)).status for path in paths] == [404, 404]


async def test_a_token_that_ended_is_refused(edge) -> None:
    await edge.push(1)
    assert [(await edge.ask()).status for _ in range(2)] == [200, 200]
    del edge.tokens.valid["t"]
    refused = await edge.ask()
    assert refused.status == 401
    assert b"www-authenticate" in refused.headers


async def test_a_token_that_says_something_else_by_now_is_believed(edge) -> None:
    await edge.push(1)
    assert (await edge.ask()).status == 200
    edge.tokens.valid["t"] = claims_of("push")
    assert (await edge.ask()).status == 401
    edge.room.shelf.audit._buffer.clear()
    edge.tokens.valid["t"] = claims_of("pull", account_id=7)
    assert (await edge.ask()).status == 200
    [(entry, _)] = edge.room.shelf.audit._buffer
    assert entry.actor.account_id == 7


async def test_one_other_word_is_another_request(edge) -> None:
    content = await edge.push(1)
    etag = f'"{Digest.of(content)}"'
    assert (await edge.ask()).status == 200
    assert (await edge.ask(if_none_match=etag)).status == 304
    assert (await edge.ask(if_none_match=etag)).status == 304
    assert (await edge.ask()).status == 200
    await edge.push(2)
    assert (await edge.ask(if_none_match=etag)).status == 200


async def test_who_is_refused_leaves_nothing_behind(edge) -> None:
    await edge.push(1)
    refused = [
        await edge.ask(authorization="Bearer other"),
        await edge.ask("/v2/someone/app/manifests/none"),
        await edge.ask("/v2/someone/other/manifests/v1"),
        await edge.ask("/v2/someone/app/manifests/sha256:1"),
        await edge.ask(method="POST"),
    ]
    assert [answer.status for answer in refused] == [401, 404, 401, 400, 405]
    assert edge.kept == 0


async def test_no_more_is_kept_than_the_limits_say(edge, monkeypatch) -> None:
    monkeypatch.setattr(remembered, "REMEMBERED_REQUESTS", 2)
    await edge.push(1)
    longest = "y" * (remembered.REMEMBERED_HEAD_BYTES - len(f"{TAG}authorizationBearer tx"))
    assert (await edge.ask(x=f"{longest}y")).status == 200
    assert edge.kept == 0
    assert (await edge.ask(x=longest)).status == 200
    assert edge.kept == 1
    for number in range(4):
        assert (await edge.ask(user_agent=str(number))).status == 200
    assert edge.kept == 2


async def test_a_long_manifest_is_not_kept_with_its_request(edge) -> None:
    for filling in (0, REMEMBERED_CONTENT_BYTES):
        content = await edge.push(1, filling="x" * filling)
        assert [(await edge.ask()).body for _ in range(2)] == [content] * 2
        (_, request), *_ = edge.application.remembered._known.values()
        assert (request.pulled is None) == (len(content) > REMEMBERED_CONTENT_BYTES)

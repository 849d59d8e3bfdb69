"""Outbound calls: retries, deadlines, limits, and the guard against private addresses."""

import asyncio

import pytest

from hatoba.net.http import (
    AnswerTooLarge,
    HttpClient,
    PeerUnreachable,
    PrivateAddressRefused,
    is_public,
    open_session,
)
from hatoba.serving.listeners import listening

pytestmark = pytest.mark.anyio


class Peer:
    """Answers statuses in turn, the last one for ever."""

    def __init__(self, *statuses, headers=(), body=b"body"):
        self.statuses = list(statuses)
        self.headers = headers
        self.body = body
        self.methods = []

    async def __call__(self, scope, receive, send):
        self.methods.append(scope["method"])
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status is None:
            await asyncio.Event().wait()
        headers = [(name.encode(), value.encode()) for name, value in self.headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


async def call(peer, method="GET", *, allow_private=True, **options):
    async def sleep(_seconds):
        return None

    async with (
        listening(peer, grace_seconds=0) as server,
        open_session(allow_private=allow_private) as session,
    ):
        client = HttpClient(session=session, sleep=sleep)
        return await client.call(method, server.url, **options)


async def test_an_idempotent_call_is_tried_again():
    peer = Peer(503, 502, 200)
    answer = await call(peer)
    assert (answer.status, answer.body, len(peer.methods)) == (200, b"body", 3)


async def test_the_last_answer_is_returned_as_it_is():
    peer = Peer(503)
    assert (await call(peer)).status == 503
    assert len(peer.methods) == 3


async def test_a_post_is_sent_once():
    peer = Peer(503, 200)
    assert (await call(peer, "POST", body=b"{}")).status == 503
    assert peer.methods == ["POST"]


async def test_a_refusal_is_not_tried_again():
    peer = Peer(404)
    await call(peer)
    assert len(peer.methods) == 1


async def test_a_silent_peer_meets_the_deadline():
    with pytest.raises(PeerUnreachable, match="within"):
        await call(Peer(None), deadline_seconds=0.2)


async def test_an_answer_without_end_is_given_up():
    with pytest.raises(AnswerTooLarge):
        await call(Peer(200, body=bytes(5000)), limit=4999)


async def test_private_addresses_are_refused_by_literal_and_by_name():
    peer = Peer(200)
    with pytest.raises(PrivateAddressRefused):
        await call(peer, allow_private=False)
    async with listening(peer) as server, open_session(allow_private=False) as session:
        url = server.url.replace("127.0.0.1", "localhost")
        with pytest.raises(PrivateAddressRefused):
            await HttpClient(session=session).call("GET", url)
    assert peer.methods == []


async def test_a_closed_port_is_unreachable_without_naming_the_url():
    async def sleep(_seconds):
        return None

    async with open_session(allow_private=True) as session:
        client = HttpClient(session=session, sleep=sleep)
        with pytest.raises(PeerUnreachable) as caught:
            await client.call("GET", "http://127.0.0.1:1/?signature=secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
    ],
)
def test_public_addresses_are_told_from_others(address, expected):
    assert is_public(address) is expected

import pytest

from hatoba.registry.access import tokens
from hatoba.registry.access.errors import InvalidRegistryToken
from hatoba.registry.access.models import Identity
from hatoba.registry.access.scopes import Scope, parse_scopes
from hatoba.registry.access.tokens import Grant

pytestmark = pytest.mark.anyio
HOST = "registry.example:5180"
PULL = [Grant(name="a/b", actions=("pull",))]


async def test_a_token_says_what_was_granted(console):
    account = await console.rooms.users.get("quayadmin")
    identity = Identity(account=account, credential="user", reference=account.uuid)
    token = await console.rooms.issuer.issue(identity, audience=HOST, grants=PULL)
    claims = await console.rooms.verifier.verify(token)
    assert (claims.username, claims.account_id) == ("quayadmin", account.id)
    assert claims.allows("pull", "a/b")
    assert not claims.allows("push", "a/b")
    assert not claims.allows("pull", "a/c")


async def test_another_replica_verifies_with_the_same_keys(console, open_console):
    token = await console.rooms.issuer.issue(Identity(), audience=HOST, grants=PULL)
    async with open_console() as replica:
        assert (await replica.rooms.verifier.verify(token)).username is None
        other = await replica.rooms.issuer.issue(Identity(), audience=HOST, grants=PULL)
    await console.rooms.verifier.verify(other)
    async with console.rooms.keys.database.read() as connection:
        from sqlalchemy import text

        count = await connection.execute(text("SELECT count(*) FROM hatoba_signing_key"))
        assert count.scalar() == 1


async def test_a_rotated_key_verifies_until_its_last_token_ends(console, open_console, clock):
    await console.rooms.issuer.issue(Identity(), audience=HOST, grants=PULL)
    clock.advance(hours=23, minutes=59)
    last = await console.rooms.issuer.issue(Identity(), audience=HOST, grants=PULL)
    clock.advance(minutes=2)
    newer = await console.rooms.issuer.issue(Identity(), audience=HOST, grants=PULL)
    assert newer.split(".")[0] != last.split(".")[0]
    clock.advance(minutes=56)
    async with open_console() as replica:
        await replica.rooms.verifier.verify(last)
        await replica.rooms.verifier.verify(newer)
    clock.advance(minutes=10)
    async with open_console() as replica:
        with pytest.raises(InvalidRegistryToken):
            await replica.rooms.verifier.verify(last)


async def test_an_expired_token_is_refused_from_memory_too(console, clock):
    token = await console.rooms.issuer.issue(Identity(), audience=HOST, grants=PULL)
    await console.rooms.verifier.verify(token)
    clock.advance(hours=1, minutes=1)
    with pytest.raises(InvalidRegistryToken, match="expired"):
        await console.rooms.verifier.verify(token)


async def test_a_token_in_use_is_remembered_longer_than_one_that_is_not(console, monkeypatch):
    monkeypatch.setattr(tokens, "REMEMBERED_TOKENS", 2)
    verifier = console.rooms.verifier
    busy, idle, new = [
        await console.rooms.issuer.issue(
            Identity(), audience=HOST, grants=[Grant(name=name, actions=())]
        )
        for name in ("a/busy", "a/idle", "a/new")
    ]
    for token in (busy, idle, busy, new):
        await verifier.verify(token)
    assert set(verifier._verified) == {busy, new}


async def test_a_token_for_somebody_else_is_refused(console):
    token = await console.rooms.issuer.issue(Identity(), audience="other.example", grants=PULL)
    with pytest.raises(InvalidRegistryToken, match="Audience"):
        await console.rooms.verifier.verify(token)


async def test_a_forged_or_malformed_token_is_refused(console):
    token = await console.rooms.issuer.issue(Identity(), audience=HOST, grants=PULL)
    head, body, signature = token.split(".")
    other = await console.rooms.issuer.issue(
        Identity(), audience=HOST, grants=[Grant(name="a/b", actions=("push",))]
    )
    swapped = ".".join([head, other.split(".")[1], signature])
    unsigned = f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}."
    for forged in (swapped, unsigned, "garbage", "", token[:-4] + "AAAA"):
        with pytest.raises(InvalidRegistryToken):
            await console.rooms.verifier.verify(forged)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("repo:admin", {Scope.ADMIN_REPO, Scope.WRITE_REPO, Scope.READ_REPO}),
        ("repo:read,user:read", {Scope.READ_REPO, Scope.READ_USER}),
        ("repo:read nonsense", set()),
        ("", set()),
    ],
)
async def test_scopes_imply_others_and_one_unknown_voids_all(text, expected):
    assert parse_scopes(text) == expected

import asyncio
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.registry.conftest import QUAY, SETTINGS

from hatoba.registry.accounts.metrics import PASSWORD_HASHES
from hatoba.registry.accounts.secrets import (
    ColumnCipher,
    PasswordCipher,
    SecretHasher,
    UnreadableSecret,
    derive_key,
)

COLUMNS = ColumnCipher(derive_key(SETTINGS["DATABASE_SECRET_KEY"]))
PASSWORDS = PasswordCipher(derive_key(SETTINGS["SECRET_KEY"]))


@pytest.mark.parametrize(
    ("configured", "begins"),
    [
        ("258", b"258"),  # an odd number of hex digits is no number to Quay
        ("4369", bytes.fromhex("1111")),
        ("e8dd6f4c-5ce0-4c0b-8e0a-3d1f0f4b7c11", bytes.fromhex("e8dd6f4c5ce04c0b")),
        ("secret", b"secretsecret"),
    ],
)
def test_keys_are_read_as_quay_reads_them(configured, begins):
    key = derive_key(configured)
    assert len(key) == 32
    assert key.startswith(begins)


@given(st.text())
def test_columns_come_back_as_they_went(value):
    assert COLUMNS.decrypt(COLUMNS.encrypt(value)) == value


@given(st.text())
def test_passwords_come_back_as_they_went(password):
    assert PASSWORDS.decrypt(PASSWORDS.encrypt(password)) == password


@given(st.text() | st.binary().map(lambda data: data.hex()))
def test_no_text_is_taken_for_an_encrypted_password(text):
    assert PASSWORDS.decrypt(text) is None


def test_a_robots_token_fills_its_column_as_quays_do():
    assert len(COLUMNS.encrypt("A" * 64)) == 128


def test_another_key_opens_nothing():
    other = ColumnCipher(derive_key("another"))
    with pytest.raises(UnreadableSecret):
        other.decrypt(COLUMNS.encrypt("value"))


@pytest.mark.recorded
def test_secrets_that_quay_wrote_are_readable():
    recording = QUAY / "expectations.json.gz"
    if not recording.exists():
        pytest.skip(f"no recording at {recording}")
    encrypted = json.loads(gzip.decompress(recording.read_bytes()))["encrypted_passwords"]
    assert PASSWORDS.decrypt(encrypted["quayadmin"]) == "quaypass123"
    dump = gzip.decompress((QUAY / "quayfix_a.sql.gz").read_bytes()).decode()
    rows = dump.split("COPY public.robotaccounttoken")[1].split("\\.")[0].splitlines()[1:]
    tokens = [COLUMNS.decrypt(row.split("\t")[2]) for row in rows if row]
    assert len(tokens) > 2
    assert all(len(token) == 64 for token in tokens)


@pytest.mark.anyio
async def test_a_secret_matches_its_own_hash_only():
    hasher = SecretHasher(rounds=4)
    stored = await hasher.hash("right")
    assert await hasher.matches("right", stored=stored)
    assert await hasher.matches("right", stored=stored)
    assert not await hasher.matches("wrong", stored=stored)
    assert not await hasher.matches("right", stored=await hasher.hash("other"))


@pytest.mark.anyio
async def test_the_longest_secrets_are_cut_as_quay_cuts_them():
    hasher = SecretHasher(rounds=4)
    stored = await hasher.hash("x" * 100)
    assert await hasher.matches("x" * 72, stored=stored)


def hashes_so_far():
    return PASSWORD_HASHES._value.get()


@pytest.mark.anyio
async def test_a_secret_that_many_bring_at_once_is_hashed_once():
    hasher = SecretHasher(rounds=4)
    stored = await hasher.hash("right")
    before = hashes_so_far()
    found = await asyncio.gather(*[hasher.matches("right", stored=stored) for _ in range(16)])
    assert all(found)
    assert hashes_so_far() == before + 1


@pytest.mark.anyio
async def test_a_wrong_secret_that_many_bring_at_once_is_refused_to_all():
    hasher = SecretHasher(rounds=4)
    stored = await hasher.hash("right")
    found = await asyncio.gather(*[hasher.matches("wrong", stored=stored) for _ in range(16)])
    assert not any(found)


@pytest.mark.anyio
async def test_one_who_leaves_takes_no_answer_from_the_others():
    hasher = SecretHasher(rounds=4)
    stored = await hasher.hash("right")
    leaving, staying = (
        asyncio.create_task(hasher.matches("right", stored=stored)) for _ in range(2)
    )
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying
    assert leaving.cancelled()

"""Sealed streams: nothing that was done to one goes unnoticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.registry.backup.errors import FormatUnknown, KeyMalformed, KeyWrong, SealBroken
from hatoba.registry.backup.sealing import (
    HEADER_BYTES,
    LARGEST_CHUNK_BYTES,
    BackupKey,
    seal,
    sealed_size,
    unseal,
)

pytestmark = pytest.mark.anyio
KEY = BackupKey(bytes(range(32)))
CHUNK = 16


async def pieces(content: bytes, size: int = 7):
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def sealed(content: bytes, *, key=KEY, name="a", chunk=CHUNK) -> bytes:
    stream = seal(pieces(content), key=key, name=name, chunk_bytes=chunk)
    return b"".join([data async for data in stream])


async def opened(content: bytes, *, key=KEY, name="a", size=5) -> bytes:
    return b"".join([data async for data in unseal(pieces(content, size), key=key, name=name)])


@given(content=st.binary(max_size=100), size=st.integers(1, 60))
async def test_what_is_sealed_comes_out_again_however_it_is_cut(content, size):
    whole = await sealed(content)
    assert len(whole) == sealed_size(len(content), chunk_bytes=CHUNK)
    assert await opened(whole, size=size) == content


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
async def test_cutting_off_any_number_of_bytes_is_noticed(length):
    whole = await sealed(b"x" * length)
    for left in range(len(whole)):
        with pytest.raises((SealBroken, FormatUnknown)):
            await opened(whole[:left])


async def test_every_flipped_bit_is_noticed():
    whole = await sealed(b"some content of two chunks")
    for place in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises((SealBroken, FormatUnknown, KeyWrong)):
            await opened(bytes(flipped))


async def test_bytes_behind_the_end_are_noticed():
    with pytest.raises(SealBroken):
        await opened(await sealed(b"x" * CHUNK) + b"y")


async def test_chunks_cannot_change_places():
    whole = await sealed(b"a" * CHUNK + b"b" * CHUNK + b"c")
    size = CHUNK + 16
    first, second = HEADER_BYTES, HEADER_BYTES + size
    swapped = whole[:first] + whole[second : second + size] + whole[first:second]
    with pytest.raises(SealBroken):
        await opened(swapped + whole[second + size :])


async def test_a_file_cannot_stand_for_another_one():
    with pytest.raises(SealBroken):
        await opened(await sealed(b"x", name="blobs/a"), name="blobs/b")


async def test_another_key_is_told_from_damage():
    with pytest.raises(KeyWrong, match="a was sealed with another key"):
        await opened(await sealed(b"x"), key=BackupKey.new())


async def test_something_else_is_no_sealed_file():
    with pytest.raises(FormatUnknown, match="not a sealed file"):
        await opened(b"PGDMP" + b"x" * 100)


async def test_a_header_cannot_make_us_wait_for_more_than_the_largest_chunk():
    whole = bytearray(await sealed(b"x"))
    whole[8:12] = (LARGEST_CHUNK_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(FormatUnknown, match="not allowed"):
        await opened(bytes(whole))
    whole[8:12] = LARGEST_CHUNK_BYTES.to_bytes(4, "big")
    with pytest.raises(SealBroken):
        await opened(bytes(whole))


async def test_two_sealings_of_the_same_have_nothing_in_common():
    first, second = await sealed(b"x" * 40), await sealed(b"x" * 40)
    assert first[HEADER_BYTES:] != second[HEADER_BYTES:]


@pytest.mark.parametrize("text", ["", "x", "AAAA", "ä", "A" * 40])
async def test_what_is_no_key_is_refused(text):
    with pytest.raises(KeyMalformed, match="hatoba backup key"):
        BackupKey.parse(text)


async def test_a_key_is_read_as_it_was_printed_and_never_shown():
    key = BackupKey.new()
    assert BackupKey.parse(key.text() + "\n") == key
    assert key.text() not in repr(key)
    assert str(key.secret) not in repr(key)

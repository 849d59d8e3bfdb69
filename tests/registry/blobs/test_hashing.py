"""The resumable hash is SHA-256, across processes."""

import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.registry.blobs.hashing import StateForeign, new_hasher, resume_hasher, state_of


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_any_split_gives_the_hash_of_the_whole(parts) -> None:
    hasher = new_hasher()
    for part in parts:
        hasher.update(part)
        hasher = resume_hasher(state_of(hasher))
    assert hasher.hexdigest() == hashlib.sha256(b"".join(parts)).hexdigest()


def test_asking_for_the_digest_does_not_end_the_hash() -> None:
    hasher = new_hasher()
    hasher.update(b"a")
    hasher.hexdigest()
    hasher.update(memoryview(b"b"))
    assert hasher.hexdigest() == hashlib.sha256(b"ab").hexdigest()


def test_another_process_continues() -> None:
    hasher = new_hasher()
    hasher.update(b"first ")
    program = (
        "import sys; from hatoba.registry.blobs.hashing import resume_hasher;"
        "h = resume_hasher(sys.argv[1]); h.update(b'second'); print(h.hexdigest())"
    )
    state = state_of(hasher)
    assert state is not None
    done = subprocess.run(
        [sys.executable, "-c", program, state], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(b"first second").hexdigest()


@pytest.mark.parametrize("state", [None, "", "gASVpickle", "hatoba1;0;pdp11;AAAA"])
def test_a_foreign_state_is_refused(state) -> None:
    with pytest.raises(StateForeign):
        resume_hasher(state)

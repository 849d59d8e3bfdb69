"""What is accepted is exactly what the specifications' own expressions accept."""

import contextlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hatoba.kernel.digests import MAXIMUM_DIGEST_LENGTH, Digest, MalformedDigest, is_digest
from hatoba.kernel.names import MalformedName, MalformedTag, RepositoryName, parse_tag

# Spec: distribution-spec "Pulling manifests"; image-spec "Digests".
NAME = re.compile(
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII
)
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
DIGEST = re.compile(r"[a-z0-9]+([+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", re.ASCII)


@given(st.text("ab0./_-", max_size=12) | st.text(max_size=8) | st.from_regex(NAME, fullmatch=True))
@example("a\n")
@example("٣")
@example("a/b__c")
def test_names_are_those_of_the_specification(text) -> None:
    try:
        name = RepositoryName.parse(text, "library")
    except MalformedName:
        assert NAME.fullmatch(text) is None or len(text) > 255
    else:
        assert NAME.fullmatch(text)
        assert str(name) in {text, f"library/{text}"}


@given(st.text("aZ9._-:", max_size=130) | st.text(max_size=8) | st.from_regex(TAG, fullmatch=True))
@example("t" * 128)
@example("t" * 129)
@example("a\n")
def test_tags_are_those_of_the_specification(text) -> None:
    try:
        parse_tag(text)
    except MalformedTag:
        assert TAG.fullmatch(text) is None
    else:
        assert TAG.fullmatch(text)


@given(st.from_regex(DIGEST, fullmatch=True) | st.text("sha256:512f+", max_size=20) | st.text())
@example("sha256:" + "a" * 64)
@example("sha512:" + "a" * 128)
@example("sha384:" + "a" * 96)
def test_digests_are_those_of_the_specification(text) -> None:
    if is_digest(text):
        assert DIGEST.fullmatch(text)
    with contextlib.suppress(MalformedDigest):
        assert str(Digest.parse(text)) == text
        assert is_digest(text)


@pytest.mark.parametrize("algorithm", ["sha384", "multihash+base58"])
def test_digests_of_other_algorithms_are_digests_up_to_a_length(algorithm) -> None:
    longest = f"{algorithm}:".ljust(MAXIMUM_DIGEST_LENGTH, "f")
    assert is_digest(longest)
    assert not is_digest(longest + "f")


@pytest.mark.parametrize("text", [f"sha256:{'a' * 63}", f"sha512:{'A' * 128}", "sha256:", ":a"])
def test_a_registered_algorithm_has_its_length_and_letters(text) -> None:
    assert not is_digest(text)

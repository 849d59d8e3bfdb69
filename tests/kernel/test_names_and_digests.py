import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.kernel.clock import from_milliseconds, milliseconds, rfc1123, rfc3339
from hatoba.kernel.digests import Digest, MalformedDigest
from hatoba.kernel.ids import random_text, same_secret
from hatoba.kernel.names import (
    MAXIMUM_NAME_LENGTH,
    MalformedName,
    MalformedTag,
    RepositoryName,
    parse_tag,
)


@given(st.binary(max_size=64), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_of_bytes_survives_its_text_form(content, algorithm):
    digest = Digest.of(content, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert digest.hex == hashlib.new(algorithm, content).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha512:" + "a" * 64,
        "md5:" + "a" * 32,
        "sha256:" + "a" * 64 + "\n",
    ],
)
def test_a_malformed_digest_is_refused(text):
    with pytest.raises(MalformedDigest):
        Digest.parse(text)


@pytest.mark.parametrize("text", ["a/b", "a-b/c_d/e.f", "a/b__c", "a/b---c"])
def test_a_name_within_the_grammar_survives(text):
    assert str(RepositoryName.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "/a", "a/", "A/b", "a//b", "a/b_-c", "a/../b", "a/b\n", "a/" + "b" * 300, "a"]
)
def test_a_name_outside_the_grammar_is_refused(text):
    with pytest.raises(MalformedName):
        RepositoryName.parse(text)


def test_the_longest_name_is_accepted_and_one_more_is_not():
    longest = "a/" + "b" * (MAXIMUM_NAME_LENGTH - 2)
    assert str(RepositoryName.parse(longest)) == longest
    with pytest.raises(MalformedName):
        RepositoryName.parse(longest + "b")


def test_a_name_without_namespace_belongs_to_the_library():
    assert str(RepositoryName.parse("busybox", library="library")) == "library/busybox"


def test_a_tag_of_128_characters_is_the_longest():
    assert parse_tag("a" * 128) == "a" * 128
    for text in ("a" * 129, "", ".a", "-a", "a b", "a\n"):
        with pytest.raises(MalformedTag):
            parse_tag(text)


def test_times_take_the_forms_of_quay_and_kubernetes():
    moment = datetime(2021, 9, 14, 10, 52, 5, tzinfo=UTC)
    assert rfc3339(moment) == "2021-09-14T10:52:05Z"
    assert rfc1123(moment) == "Tue, 14 Sep 2021 10:52:05 -0000"
    assert from_milliseconds(milliseconds(moment)) == moment


def test_secrets_are_of_the_wanted_length_and_compared_whole():
    secret = random_text(40)
    assert len(secret) == 40
    assert same_secret(secret, secret)
    assert not same_secret(secret, secret[:-1])

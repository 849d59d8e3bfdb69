"""Orders of versions: against univers, and by their own laws."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from univers.versions import AlpineLinuxVersion, DebianVersion, InvalidVersion

from hatoba.scanner.versions import apk, dpkg
from hatoba.scanner.versions.errors import MalformedVersion

DEBIAN = st.from_regex(r"(?:[0-2]:)?[0-9][0-9a-c.+~]{0,6}(?:-[0-9a-c.+~]{1,4})?", fullmatch=True)
ALPINE = st.from_regex(
    r"(?:0|[1-9][0-9]?)(?:\.(?:0|[1-9][0-9]?)){0,3}[a-c]?(?:_(?:alpha|beta|pre|rc|p)[0-9]?){0,2}(?:-r(?:0|[1-9]))?",
    fullmatch=True,
)


def sign(left, right):
    return (left > right) - (left < right)


@settings(max_examples=60)
@given(DEBIAN, DEBIAN)
@example("0", "0~")
@example("1.0~rc1-1", "1.0-1")
@example("1.0-1+b1", "1.0-1")
@example("2:0.9", "1:9.0")
def test_dpkg_orders_as_univers_does(left, right):
    expected = sign(DebianVersion(left), DebianVersion(right))
    assert sign(dpkg.key(left), dpkg.key(right)) == expected


@settings(max_examples=60)
@given(ALPINE, ALPINE)
@example("1.0_rc1", "1.0")
@example("1.0_p1", "1.0")
@example("1.36.1-r5", "1.36.1-r10")
def test_apk_orders_as_univers_does(left, right):
    try:
        expected = sign(AlpineLinuxVersion(left), AlpineLinuxVersion(right))
    except InvalidVersion:
        return
    assert sign(apk.key(left), apk.key(right)) == expected


@pytest.mark.parametrize(
    "ascending",
    [
        ["1.0~~", "1.0~~a", "1.0~", "1.0", "1.0+b1", "1.0.1", "1.1", "1:0.1"],
        ["3.0.11-1~deb12u1", "3.0.11-1~deb12u2", "3.0.11-1", "3.0.11-1.1"],
    ],
)
def test_dpkg_orders_what_the_manual_names(ascending):
    for left, right in itertools.pairwise(ascending):
        assert dpkg.key(left) < dpkg.key(right)


def test_apk_orders_pre_releases_before_and_patches_after():
    ascending = [
        "1.2_alpha",
        "1.2_beta",
        "1.2_rc1",
        "1.2_rc2",
        "1.2",
        "1.2_git20230101",
        "1.2_p1",
        "1.2a",
        "1.2.1",
    ]
    for left, right in itertools.pairwise(ascending):
        assert apk.key(left) < apk.key(right)


def test_dpkg_takes_an_absent_revision_as_zero():
    assert dpkg.key("1.0") == dpkg.key("1.0-0")


@pytest.mark.parametrize("text", ["", "one two", "a:1", "1.0\n2", "é"])
def test_dpkg_refuses_what_is_no_version(text):
    with pytest.raises(MalformedVersion):
        dpkg.key(text)


@pytest.mark.parametrize("text", ["", "v1", "1.0_gamma", "1.0-1", "1..0"])
def test_apk_refuses_what_is_no_version(text):
    with pytest.raises(MalformedVersion):
        apk.key(text)

"""Following pages shows everything once, in order, however large the pages are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.registry.content.conftest import NAME

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import TagName
from hatoba.oci import media_types
from hatoba.registry.content.listings import within

pytestmark = pytest.mark.anyio


async def all_tags(room, *, limit) -> list[str]:
    seen, after = [], None
    while True:
        page = await room.listings.list_tags(NAME, after=after, limit=limit)
        assert 0 < len(page.items) <= limit
        seen += page.items
        if not page.has_more:
            return seen
        after = page.items[-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100])
async def test_pages_of_tags_show_each_tag_once(room, limit) -> None:
    content = await room.image()
    names = ["z", "A", "a", "_", "1.0", "1.0-rc", "a.b", "t" * 128]
    for name in names:
        await room.push(TagName(name), content)
    # Pushed twice, it is still one tag.
    await room.push(TagName("a"), content)
    seen = await all_tags(room, limit=limit)
    assert sorted(seen) == sorted(names)
    assert seen == await all_tags(room, limit=100)


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_pages_of_referrers_show_each_referrer_once(room, limit) -> None:
    subject = {"mediaType": media_types.OCI_MANIFEST, "digest": str(Digest.of(b"s")), "size": 1}
    pushed = set()
    for number in range(5):
        content = await room.image(subject=subject, annotations={"number": str(number)})
        await room.push(Digest.of(content), content)
        pushed.add(str(Digest.of(content)))
    seen, after, pages = [], None, 0
    while pages == 0 or after is not None:
        page = await room.listings.list_referrers(
            NAME, subject=subject["digest"], artifact_type=None, after=after, limit=limit
        )
        seen += [one["digest"] for one in page.descriptors]
        after, pages = page.last, pages + 1
    assert seen == sorted(pushed)
    assert pages == -(-5 // limit)


@given(st.lists(st.integers(0, 50), max_size=10), st.integers(1, 100))
def test_a_page_is_the_longest_that_is_not_too_large(sizes, maximum) -> None:
    kept = within(sizes, maximum=maximum)
    assert kept >= min(1, len(sizes))
    assert kept <= 1 or sum(sizes[:kept]) <= maximum
    assert kept == len(sizes) or sum(sizes[: kept + 1]) > maximum


def test_two_large_referrers_are_two_pages() -> None:
    mebibyte = 1 << 20
    assert within([2 * mebibyte, 2 * mebibyte, 1], maximum=4 * mebibyte) == 2
    assert within([5 * mebibyte, 1], maximum=4 * mebibyte) == 1
    assert within([], maximum=1) == 0

"""The cache keeps its bounds of age and weight."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from hatoba.kernel.cache import TimedCache
from hatoba.kernel.clock import FixedClock


def make(capacity=10, lifetime=60.0):
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    cache = TimedCache[str, str](
        clock=clock, lifetime_seconds=lifetime, capacity=capacity, weigh=len
    )
    return cache, clock


def test_a_value_is_forgotten_at_its_age() -> None:
    cache, clock = make()
    cache.put("a", "x")
    clock.advance(seconds=59)
    assert cache.get("a") == "x"
    clock.advance(seconds=1)
    assert cache.get("a") is None


def test_reading_does_not_prolong() -> None:
    cache, clock = make()
    cache.put("a", "x")
    clock.advance(seconds=40)
    cache.get("a")
    clock.advance(seconds=40)
    assert cache.get("a") is None


def test_what_was_used_longest_ago_goes_first() -> None:
    cache, _ = make(capacity=2)
    cache.put("a", "x")
    cache.put("b", "x")
    cache.get("a")
    cache.put("c", "x")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("x", None, "x")


def test_what_is_too_heavy_is_not_kept() -> None:
    cache, _ = make(capacity=3)
    cache.put("a", "x" * 4)
    assert len(cache) == 0


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.text(max_size=6))))
def test_the_weight_never_passes_the_capacity(puts) -> None:
    cache, _ = make(capacity=10)
    for key, value in puts:
        cache.put(key, value)
        assert sum(len(cache.get(key) or "") for key in "abcdef") <= 10

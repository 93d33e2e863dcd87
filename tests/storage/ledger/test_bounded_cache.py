"""A cache of bounded size."""

from storage.ledger.bounded_cache import BoundedCache


def test_what_was_used_last_stays_within_the_bound() -> None:
    cache: BoundedCache[str, bytes] = BoundedCache(3_000, len)
    for key in "abc":
        cache.put(key, b"x" * 1_000)
    assert cache.get("a") == b"x" * 1_000
    cache.put("d", b"x" * 1_000)
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    assert cache.size == 3_000


def test_a_value_in_place_of_another_counts_once() -> None:
    cache: BoundedCache[str, bytes] = BoundedCache(3_000, len)
    cache.put("a", b"x" * 2_000)
    cache.put("a", b"y" * 1_500)
    cache.put("b", b"z" * 1_500)
    assert (cache.get("a"), cache.get("b"), cache.size) == (b"y" * 1_500, b"z" * 1_500, 3_000)


def test_a_value_above_the_bound_is_not_kept() -> None:
    cache: BoundedCache[str, bytes] = BoundedCache(10, len)
    cache.put("a", b"x" * 11)
    assert (cache.get("a"), cache.size) == (None, 0)


def test_a_cleared_cache_is_empty() -> None:
    cache: BoundedCache[str, bytes] = BoundedCache(10, len)
    cache.put("a", b"x")
    cache.clear()
    assert (cache.get("a"), cache.size) == (None, 0)

"""How often something may happen."""

from storage.ledger.rate_limit import RateLimit


def test_the_allowance_may_be_used_at_once_and_comes_back_evenly() -> None:
    limit = RateLimit(6)
    assert [limit.use("a", 0.0) for _ in range(6)] == [0.0] * 6
    assert round(limit.use("a", 0.0)) == 10
    assert limit.use("b", 0.0) == 0.0
    assert limit.wait("a", 5.0) == 5.0
    assert limit.use("a", 10.0) == 0.0
    assert limit.use("a", 10.0) > 0
    assert [limit.use("a", 200.0) for _ in range(6)] == [0.0] * 6


def test_made_up_keys_cost_no_more_memory_than_the_bound() -> None:
    limit = RateLimit(1, most_keys=100)
    for n in range(1000):
        limit.use(str(n), 0.0)
        assert len(limit._free_at) <= 100
    assert limit.use("999", 0.0) > 0


def test_made_up_keys_free_no_key_that_has_used_all() -> None:
    limit = RateLimit(2, most_keys=100)
    assert [limit.use("greedy", 0.0) for _ in range(2)] == [0.0, 0.0]
    for n in range(1000):
        limit.use(str(n), 1.0)
    assert limit.use("greedy", 1.0) > 0


def test_keys_that_have_their_allowance_again_are_forgotten() -> None:
    limit = RateLimit(60)
    for n in range(10_000):
        limit.use(str(n), n / 100)
    assert len(limit._free_at) <= 1_001


def test_nought_switches_a_limit_off() -> None:
    limit = RateLimit(0)
    assert [limit.use("a", 0.0) for _ in range(1000)] == [0.0] * 1000

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
    assert len(limit._free_at) == 100
    assert limit.use("999", 0.0) > 0


def test_nought_switches_a_limit_off() -> None:
    limit = RateLimit(0)
    assert [limit.use("a", 0.0) for _ in range(1000)] == [0.0] * 1000

"""The conservation law: the sum of what is shown is the sum of what the platforms said, whatever the question."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.ledger.facts import ClickLink, Event, SpendFact
from storage.ledger.reports.allocate import first_positive, split
from storage.ledger.reports.merge import DayFacts
from storage.ledger.reports.report_rows import DIMENSIONS, ReportRow
from tests.generated import examples
from tests.storage.ledger.reports.merging import DAY, campaign, happened, offer, report, said, visits

MONEY = st.integers(-(10**12), 10**12)
COUNT = st.integers(0, 50)
LINKS = {
    f"click{n}": ClickLink(
        click_id=n, day=DAY, campaign_id=n % 4, site_id=n % 3, offer_id=1, source_id=1, country="DE", subs=("x",) * 10
    )
    for n in range(1, 6)
}

rows = st.builds(
    said,
    tag=st.sampled_from(["main", "two", "unknown"]),
    sub=st.sampled_from(["", "c1", "c3", "unknown", *LINKS]),
    registrations=st.none() | COUNT,
    first_deposits=st.none() | COUNT,
    deposit_amount=st.none() | MONEY,
    ngr=st.none() | MONEY,
    commission_cpa=st.none() | MONEY,
    commission_revshare=st.none() | MONEY,
)
clicks = st.builds(
    visits,
    campaign=st.integers(0, 3),
    clicks=st.integers(0, 5),
    offer=st.integers(0, 2),
    site=st.integers(0, 2),
    country=st.sampled_from(["", "DE", "AT"]),
    device=st.sampled_from(["", "mobile"]),
    subs=st.just((None,) * 0),
    cost=st.integers(0, 100),
    currency=st.just("EUR"),
)
tallies = st.builds(
    happened,
    campaign=st.integers(0, 3),
    event=st.sampled_from([Event.REGISTRATION, Event.DEPOSIT, Event.FIRST_DEPOSIT]),
    n=st.integers(1, 5),
    offer=st.integers(0, 2),
    ftd=st.booleans(),
)


def measured(row: ReportRow) -> dict[str, Any]:
    plain = {name: getattr(row, name) for name in ("clicks", "ngr", "commission", "commission_cpa", "spend", "profit")}
    layered = {
        f"{name}.{layer}": getattr(getattr(row, name), layer)
        for name in ("registrations", "first_deposits", "deposits", "deposit_amount")
        for layer in ("postback", "platform", "merged")
    }
    return plain | layered


def total(parts: list[int | None]) -> int | None:
    existing = [part for part in parts if part is not None]
    return sum(existing) if existing else None


@settings(max_examples=examples(150))
@given(
    st.lists(rows, max_size=8),
    st.lists(clicks, max_size=6),
    st.lists(tallies, max_size=5),
    st.lists(st.sampled_from(DIMENSIONS[:12]), unique=True, max_size=4),
    st.booleans(),
)
def test_no_micro_unit_is_lost_or_invented(
    revenue: list[Any], clicked: list[Any], happenings: list[Any], by: list[str], settled: bool
) -> None:
    facts = DayFacts(
        day=DAY, clicks=clicked, tallies=happenings, revenue=revenue, links=LINKS, active={2: [1, 3]},
        spend=[SpendFact(day=DAY, campaign_id=2, amount=1001, currency="EUR")],
    )  # fmt: skip
    made = report(
        facts,
        offers=[offer(1), offer(2, tag="two")],
        campaigns=[campaign(1), campaign(2, site=1), campaign(3)],
        by=tuple(by),
        settled=(1,) if settled else (),
    )
    stated = {
        "ngr": [row.ngr for row in revenue],
        "commission_cpa": [row.commission_cpa for row in revenue],
        "registrations.platform": [row.registrations for row in revenue],
        "deposit_amount.platform": [row.deposit_amount for row in revenue],
    }
    totals = measured(made.totals)
    for name, parts in stated.items():
        assert totals[name] == total(parts), name
    for name in totals:
        shown = [measured(row)[name] for row in (*made.rows, *made.unassigned)]
        assert totals[name] == total(shown), name


@given(MONEY, st.lists(st.integers(0, 1000), min_size=1, max_size=9).filter(any))
def test_parts_sum_to_the_whole_and_stay_within_one_of_their_share(amount: int, weights: list[int]) -> None:
    parts = split(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - amount * weight) < sum(weights)
        assert weight or part == 0


def test_the_first_scale_that_tells_anything_decides() -> None:
    assert first_positive([[0, 0], [0, 2], [5, 5]]) == [0, 2]
    assert first_positive([[0, 0], [0, 0]]) == [1, 1]

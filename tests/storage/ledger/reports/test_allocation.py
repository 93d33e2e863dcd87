"""Allocation against a model of its own, written from the product's words: per row and per measure, to the unit."""

from collections import defaultdict
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.ledger.facts import ClickFact, Event, Figures, RevenueFact, Tally
from storage.ledger.reports.merge import DayFacts
from storage.ledger.reports.report_rows import MergedReport
from tests.generated import examples
from tests.storage.ledger.reports.merging import DAY, campaign, happened, offer, report, said, visits

COUNTS = ("registrations", "first_deposits", "deposits", "qualified")
MONEY = ("ngr", "commission_cpa", "commission_revshare", "commission_other")

KINDS = {
    "visits": ["clicks"],
    "registrations": ["registrations", "clicks"],
    "first_deposits": ["first_deposits", "registrations", "clicks"],
    "qualified": ["qualified", "first_deposits", "registrations", "clicks"],
    "commission_cpa": ["qualified", "first_deposits", "registrations", "clicks"],
} | {
    name: ["deposits", "first_deposits", "registrations", "clicks"]
    for name in ("deposits", "deposit_amount", "ngr", "commission_revshare", "commission_other")
}

Key = tuple[int, int]
"""A campaign, or no campaign and the site of its visitors."""


def key_of(fact: ClickFact | Tally) -> Key:
    return (fact.campaign_id, 0) if fact.campaign_id else (0, fact.site_id)


def participants(facts: DayFacts) -> dict[Key, dict[str, int]]:
    """Who takes part, in the order in which ties are broken, with what speaks for each."""
    weights: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for click in facts.clicks:
        if click.offer_id == 1 and click.clicks:
            weights[key_of(click)]["clicks"] += click.clicks
    for tally in facts.tallies:
        if tally.offer_id == 1:
            kinds = {
                Event.REGISTRATION: ["registrations"], Event.DEPOSIT: ["deposits"],
                Event.FIRST_DEPOSIT: ["deposits", "first_deposits"], Event.QUALIFIED: ["qualified"],
            }[tally.event]  # fmt: skip
            for kind in kinds:
                weights[key_of(tally)][kind] += tally.n
    if not weights:
        return {(campaign_id, 0): {} for campaign_id in sorted(facts.active.get(1, ()))}
    return {key: weights[key] for key in sorted(weights, key=lambda key: (key[0] or 10**9, key[1] or 10**9))}


def parts_of(amount: int, weights: list[int]) -> list[int]:
    """Largest remainder over exact fractions; ties to the earlier."""
    shares = [Fraction(abs(amount) * weight, sum(weights)) for weight in weights]
    parts = [int(share) for share in shares]
    remainders = sorted(range(len(parts)), key=lambda n: (parts[n] - shares[n], n))
    for n in remainders[: abs(amount) - sum(parts)]:
        parts[n] += 1
    return [part if amount >= 0 else -part for part in parts]


def model(facts: DayFacts) -> dict[Key, dict[str, int]]:
    """What each place is allocated of each measure."""
    places = participants(facts) or {(0, 0): {}}
    values: dict[Key, dict[str, int]] = {key: {} for key in places}
    for row in facts.revenue:
        for name, kinds in KINDS.items():
            amount = getattr(row, name)
            if amount is None:
                continue
            scales = [[weights.get(kind, 0) for weights in places.values()] for kind in kinds]
            scale = next((scale for scale in scales if sum(scale)), [1] * len(places))
            for key, part in zip(places, parts_of(amount, scale), strict=True):
                values[key][name] = values[key].get(name, 0) + part
    return values


def shown(made: MergedReport) -> dict[Key, dict[str, int]]:
    """The same out of a report by campaign and site: a site counts where there is no campaign."""
    results: dict[Key, dict[str, int]] = defaultdict(dict)
    for row in made.rows:
        name, site = row.group["campaign"], row.group["site"]
        key = (int(name[1:]), 0) if name else (0, int(site[1:]) if site else 0)
        plain = {name: getattr(row, name) for name in (*MONEY, "visits")}
        layered = {name: getattr(row, name).platform for name in (*COUNTS, "deposit_amount")}
        for measure, value in (plain | layered).items():
            if value is not None:
                results[key][measure] = results[key].get(measure, 0) + value
        parts = [getattr(row, name) for name in MONEY if name != "ngr" and getattr(row, name) is not None]
        assert row.commission == (sum(parts) if parts else None), "commission is the sum of its parts"
    return results


MICRO = st.integers(-(10**9), 10**9)
rows = st.builds(
    said, sub=st.sampled_from(["", "unknown"]), row=st.integers(1, 99),
    **{name: st.none() | st.integers(0, 9) for name in ("visits", *COUNTS)},
    **{name: st.none() | MICRO for name in (*MONEY, "deposit_amount")},
)  # fmt: skip
clicks = st.builds(
    visits, campaign=st.integers(0, 3), clicks=st.integers(0, 5), bot_clicks=st.integers(0, 2),
    offer=st.integers(0, 2), site=st.integers(0, 2), source=st.integers(0, 2),
    country=st.sampled_from(["", "DE"]),
)  # fmt: skip
tallies = st.builds(
    lambda event, **fields: happened(event=event, ftd=event is Event.FIRST_DEPOSIT, **fields),
    campaign=st.integers(0, 3), n=st.integers(1, 4), offer=st.integers(1, 2), site_id=st.integers(0, 2),
    event=st.sampled_from([Event.REGISTRATION, Event.FIRST_DEPOSIT, Event.DEPOSIT, Event.QUALIFIED]),
)  # fmt: skip
days = st.builds(
    lambda **facts: DayFacts(day=DAY, **facts), clicks=st.lists(clicks, max_size=5),
    tallies=st.lists(tallies, max_size=4), revenue=st.lists(rows, min_size=1, max_size=3),
    active=st.sampled_from([{}, {1: [1, 3]}, {2: [1]}]),
)  # fmt: skip


def _report(facts: DayFacts, *by: str) -> MergedReport:
    return report(facts, offers=[offer(1), offer(2, tag="two")], campaigns=[campaign(n) for n in (1, 2, 3)], by=by)


@settings(max_examples=examples(250))
@given(days)
def test_every_place_is_told_what_the_products_words_give_it(facts: DayFacts) -> None:
    expected = model(facts)
    result = shown(_report(facts, "campaign", "site"))
    for key in expected.keys() | result.keys():
        for name in KINDS:  # a settled day shows 0 where the offer's rows speak of others only
            assert result.get(key, {}).get(name, 0) == expected.get(key, {}).get(name, 0), (key, name)


@settings(max_examples=examples(100))
@given(days, st.sampled_from([("country",), ("source",), ("country", "device", "campaign"), ("site", "offer")]))
def test_no_campaign_is_told_otherwise_in_another_detail(facts: DayFacts, by: tuple[str, ...]) -> None:
    """The same figures per campaign, whatever else a report is grouped by."""

    def per_campaign(made: MergedReport) -> dict[str | None, list[Any]]:
        sums: dict[str | None, list[Any]] = defaultdict(lambda: [0] * 3)
        for row in made.rows:
            figures = row.ngr, row.commission, row.registrations.platform
            held = sums[row.group["campaign"]]
            sums[row.group["campaign"]] = [a + (b or 0) for a, b in zip(held, figures, strict=True)]
        return sums

    finer = tuple(dict.fromkeys(("campaign", *by)))
    assert per_campaign(_report(facts, "campaign")) == per_campaign(_report(facts, *finer))


def test_facts_of_the_model_are_those_of_the_ledger() -> None:
    assert set(KINDS) == set(Figures.__struct_fields__)
    assert RevenueFact._fields[-len(KINDS) :] == Figures.__struct_fields__


def test_the_worked_example_of_the_documentation() -> None:
    facts = DayFacts(
        day=DAY,
        clicks=[visits(1, 70), visits(2, 20), visits(0, 10, site=4, source=0), visits(3, 50, offer=2)],
        tallies=[
            happened(1, Event.REGISTRATION), happened(2, Event.REGISTRATION), happened(2, Event.DEPOSIT, 2),
            happened(2, Event.FIRST_DEPOSIT, ftd=True),
        ],
        revenue=[
            said(visits=101, registrations=3, first_deposits=1, commission_cpa=100_000_000, ngr=-10_000_000),
        ],
        active={1: [1, 2, 3]},
    )  # fmt: skip
    result = shown(_report(facts, "campaign", "site"))
    measures = ("visits", "registrations", "first_deposits", "commission_cpa", "ngr")
    answer = {key: [figures.get(name) for name in measures] for key, figures in result.items()}
    assert answer[1, 0] == [71, 2, 0, 0, 0]
    assert answer[2, 0] == [20, 1, 1, 100_000_000, -10_000_000]
    assert answer[0, 4] == [10, 0, 0, 0, 0]
    assert not any(answer.get((3, 0), []))

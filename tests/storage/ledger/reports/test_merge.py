"""What a day's report says of facts: attribution, allocation, the two layers, never a fake zero."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from storage.ledger.facts import ClickLink, Event, SpendFact
from storage.ledger.money import Quote
from storage.ledger.reports.merge import DayFacts
from storage.ledger.reports.report_rows import Layers
from tests.storage.ledger.reports.merging import DAY, by_group, campaign, happened, offer, report, said, visits


def link(campaign_id: int, **fields: Any) -> ClickLink:
    base: dict[str, Any] = {"click_id": 7, "day": DAY, "site_id": 0, "offer_id": 1, "source_id": 1}
    return ClickLink(campaign_id=campaign_id, **base | fields)


def test_a_row_with_a_known_click_belongs_to_its_campaign_and_is_no_guess() -> None:
    facts = DayFacts(
        day=DAY,
        clicks=[visits(1, 9), visits(2, 1)],
        links={"abc": link(2)},
        revenue=[said(sub="abc", commission_cpa=5)],
    )
    rows = by_group(report(facts))
    assert (rows["c2"].commission, rows["c2"].allocated) == (5, False)
    assert (rows["c1"].commission, rows["c1"].allocated) == (0, False)


def test_a_row_with_a_campaign_code_belongs_to_that_campaign() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(1)], revenue=[said(sub="C3", commission_cpa=5)])
    rows = by_group(report(facts))
    assert (rows["c3"].commission, rows["c3"].allocated, rows["c3"].clicks) == (5, False, 0)


def test_a_row_with_an_unknown_click_is_allocated_by_clicks_to_the_micro_unit() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(1, 2), visits(2, 1)], revenue=[said(sub="unknown", commission_cpa=100)])
    rows = by_group(report(facts))
    assert (rows["c1"].commission, rows["c2"].commission) == (67, 33)
    assert rows["c1"].allocated
    assert rows["c2"].allocated


def test_each_measure_is_divided_by_its_own_weights() -> None:
    facts = DayFacts(
        day=DAY,
        clicks=[visits(1, 100), visits(2, 1)],
        tallies=[happened(2, Event.FIRST_DEPOSIT, ftd=True), happened(1, Event.REGISTRATION, 3)],
        revenue=[said(ngr=-7, commission_revshare=10, commission_cpa=4, registrations=3, first_deposits=1, visits=101)],
    )
    rows = by_group(report(facts))
    assert (rows["c2"].ngr, rows["c2"].commission, rows["c1"].commission) == (-7, 14, 0)
    assert (rows["c1"].registrations.platform, rows["c2"].registrations.platform) == (3, 0)
    assert (rows["c1"].visits, rows["c2"].visits) == (100, 1)


def test_a_campaign_with_a_conversion_but_no_click_that_day_takes_part() -> None:
    facts = DayFacts(
        day=DAY, clicks=[visits(1)], tallies=[happened(2, Event.FIRST_DEPOSIT, ftd=True)],
        revenue=[said(ngr=9, visits=1)],
    )  # fmt: skip
    rows = by_group(report(facts))
    assert (rows["c2"].ngr, rows["c1"].ngr, rows["c1"].visits) == (9, 0, 1)


def test_a_campaign_whose_clicks_never_reached_the_offer_takes_no_part() -> None:
    facts = DayFacts(
        day=DAY, clicks=[visits(1, 90, offer=2), visits(3, 50, offer=0, site=1), visits(2, 1)], active={1: [1, 2, 3]},
        revenue=[said(ngr=9)],
    )  # fmt: skip
    made = report(facts, by=("campaign", "offer"))
    assert {row.group["campaign"]: row.ngr for row in made.rows if row.ngr is not None} == {"c2": 9}


def test_visitors_of_a_site_without_a_campaign_take_part_beside_campaigns() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(0, 2, site=4, source=0), visits(1, 1)], revenue=[said(ngr=9)])
    made = report(facts, by=("campaign", "site"))
    assert {tuple(row.group.values()): (row.ngr, row.allocated) for row in made.rows} == {
        ("c1", None): (3, True), (None, "s4"): (6, True)
    }  # fmt: skip


def test_a_visitor_who_went_on_to_a_second_offer_is_one_click_on_each() -> None:
    """Of campaign 1 three people reached the offer: two of them had been at another offer first."""
    first, further = visits(1, 1, site=2, outgoing=1), visits(1, 0, site=2, outgoing=2, source=3)
    facts = DayFacts(day=DAY, clicks=[first, further, visits(2, 3)], revenue=[said(ngr=12)])
    rows = by_group(report(facts))
    assert (rows["c1"].ngr, rows["c2"].ngr) == (6, 6)
    assert rows["c1"].clicks == 1
    own = DayFacts(day=DAY, clicks=[visits(1, 3, site=2, outgoing=3), visits(2, 3)], revenue=[said(ngr=12)])
    assert by_group(report(own))["c1"].ngr == 6, "who went on from the site counts once"
    straight = DayFacts(day=DAY, clicks=[visits(1, 3, site=2, outgoing=1), visits(2, 3)], revenue=[said(ngr=12)])
    assert by_group(report(straight))["c1"].ngr == 6


def test_whether_more_went_on_than_clicked_is_judged_by_the_whole_traffic_of_a_site() -> None:
    """In no detail may one country's further visitors count beside another's first clicks."""
    here = visits(1, 3, site=2, outgoing=1, country="DE")
    there = visits(1, 0, site=2, outgoing=2, country="AT")
    facts = DayFacts(day=DAY, clicks=[here, there, visits(2, 3, country="CH")], revenue=[said(ngr=12)])
    rows = by_group(report(facts, by=("country",)))
    assert (rows["DE"].ngr, rows["CH"].ngr) == (6, 6)
    assert by_group(report(facts))["c1"].ngr == 6


def test_a_campaign_on_two_sites_is_one_party() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(1, 1, site=1), visits(1, 1, site=2), visits(2, 1)], revenue=[said(ngr=2)])
    rows = by_group(report(facts))
    assert (rows["c1"].ngr, rows["c2"].ngr) == (1, 1), "4/3 and 2/3, not three times 2/3"


def test_a_guess_is_marked_although_there_is_only_one_campaign() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(1)], revenue=[said(ngr=3)])
    assert by_group(report(facts))["c1"].allocated


def test_the_order_of_the_facts_decides_nothing() -> None:
    by_site = [visits(1, 1, site=2), visits(1, 1, site=1)]
    by_country = [visits(1, 1, country="DE"), visits(1, 1, country="AT")]
    for clicks, by in ((by_site, "site"), (by_country, "country")):
        facts = [DayFacts(day=DAY, clicks=order, revenue=[said(ngr=1)]) for order in (clicks, clicks[::-1])]
        item, other = (by_group(report(day, by=(by,))) for day in facts)
        assert {group: row.ngr for group, row in item.items()} == {group: row.ngr for group, row in other.items()}


def test_spend_is_not_divided_over_machines() -> None:
    machines = visits(1, 0, bot_clicks=3, country="AT")
    spent = [SpendFact(day=DAY, campaign_id=1, amount=10, currency="EUR")]
    rows = by_group(report(DayFacts(day=DAY, clicks=[machines], spend=spent), by=("country",)))
    assert (rows["AT"].spend, rows[None].spend) == (None, 10)


def test_segments_that_differ_in_letter_case_are_one_line() -> None:
    made = report(DayFacts(day=DAY, revenue=[said(tag="Other", ngr=1), said(tag="other", ngr=2, row=2)]))
    assert [row.ngr for row in made.unassigned] == [3]


def test_a_cell_stays_marked_as_allocated_whatever_comes_after() -> None:
    guess, existing = said(ngr=4, row=1), said(sub="abc", ngr=1, row=2)
    named = said(sub="C1", ngr=1, row=3)
    for order in ([guess, existing, named], [named, existing, guess]):
        facts = DayFacts(day=DAY, clicks=[visits(1), visits(2)], links={"abc": link(1)}, revenue=order)
        assert by_group(report(facts))["c1"].allocated
    facts = DayFacts(day=DAY, clicks=[visits(1)], links={"abc": link(1)}, revenue=[existing, named])
    assert not by_group(report(facts))["c1"].allocated


def test_a_settled_day_without_a_row_is_the_platforms_zero() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(1)], tallies=[happened(1, Event.FIRST_DEPOSIT, 2, ftd=True)])
    reported = ("first_deposits", "commission_cpa")
    row = by_group(report(facts, measures=reported))["c1"]
    assert row.first_deposits == Layers(2, 0, 0)
    assert row.registrations == Layers(0, None, 0), "what the connector never reports stays the postbacks'"
    assert (row.commission_cpa, row.commission, row.ngr) == (0, 0, None)
    provisional = by_group(report(facts, measures=reported, settled=()))["c1"]
    assert (provisional.first_deposits, provisional.commission) == (Layers(2, None, 2), None)


def test_ties_go_to_the_lower_campaign_and_negatives_are_divided_alike() -> None:
    facts = DayFacts(
        day=DAY, clicks=[visits(2), visits(1)], revenue=[said(ngr=-3, registrations=1, commission_cpa=1, row=1),
                                                         said(commission_cpa=1, sub="x", row=2)],
    )  # fmt: skip
    rows = by_group(report(facts))
    assert (rows["c1"].ngr, rows["c2"].ngr) == (-2, -1)
    assert (rows["c1"].registrations.platform, rows["c2"].registrations.platform) == (1, 0)
    assert (rows["c1"].commission, rows["c2"].commission) == (2, 0), "each row is divided by itself"


def test_without_clicks_the_campaigns_that_had_the_offer_share_equally() -> None:
    facts = DayFacts(day=DAY, active={1: [1, 2]}, revenue=[said(ngr=3)])
    rows = by_group(report(facts))
    assert (rows["c1"].ngr, rows["c2"].ngr) == (2, 1)


def test_bot_clicks_make_no_campaign_a_candidate() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(1, 0, bot_clicks=5), visits(2, 1)], revenue=[said(ngr=3)])
    assert by_group(report(facts))["c2"].ngr == 3


def test_without_any_campaign_a_row_keeps_its_offer() -> None:
    made = report(DayFacts(day=DAY, revenue=[said(commission_cpa=5)]), by=("offer", "campaign"), since=None)
    (row,) = made.rows
    assert row.group == {"offer": "o1", "campaign": None}
    assert (row.commission, row.clicks, row.allocated) == (5, None, False)
    assert row.registrations == Layers()


def test_visits_of_a_site_without_campaign_carry_the_revenue_to_the_site() -> None:
    facts = DayFacts(
        day=DAY, clicks=[visits(0, 3, site=4, source=0)], revenue=[said(commission_cpa=5, first_deposits=1)]
    )
    row = by_group(report(facts, by=("site",), since=None))["s4"]
    assert (row.clicks, row.commission, row.first_deposits) == (3, 5, Layers(None, 1, 1))


def test_a_tag_no_one_claims_stands_unassigned_with_its_account() -> None:
    made = report(DayFacts(day=DAY, revenue=[said(tag="Other", commission_cpa=5)]), by=("day", "campaign"))
    assert made.rows == []
    assert made.unassigned[0].group == {"day": "2026-10-01", "account": "a1", "tag": "Other"}
    assert made.totals.commission == 5


def test_tags_match_whatever_their_case_and_by_name_too() -> None:
    facts = DayFacts(day=DAY, revenue=[said(tag="MAIN", ngr=1)])
    assert report(facts).unassigned == []


def test_an_untagged_offer_takes_what_no_other_offer_of_its_account_claims() -> None:
    facts = DayFacts(
        day=DAY, revenue=[said(tag="main", ngr=1), said(tag="rest", ngr=2), said(tag="x", account=2, ngr=4)]
    )
    made = report(facts, offers=[offer(1), offer(2, tag=None)], by=("offer",))
    assert {row.group["offer"]: row.ngr for row in made.rows} == {"o1": 1, "o2": 2}
    assert made.unassigned[0].group["account"] == "a2"


def test_a_settled_day_shows_the_platforms_count_with_the_postbacks_beside_it() -> None:
    facts = DayFacts(
        day=DAY, clicks=[visits(1)], tallies=[happened(1, Event.FIRST_DEPOSIT, 20, ftd=True)],
        revenue=[said(first_deposits=19)],
    )  # fmt: skip
    row = by_group(report(facts))["c1"]
    assert row.first_deposits == Layers(20, 19, 19)
    assert row.settlement == "settled"
    assert row.registrations == Layers(0, None, 0), "what the platform does not report stays the postbacks'"


def test_a_provisional_day_shows_the_postbacks_count_and_what_the_platform_gave() -> None:
    facts = DayFacts(
        day=DAY, clicks=[visits(1)], tallies=[happened(1, Event.FIRST_DEPOSIT, 20, ftd=True)],
        revenue=[said(first_deposits=19, commission_cpa=7)],
    )  # fmt: skip
    row = by_group(report(facts, settled=()))["c1"]
    assert (row.first_deposits, row.commission, row.settlement) == (Layers(20, 19, 20), 7, "provisional")


def test_without_postbacks_the_platform_counts_on_a_provisional_day_too() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(1)], revenue=[said(first_deposits=19)])
    row = by_group(report(facts, settled=(), since=None))["c1"]
    assert row.first_deposits == Layers(None, 19, 19)


def test_what_no_one_has_given_is_null() -> None:
    row = by_group(report(DayFacts(day=DAY, clicks=[visits(1)]), settled=(), since=None))["c1"]
    assert (row.clicks, row.commission, row.ngr, row.spend, row.profit) == (1, None, None, None, None)
    assert row.deposit_amount == Layers()


def test_a_stated_zero_is_a_zero() -> None:
    row = by_group(report(DayFacts(day=DAY, clicks=[visits(1)], revenue=[said(commission_cpa=0, ngr=0)])))["c1"]
    assert (row.commission, row.ngr) == (0, 0)


def test_deposits_count_first_deposits_and_keep_their_amounts() -> None:
    facts = DayFacts(
        day=DAY,
        clicks=[visits(1)],
        tallies=[
            happened(1, Event.FIRST_DEPOSIT, ftd=True, amount=5, currency="EUR"),
            happened(1, Event.DEPOSIT, 2, amount=5, currency="EUR"),
        ],
    )
    row = by_group(report(facts))["c1"]
    assert (row.deposits.postback, row.first_deposits.postback, row.deposit_amount.postback) == (3, 1, 15)


def test_uploaded_spend_takes_the_place_of_the_cost_per_click_and_follows_the_clicks() -> None:
    facts = DayFacts(
        day=DAY,
        clicks=[
            visits(1, 2, offer=1, cost=500, currency="EUR"),
            visits(1, 1, offer=2),
            visits(2, 1, cost=4, currency="EUR"),
        ],
        spend=[SpendFact(day=DAY, campaign_id=1, amount=100, currency="EUR")],
    )
    made = report(facts, offers=[offer(1), offer(2, tag="two")], by=("campaign", "offer"))
    assert {tuple(row.group.values()): row.spend for row in made.rows} == {
        ("c1", "o1"): 67, ("c1", "o2"): 33, ("c2", "o1"): 4
    }  # fmt: skip


def test_spend_of_a_campaign_without_clicks_stands_without_an_offer() -> None:
    facts = DayFacts(day=DAY, spend=[SpendFact(day=DAY, campaign_id=1, amount=100, currency="EUR")])
    row = report(facts, by=("campaign", "offer")).rows[0]
    assert (row.group, row.spend, row.profit) == ({"campaign": "c1", "offer": None}, 100, -100)


def test_amounts_are_converted_one_by_one_half_even() -> None:
    quotes = [Quote(DAY, "USD", "EUR", Decimal("0.5"), own=True)]
    facts = DayFacts(
        day=DAY, clicks=[visits(1)], revenue=[said(currency="USD", commission_cpa=3, commission_revshare=5)]
    )
    row = by_group(report(facts, quotes=quotes))["c1"]
    assert (row.commission_cpa, row.commission_revshare, row.commission) == (2, 2, 4)


@pytest.mark.parametrize("by", [("campaign",), ("country",), ("campaign", "country"), ("offer",), ()])
def test_a_total_in_another_currency_does_not_depend_on_what_it_is_grouped_by(by: tuple[str, ...]) -> None:
    """Three figures of 3 micro-units at a half each are 2 (half-even) by themselves: 6, not the 4 of their sum."""
    quotes = [Quote(DAY, "USD", "EUR", Decimal("0.5"), own=True)]
    facts = DayFacts(
        day=DAY,
        clicks=[
            visits(1, 1, country="DE", cost=1, currency="USD"), visits(1, 1, country="AT", cost=1, currency="USD"),
            visits(2, 1, country="DE"),
        ],
        tallies=[happened(1, Event.DEPOSIT, 3, amount=3, currency="USD", country="DE")],
        revenue=[said(currency="USD", commission_cpa=3, deposit_amount=5, row=n) for n in range(3)],
        spend=[SpendFact(day=DAY, campaign_id=2, amount=1, currency="USD")],
    )  # fmt: skip
    totals = report(facts, by=by, quotes=quotes).totals
    assert (totals.commission, totals.deposit_amount) == (6, Layers(6, 6, 6))
    assert totals.spend == 1, "2 USD of clicks are 1, 1 USD of the upload is 0 (half-even)"


def test_without_a_rate_the_figure_is_null_and_told_in_its_own_currency() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(1)], revenue=[said(currency="USDT", commission_cpa=3, ngr=9), said(ngr=1)])
    made = report(facts)
    row = by_group(made)["c1"]
    assert (row.commission, row.ngr) == (None, 1)
    assert row.unconverted == {"USDT": 3}
    assert made.totals.unconverted_figures == {"USDT": {"commission_cpa": 3, "commission": 3, "ngr": 9}}


def test_what_is_known_per_campaign_only_spreads_over_its_countries() -> None:
    facts = DayFacts(
        day=DAY, clicks=[visits(1, 2, country="DE"), visits(1, 1, country="AT")], revenue=[said(commission_cpa=100)]
    )
    rows = by_group(report(facts, by=("country",)))
    assert (rows["DE"].commission, rows["AT"].commission, rows["DE"].allocated) == (67, 33, True)


def test_a_group_that_mixes_settled_and_provisional_is_partial() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(1), visits(1, offer=2)])
    made = report(facts, offers=[offer(1), offer(2, account=2)], by=("campaign",))
    assert made.rows[0].settlement == "partial"


@pytest.mark.parametrize("dimension", ["week", "month"])
def test_weeks_and_months_have_the_contracts_names(dimension: str) -> None:
    made = report(DayFacts(day=DAY, clicks=[visits(1)]), by=(dimension,))
    assert made.rows[0].group == {dimension: {"week": "2026-W40", "month": "2026-10"}[dimension]}


def test_campaigns_of_today_place_what_has_no_clicks() -> None:
    made = report(
        DayFacts(day=DAY, revenue=[said(sub="c5", ngr=1)]),
        campaigns=[campaign(5, site=2, source=3)],
        by=("site", "source"),
    )
    assert made.rows[0].group == {"site": "s2", "source": "t3"}
    assert made.from_ == date(2026, 10, 1)


def test_visitors_who_went_on_to_no_offer_do_not_unsettle_a_group() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(1, offer=0), visits(1)])
    for offers in ([offer(1)], [offer(1), offer(2, account=2, tag="two")]):
        assert report(facts, offers=offers).rows[0].settlement == "settled"


def test_visits_of_a_site_are_unknown_where_there_is_no_site() -> None:
    facts = DayFacts(day=DAY, clicks=[visits(1, 9), visits(2, 1, site=5)])
    result = report(facts)
    rows = by_group(result)
    assert (rows["c1"].clicks, rows["c1"].site_visits, rows["c1"].outgoing) == (9, None, None)
    assert (rows["c2"].clicks, rows["c2"].site_visits, rows["c2"].outgoing) == (1, 0, 0)
    assert (result.totals.clicks, result.totals.site_visits) == (10, 0)

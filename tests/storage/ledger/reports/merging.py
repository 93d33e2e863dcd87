"""Short ways to write facts of one day, and to read a report of them."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from storage.ledger.facts import SUBS, CampaignFact, ClickFact, Event, OfferFact, RevenueFact, Tally
from storage.ledger.money import Quote, Rates
from storage.ledger.reports.attribution import COARSE, Catalogue, Grain
from storage.ledger.reports.collapse import Collapsing, View
from storage.ledger.reports.merge import DayFacts, merge_day
from storage.ledger.reports.report_rows import MergedReport, ReportRow

DAY = date(2026, 10, 1)


def offer(number: int = 1, *, account: int = 1, tag: str | None = "main", postbacks: bool = True) -> OfferFact:
    return OfferFact(id=number, account_id=account, casino_id=1, tag_key=tag, has_postbacks=postbacks)


def campaign(number: int, *, site: int = 0, source: int = 1) -> CampaignFact:
    return CampaignFact(id=number, code=f"c{number}", site_id=site, source_id=source)


def visits(campaign: int, clicks: int = 1, *, offer: int = 1, site: int = 0, source: int = 1, **rest: Any) -> ClickFact:
    return ClickFact(
        day=DAY, campaign_id=campaign, site_id=site, offer_id=offer, source_id=source, clicks=clicks, **rest
    )


def happened(campaign: int, event: Event, n: int = 1, *, ftd: bool = False, offer: int = 1, **rest: Any) -> Tally:
    fields: dict[str, Any] = {"site_id": 0, "source_id": 1, **rest}
    return Tally(campaign_id=campaign, offer_id=offer, event=event, is_ftd=ftd, n=n, **fields)


def said(
    *, tag: str = "main", sub: str = "", account: int = 1, currency: str = "EUR", row: int = 1, **f: Any
) -> RevenueFact:
    return RevenueFact(row, account, tag, "", currency, sub, **f)


def report(
    facts: DayFacts,
    *,
    offers: Sequence[OfferFact] = (offer(),),
    campaigns: Sequence[CampaignFact] = (campaign(1), campaign(2), campaign(3)),
    by: tuple[str, ...] = ("campaign",),
    settled: Iterable[int] = (1,),
    since: date | None = DAY,
    quotes: Sequence[Quote] = (),
    measures: Sequence[str] = (),
) -> MergedReport:
    grain = Grain("country" in by, "device" in by, tuple(i for i, n in enumerate(SUBS) if n in by))
    catalogue = Catalogue(offers, campaigns)
    cells = merge_day(facts, catalogue, grain)
    accounts = {offer.account_id for offer in offers} | {row.account_id for row in facts.revenue}
    view = View(
        timezone="UTC", first=DAY, last=DAY, by=by, rates=Rates("EUR", quotes), offers=catalogue.offers,
        codes={
            "campaign": {campaign.id: campaign.code for campaign in campaigns},
            "site": {n: f"s{n}" for n in range(1, 9)},
            "offer": {offer.id: f"o{offer.id}" for offer in offers}, "casino": {1: "casino"},
            "account": {account: f"a{account}" for account in accounts}, "source": {n: f"t{n}" for n in range(1, 9)},
        },
        settled={(item, DAY) for item in settled}, account_ids=accounts,
        accounts_since=dict.fromkeys(accounts, since) if since else {},
        offers_since={offer.id: since for offer in offers} if since else {},
        measures=dict.fromkeys(accounts, frozenset(measures)), subs=grain.subs,
        group_codes={"campaign": {1: "north", 2: "south"}, "site": {1: "south"}, "offer": {1: "north", 2: None}},
    )  # fmt: skip
    collapsing = Collapsing(view)
    collapsing.add(DAY, cells)
    return collapsing.report()


def by_group(made: MergedReport) -> dict[Any, ReportRow]:
    """Rows by their only group value."""
    return {next(iter(row.group.values())): row for row in made.rows}


__all__ = ["COARSE", "DAY", "by_group", "campaign", "happened", "offer", "report", "said", "visits"]

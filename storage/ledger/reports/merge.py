"""Both layers of one day, brought together: every figure a platform stated stands in exactly one set of cells."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import repeat
from typing import NamedTuple

import msgspec

from storage.ledger.cost_models import PER_DAY, CostRule
from storage.ledger.facts import (
    PLATFORM_AMOUNTS,
    PLATFORM_COUNTS,
    CampaignFact,
    ClickFact,
    ClickLink,
    Event,
    OfferFact,
    RevenueFact,
    SpendFact,
    Tally,
)
from storage.ledger.reports.attribution import COARSE, Catalogue, Grain, place_of_link
from storage.ledger.reports.cells import Cell, Cells, Clicks, Place, PostbackCounts, add_count, stretches
from storage.ledger.reports.model_costs import add_commission_shares, add_conversion_costs
from storage.ledger.reports.revenue_columns import RevenueColumns
from storage.ledger.reports.shares import SPEND, WEIGHED_BY, Share, Weight, share_of, share_over, sum_of


class DayFacts(msgspec.Struct, kw_only=True):
    """Everything known of one day. `links`: known clicks by the sub id a platform returned; `active`: campaigns that
    had an offer that day."""

    day: date
    clicks: Sequence[ClickFact] = ()
    tallies: Sequence[Tally] = ()
    revenue: Sequence[RevenueFact] = ()
    links: Mapping[str, ClickLink] = {}
    spend: Sequence[SpendFact] = ()
    active: Mapping[int, Sequence[int]] = {}
    costs: Mapping[int, CostRule] = {}  # of campaigns whose spend follows from what they brought


def merge_day(facts: DayFacts, catalogue: Catalogue, grain: Grain = COARSE) -> list[Cell]:
    """The cells of a day: clicks, postbacks and spend where they belong, revenue where attribution leads it."""
    rows = RevenueColumns.of(facts.revenue)
    cells = Cells(rows)
    for click in facts.clicks:
        _add_clicks(cells, click)
    for tally in facts.tallies:
        _add_tally(cells, tally, facts.day)
    _RevenueRows(cells, facts, catalogue, grain).add_all(rows)
    _add_click_costs(cells, facts)
    for spend in (*facts.spend, *_day_prices(facts)):
        _add_spend(cells, spend, catalogue, facts.clicks)
    costs = {number: rule for number, rule in facts.costs.items() if number not in _uploaded(facts)}
    add_conversion_costs(cells, list(facts.tallies), costs, _tally_place)
    add_commission_shares(cells, costs)
    _add_waiting(cells, facts.active, catalogue)
    return cells.all()


def _add_clicks(cells: Cells, click: ClickFact) -> None:
    figures = cells.at(_click_place(click)).clicks
    figures.clicks += click.clicks
    figures.unique_clicks += click.unique_clicks
    figures.bot_clicks += click.bot_clicks
    figures.site_visits += click.site_visits
    figures.outgoing += click.outgoing


def _click_place(click: ClickFact) -> Place:
    return Place(
        click.campaign_id, click.site_id, click.offer_id, click.source_id, click.country, click.device, click.subs
    )


def _tally_place(tally: Tally, visit_day: date | None = None) -> Place:
    return Place(
        tally.campaign_id, tally.site_id, tally.offer_id, tally.source_id, tally.country, tally.device, tally.subs,
        visit_day,
    )  # fmt: skip


def _add_tally(cells: Cells, tally: Tally, day: date) -> None:
    cell = cells.at(_tally_place(tally, tally.visit_day if tally.visit_day != day else None))
    if cell.postback is None:
        cell.postback = PostbackCounts()
    if tally.event is Event.REGISTRATION:
        cell.postback.registrations += tally.n
    if tally.is_ftd:
        cell.postback.first_deposits += tally.n
    if tally.event in (Event.FIRST_DEPOSIT, Event.DEPOSIT):
        cell.postback.deposits += tally.n
        if tally.amount is not None:
            cells.add_amount(cell, tally.currency, "postback_amount", tally.amount, times=tally.n)
    if tally.event is Event.QUALIFIED:
        cell.postback.qualified += tally.n


class _RevenueRows:
    """A day's revenue rows on their way to the cells: by their click, else by offer and campaign."""

    def __init__(self, cells: Cells, facts: DayFacts, catalogue: Catalogue, grain: Grain) -> None:
        self._cells = cells
        self._facts = facts
        self._catalogue = catalogue
        self._grain = grain
        self._allocation = Allocation(facts, catalogue)
        self._targets: dict[tuple[int, int], tuple[list[Cell], Share]] = {}

    def add_all(self, rows: RevenueColumns) -> None:
        """Add the rows, those of a segment that go the same way together; of segments the one known first."""
        ids = rows.named["id"]
        alike = [(min(map(ids.__getitem__, segment)), key, segment) for key, segment in self._segments(rows).items()]
        for _, (account_id, tag, tag_name, currency, sub), segment in sorted(alike):
            offer = self._catalogue.claim(account_id, tag, tag_name)
            if offer is None:
                cell = self._cells.unassigned(account_id, tag)
                cell.tag_name = tag_name
                self._cells.add_rows(cell, currency, segment)
            else:
                self._add(offer, currency, sub, segment, rows)

    def _segments(self, rows: RevenueColumns) -> dict[tuple[int, str, str, str, str], list[int]]:
        """Places of rows by account, tag, its name, currency, and the sub id if it says where they belong."""
        subs = rows.named["sub"]
        telling = self._catalogue.subs_named(rows.subs) | (rows.subs & self._facts.links.keys())
        told = [sub if sub in telling else "" for sub in subs] if telling else repeat("")
        segments: defaultdict[tuple[int, str, str, str, str], list[int]] = defaultdict(list)
        columns = (rows.named[name] for name in ("account_id", "tag", "tag_name", "currency"))
        for place, key in enumerate(zip(*columns, told, strict=False)):
            segments[key].append(place)
        return segments

    def _add(self, offer: OfferFact, currency: str, sub: str, segment: Sequence[int], rows: RevenueColumns) -> None:
        cells, link = self._cells, self._facts.links.get(sub) if sub else None
        if link is not None:
            cell = cells.at(place_of_link(link, offer.id, self._grain, day=self._facts.day))
            cells.add_rows(cell, currency, segment)
            return
        into, share = self._target(offer.id, self._catalogue.campaign_named(sub))
        if not share.parts:
            cells.add_rows(into[0], currency, segment)
            return
        for place in segment:
            _spread(cells, rows[place], into, share)

    def _target(self, offer_id: int, campaign: CampaignFact | None) -> tuple[list[Cell], Share]:
        """The cells of rows without a known click, and how a row divides over them."""
        key = offer_id, campaign.id if campaign else 0
        target = self._targets.get(key)
        if target is None:
            if campaign is None:
                allotment = self._allocation.of_offer(offer_id)
                share, allocated = allotment.share, allotment.allocated
            else:
                share, allocated = self._allocation.of_campaign(campaign.id, offer_id), False
            target = self._targets[key] = [self._cells.at(place) for place in share.places], share
            for cell in target[0]:
                cell.allocated = cell.allocated or allocated or bool(share.parts)
        return target


def _spread(cells: Cells, row: RevenueFact, into: Sequence[Cell], share: Share) -> None:
    """Divide a row over the cells of a share, each measure by its own weights."""
    for name in PLATFORM_COUNTS:
        if (stated := getattr(row, name)) is not None:
            for cell, part in zip(into, share.divide(stated, WEIGHED_BY[name]), strict=True):
                add_count(cell, name, part)
    for name in PLATFORM_AMOUNTS:
        if (stated := getattr(row, name)) is not None:
            parts = stretches(share.divide(stated, WEIGHED_BY[name]))
            for cell, stretch in zip(into, parts, strict=True):
                cells.add_amount(cell, row.currency, name, stretch)


def _add_click_costs(cells: Cells, facts: DayFacts) -> None:
    """Costs of single clicks; an upload for the campaign's day takes their place.

    What a campaign's clicks cost in a currency is one figure of the day, in whatever detail clicks are counted.
    """
    uploaded = _uploaded(facts)
    costs: dict[tuple[int, str], list[tuple[Place, int]]] = {}
    for click in facts.clicks:
        if click.campaign_id not in uploaded and (click.cost or click.currency):
            costs.setdefault((click.campaign_id, click.currency), []).append((_click_place(click), click.cost))
    for (_, currency), by_place in costs.items():
        by_place.sort(key=lambda item: (item[0].base, repr(item[0])))
        for (place, _), stretch in zip(by_place, stretches([cost for _, cost in by_place]), strict=True):
            cells.add_amount(cells.at(place), currency, "spend", stretch)


def _uploaded(facts: DayFacts) -> set[int]:
    """Campaigns whose cost of the day was uploaded: that stands in place of any model."""
    return {spend.campaign_id for spend in facts.spend}


def _day_prices(facts: DayFacts) -> list[SpendFact]:
    """A price per day, of campaigns that had a human click."""
    clicked = {click.campaign_id for click in facts.clicks if click.clicks} - _uploaded(facts)
    return [
        SpendFact(day=facts.day, campaign_id=number, amount=rule.cost, currency=rule.currency)
        for number, rule in facts.costs.items()
        if rule.model == PER_DAY and number in clicked
    ]


def _add_spend(cells: Cells, spend: SpendFact, catalogue: Catalogue, clicks: Sequence[ClickFact]) -> None:
    by_place: dict[Place, int] = {}
    for click in clicks:
        if click.campaign_id == spend.campaign_id and click.clicks:
            place = _click_place(click)
            by_place[place] = by_place.get(place, 0) + click.clicks
    weights = [(place, Weight(clicks=count)) for place, count in by_place.items()]
    share = share_over(weights) if weights else Share(catalogue.campaign_place(spend.campaign_id, 0))
    for place, stretch in zip(share.places, stretches(share.divide(spend.amount, SPEND)), strict=True):
        cells.add_amount(cells.at(place), spend.currency, "spend", stretch)


def _add_waiting(cells: Cells, active: Mapping[int, Sequence[int]], catalogue: Catalogue) -> None:
    """Offers that a campaign of the day had without anything happening: they decide whether it is settled."""
    placed = {(place.campaign_id, place.offer_id) for place, _ in cells.placed()}
    campaigns = {campaign_id for campaign_id, _ in placed}
    for offer_id, campaign_ids in active.items():
        for campaign_id in campaign_ids:
            if campaign_id in campaigns and (campaign_id, offer_id) not in placed and offer_id in catalogue.offers:
                cells.at(catalogue.campaign_place(campaign_id, offer_id)).waiting = True


class Party(NamedTuple):
    """Who takes part in an allocation: a campaign, or (without a campaign) the visitors of one site."""

    campaign_id: int
    site_id: int = 0

    @property
    def order(self) -> tuple[bool, int, bool, int]:
        """Lower campaigns first, no campaign last."""
        return not self.campaign_id, self.campaign_id, not self.site_id, self.site_id


class Allotment(NamedTuple):
    """How the unplaced rows of an offer divide; `allocated` unless there is nothing to choose between.

    `parties` holds the weight of each party, in the order of the share's parts.
    """

    share: Share
    allocated: bool
    parties: Mapping[Party, Weight]


class Allocation:
    """Over whom an offer's unplaced revenue of a day is divided (product: Allocation).

    Every place with a human click that went to the offer, or with a conversion that counts, takes part: each campaign,
    and each site's visitors without a campaign. If there is none, the campaigns that had the offer that day; if there
    is none either, the row keeps its offer and has no campaign. A visitor who went on from a site to a second offer is
    a click on that offer too.
    """

    def __init__(self, facts: DayFacts, catalogue: Catalogue) -> None:
        self._facts = facts
        self._catalogue = catalogue
        self._weights: dict[int, dict[Party, dict[Place, Weight]]] = {}
        self._campaigns: dict[tuple[int, int], Share] = {}
        self._offers: dict[int, Allotment] = {}
        for place, weight in _weights(facts):
            if weight.takes_part:
                party = Party(place.campaign_id, 0 if place.campaign_id else place.site_id)
                self._weights.setdefault(place.offer_id, {}).setdefault(party, {})[place] = weight

    def of_campaign(self, campaign_id: int, offer_id: int) -> Share:
        """What is within one campaign's traffic to an offer."""
        key = campaign_id, offer_id
        if key not in self._campaigns:
            places = self._weights.get(offer_id, {}).get(Party(campaign_id))
            self._campaigns[key] = (
                share_over(places.items()) if places else Share(self._catalogue.campaign_place(campaign_id, offer_id))
            )
        return self._campaigns[key]

    def of_offer(self, offer_id: int) -> Allotment:
        """How the offer's unplaced rows divide."""
        if offer_id not in self._offers:
            self._offers[offer_id] = self._allotment(offer_id)
        return self._offers[offer_id]

    def _allotment(self, offer_id: int) -> Allotment:
        active = self._facts.active.get(offer_id, ())
        if len(active) == 1 and offer_id not in self._weights:
            return Allotment(self.of_campaign(active[0], offer_id), True, {Party(active[0]): Weight()})
        parties = self._parties(offer_id)
        if not parties:
            return Allotment(Share(Place(0, 0, offer_id, 0)), False, {})
        parts = [(self._share(party, offer_id), weight) for party, weight in parties.items()]
        allocated = len(parties) > 1 or any(party.campaign_id for party in parties)
        return Allotment(share_of(parts), allocated, parties)

    def _parties(self, offer_id: int) -> dict[Party, Weight]:
        parties = {party: sum_of(places.values()) for party, places in self._weights.get(offer_id, {}).items()}
        if not parties:
            parties = {Party(campaign_id): Weight() for campaign_id in self._facts.active.get(offer_id, ())}
        return {party: parties[party] for party in sorted(parties, key=lambda party: party.order)}

    def _share(self, party: Party, offer_id: int) -> Share:
        if party.campaign_id:
            return self.of_campaign(party.campaign_id, offer_id)
        return share_over(self._weights[offer_id][party].items())


def _weights(facts: DayFacts) -> Iterable[tuple[Place, Weight]]:
    """What speaks for each place that has an offer.

    Clicks are those that went to the offer; what a site sent on beyond them are visitors who went to other offers
    before. The sums within a campaign, site, offer and source do not depend on the detail of the places.
    """
    clicks: dict[Place, dict[Place, Clicks]] = {}
    for click in facts.clicks:
        if click.offer_id:
            place = _click_place(click)
            counts = clicks.setdefault(place.base, {}).setdefault(place, Clicks())
            counts.clicks += click.clicks
            counts.outgoing += click.outgoing
    weights: dict[Place, Weight] = {}
    for inside in clicks.values():
        further = sum(c.outgoing for c in inside.values()) > sum(c.clicks for c in inside.values())
        for place, counts in inside.items():
            weights[place] = Weight(clicks=counts.outgoing if further else counts.clicks)
    for tally in facts.tallies:
        if tally.offer_id:
            place = _tally_place(tally)
            weights[place] = weights.get(place, Weight()) + _weight_of(tally)
    return weights.items()


def _weight_of(tally: Tally) -> Weight:
    return Weight(
        registrations=tally.n * (tally.event is Event.REGISTRATION),
        first_deposits=tally.n * tally.is_ftd,
        deposits=tally.n * (tally.event in (Event.FIRST_DEPOSIT, Event.DEPOSIT)),
        qualified=tally.n * (tally.event is Event.QUALIFIED),
    )

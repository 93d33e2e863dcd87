"""Both layers of one day, brought together: every figure a platform stated stands in exactly one set of cells."""

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec

from storage.ledger.facts import ClickFact, ClickLink, Event, RevenueFact, SpendFact, Tally
from storage.ledger.reports.attribution import COARSE, Catalogue, Grain, place_of_link
from storage.ledger.reports.cells import SPEND, Cell, Cells, Place, add_figures, add_money, figures_of
from storage.ledger.reports.shares import Numbers, Share, Weight, share_over, weighted


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


def merge_day(facts: DayFacts, catalogue: Catalogue, grain: Grain = COARSE) -> list[Cell]:
    """The cells of a day: clicks, postbacks and spend where they belong, revenue where attribution leads it."""
    cells = Cells()
    daily = {one.campaign_id for one in facts.spend}
    for click in facts.clicks:
        _add_clicks(cells, click, costs=click.campaign_id not in daily)
    for tally in facts.tallies:
        _add_tally(cells, tally, facts.day)
    allotment = Allotment(cells.placed(), facts, catalogue)
    for row in facts.revenue:
        _add_revenue(cells, row, facts, catalogue, grain, allotment)
    for spend in facts.spend:
        _add_spend(cells, spend, catalogue, facts.clicks)
    _add_waiting(cells, facts.active, catalogue)
    return cells.all()


def _add_clicks(cells: Cells, click: ClickFact, *, costs: bool) -> None:
    cell = cells.at(_place(click))
    added = (click.clicks, click.unique_clicks, click.bot_clicks, click.site_visits, click.outgoing)
    cell.clicks = [held + more for held, more in zip(cell.clicks, added, strict=True)]
    if costs and (click.cost or click.currency):
        add_money(cell, click.currency, SPEND, click.cost)


def _place(click: ClickFact) -> Place:
    return (
        click.campaign_id, click.site_id, click.offer_id, click.source_id, click.country, click.device, click.subs, None
    )  # fmt: skip


def _add_tally(cells: Cells, tally: Tally, day: date) -> None:
    visit_day = tally.visit_day if tally.visit_day != day else None
    cell = cells.at(
        (tally.campaign_id, tally.site_id, tally.offer_id, tally.source_id, tally.country, tally.device, tally.subs,
         visit_day)
    )  # fmt: skip
    if cell.postback is None:
        cell.postback = [0, 0, 0, 0]
    if tally.event is Event.REGISTRATION:
        cell.postback[0] += tally.n
    if tally.is_ftd:
        cell.postback[1] += tally.n
    if tally.event in (Event.FIRST_DEPOSIT, Event.DEPOSIT):
        cell.postback[2] += tally.n
        add_money(cell, tally.currency, 0, tally.amount)
    if tally.event is Event.QUALIFIED:
        cell.postback[3] += tally.n


def _add_revenue(
    cells: Cells, row: RevenueFact, facts: DayFacts, catalogue: Catalogue, grain: Grain, allotment: "Allotment"
) -> None:
    counts, amounts = figures_of(row.figures)
    offer = catalogue.claim(row.account_id, row.tag, row.tag_name)
    if offer is None:
        cell = cells.unassigned(row.account_id, row.tag)
        cell.tag_name = row.tag_name
        add_figures(cell, row.currency, counts, amounts)
        return
    link = facts.links.get(row.sub) if row.sub else None
    if link is not None:
        place = place_of_link(link, offer.id, grain)
        if place[7] == facts.day:
            place = (*place[:7], None)
        add_figures(cells.at(place), row.currency, counts, amounts)
        return
    campaign = catalogue.campaign_named(row.sub)
    if campaign is not None:
        share, guessed = allotment.of_campaign(campaign.id, offer.id), False
    else:
        share, guessed = allotment.of_offer(offer.id)
    marked = guessed or share.divided

    def put(place: Place, numbers: Numbers) -> None:
        cell = cells.at(place)
        cell.allocated = cell.allocated or marked
        add_figures(cell, row.currency, numbers[:5], numbers[5:])

    share.spread([*counts, *amounts], put)


def _add_waiting(cells: Cells, active: Mapping[int, Sequence[int]], catalogue: Catalogue) -> None:
    """Offers that a campaign of the day had without anything happening: they decide whether it is settled."""
    placed = {(place[0], place[2]) for place, _ in cells.placed()}
    campaigns = {campaign_id for campaign_id, _ in placed}
    for offer_id, campaign_ids in active.items():
        for one in campaign_ids:
            if one in campaigns and (one, offer_id) not in placed and offer_id in catalogue.offers:
                cells.at(catalogue.campaign_place(one, offer_id)).waiting = True


def _add_spend(cells: Cells, spend: SpendFact, catalogue: Catalogue, clicks: Sequence[ClickFact]) -> None:
    by_place: dict[Place, int] = {}
    for one in clicks:
        if one.campaign_id == spend.campaign_id:
            by_place[_place(one)] = by_place.get(_place(one), 0) + one.clicks
    share = share_over([(place, (0, 0, count)) for place, count in by_place.items() if count])
    if not by_place or not share.parts:
        share = Share(catalogue.campaign_place(spend.campaign_id, 0))
    share.spread([spend.amount], lambda place, part: add_money(cells.at(place), spend.currency, SPEND, part[0]))


class Allotment:
    """Which campaigns an offer's unplaced revenue goes to on a day, and in what proportion.

    The campaigns are those with a human click on the offer that day, else those that had the offer that day; without
    any, the row keeps its offer and stands with the sites that sent visitors, if there are such. A visitor who went on
    from a site to a second offer is a click on that offer too.
    """

    def __init__(self, placed: Sequence[tuple[Place, Cell]], facts: DayFacts, catalogue: Catalogue) -> None:
        self._facts = facts
        self._catalogue = catalogue
        self._weights: dict[int, dict[int, dict[Place, Weight]]] = {}
        for place, cell in placed:
            if place[2]:
                self._weigh(place, cell)
        self._campaigns: dict[tuple[int, int], Share] = {}
        self._offers: dict[int, tuple[Share, bool]] = {}

    def _weigh(self, place: Place, cell: Cell) -> None:
        campaigns = self._weights.setdefault(place[2], {})
        places = campaigns.setdefault(place[0], {})
        at = (*place[:7], None)
        ftds, registrations, clicks = places.get(at, (0, 0, 0))
        counts = cell.postback or (0, 0)
        places[at] = ftds + counts[1], registrations + counts[0], clicks + max(cell.clicks[0], cell.clicks[4])

    def of_campaign(self, campaign_id: int, offer_id: int) -> Share:
        """What lies within one campaign's traffic to an offer."""
        key = campaign_id, offer_id
        if key not in self._campaigns:
            places = self._weights.get(offer_id, {}).get(campaign_id)
            self._campaigns[key] = (
                share_over(places.items()) if places else Share(self._catalogue.campaign_place(campaign_id, offer_id))
            )
        return self._campaigns[key]

    def of_offer(self, offer_id: int) -> tuple[Share, bool]:
        """The share of an offer's unplaced rows, and whether it is a guess among campaigns."""
        if offer_id not in self._offers:
            campaigns = self._candidates(offer_id)
            if campaigns:
                parts = [(self.of_campaign(one, offer_id), self._weight(offer_id, one)) for one in campaigns]
                self._offers[offer_id] = weighted(parts), True
            else:
                self._offers[offer_id] = self.of_campaign(0, offer_id), False
        return self._offers[offer_id]

    def _candidates(self, offer_id: int) -> list[int]:
        seen = self._weights.get(offer_id, {})
        clicked = [one for one in seen if one and self._weight(offer_id, one)[2] > 0]
        return sorted(clicked or self._facts.active.get(offer_id, ()))

    def _weight(self, offer_id: int, campaign_id: int) -> Weight:
        places = self._weights.get(offer_id, {}).get(campaign_id, {}).values()
        return sum(w[0] for w in places), sum(w[1] for w in places), sum(w[2] for w in places)

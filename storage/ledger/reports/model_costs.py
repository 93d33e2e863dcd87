"""Spend that follows from what a campaign brought: a price per conversion, a share of commission, a price per day."""

from collections.abc import Callable, Mapping

from storage.ledger.cost_models import CPA, REVSHARE, CostRule, share_of
from storage.ledger.facts import COMMISSION_PARTS, Event, Tally
from storage.ledger.reports.cells import Cells, Place, stretches


def add_conversion_costs(
    cells: Cells, tallies: list[Tally], costs: Mapping[int, CostRule], place_of: Callable[[Tally], Place]
) -> None:
    """CPA: its price for each conversion of its event that counts, at the place of the conversion."""
    for tally in tallies:
        rule = costs.get(tally.campaign_id)
        if rule is not None and rule.model == CPA and tally.n and _counts(tally, rule.event):
            cells.add_amount(cells.at(place_of(tally)), rule.currency, "spend", rule.cost, times=tally.n)


def _counts(tally: Tally, event: str) -> bool:
    return tally.is_ftd if event == Event.FIRST_DEPOSIT else tally.event == event


def add_commission_shares(cells: Cells, costs: Mapping[int, CostRule]) -> None:
    """Rev share of the source: its part of a campaign's commission, currency by currency, exact over all places."""
    cells.sum_whole_rows()
    for campaign_id, rule in costs.items():
        if rule.model != REVSHARE:
            continue
        by_currency: dict[str, list[tuple[Place, int]]] = {}
        for place, cell in cells.placed():
            for currency, amounts in cell.money.items() if place.campaign_id == campaign_id else ():
                parts = [part for name in COMMISSION_PARTS if (part := getattr(amounts, name)) is not None]
                if parts:
                    by_currency.setdefault(currency, []).append((place, sum(parts)))
        for currency, earned in by_currency.items():
            earned.sort(key=lambda item: (item[0].base, repr(item[0])))
            _divide(cells, currency, earned, rule.cost)


def _divide(cells: Cells, currency: str, earned: list[tuple[Place, int]], share: int) -> None:
    """Each place's part is what its commission adds to the share of the sum so far."""
    parts, total, paid = [], 0, 0
    for _, commission in earned:
        total += commission
        parts.append(share_of(total, share) - paid)
        paid += parts[-1]
    for (place, _), stretch in zip(earned, stretches(parts), strict=True):
        cells.add_amount(cells.at(place), currency, "spend", stretch)

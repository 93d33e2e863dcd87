"""What campaigns cost, by the hour in which it was known: prices of clicks, of conversions, of a day, and costs stated
of a whole day, which stand in place of any price. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from storage.ledger.cost_models import CPA, PER_DAY, CostRule
from storage.ledger.facts import Event
from storage.ledger.reports.allocate import first_positive, split


class CostedClicks(msgspec.Struct, frozen=True, kw_only=True):
    """Human clicks of a place in an hour, and what they cost."""

    hour: int
    campaign: int
    offer: int
    source: int
    clicks: int
    cost: int
    currency: str


class HourConversions(msgspec.Struct, frozen=True, kw_only=True):
    """Conversions of one kind at a place in an hour."""

    hour: int
    campaign: int
    offer: int
    source: int
    event: str
    is_ftd: bool
    n: int


class StatedCost(msgspec.Struct, frozen=True, kw_only=True):
    """What an origin (a person, a file, a source's API) said a campaign's day (since 1970) cost, and in which hour."""

    campaign: int
    day: int
    origin: str
    amount: int
    currency: str
    stated: int
    source: int = 0


class HourCost(msgspec.Struct, frozen=True, kw_only=True):
    """Cost of a place in an hour, in micro-units, negative where what was stated is less than the clicks' own cost.

    `known` is the hour from which on it counts: later than `hour` where a day's cost was stated after that day.
    `replaced`: another cost was stated of that day.
    """

    hour: int
    known: int
    campaign: int
    offer: int
    source: int
    amount: int
    currency: str
    replaced: bool = False


_Place = tuple[int, int]
"""Offer and source."""


def hourly_costs(
    clicks: Iterable[CostedClicks],
    conversions: Iterable[HourConversions],
    stated: Iterable[StatedCost],
    rules: Mapping[int, Mapping[int, CostRule]],
) -> Iterator[HourCost]:
    """All costs of the hours. `stated` in the order in which it was stated; `rules` by day, then campaign."""
    by_day: dict[tuple[int, int], list[CostedClicks]] = {}
    for counted in clicks:
        by_day.setdefault((counted.campaign, counted.hour // 24), []).append(counted)
    own: dict[tuple[int, int], list[HourCost]] = {}
    for key, of_day in by_day.items():
        rule = rules.get(key[1], {}).get(key[0])
        own[key] = [_cost(counted, counted.cost, counted.currency) for counted in of_day if counted.cost]
        if rule is not None and rule.model == PER_DAY:
            own[key] += _day_price(rule, of_day)
    for event in conversions:
        rule = rules.get(event.hour // 24, {}).get(event.campaign)
        if rule is not None and rule.model == CPA and _counts(event, rule.event):
            costs = own.setdefault((event.campaign, event.hour // 24), [])
            costs.append(_cost(event, rule.cost * event.n, rule.currency))
    stated_by_day: dict[tuple[int, int], list[StatedCost]] = {}
    for cost in stated:
        stated_by_day.setdefault((cost.campaign, cost.day), []).append(cost)
    for key, costs in own.items():
        if key not in stated_by_day:
            yield from costs
    for key, several in stated_by_day.items():
        yield from _Day(key, by_day.get(key, []), own.get(key, [])).costs(several)


def _cost(counted: CostedClicks | HourConversions, amount: int, currency: str) -> HourCost:
    return HourCost(
        hour=counted.hour, known=counted.hour, campaign=counted.campaign, offer=counted.offer, source=counted.source,
        amount=amount, currency=currency,
    )  # fmt: skip


def _counts(event: HourConversions, wanted: str) -> bool:
    return event.is_ftd if wanted == Event.FIRST_DEPOSIT else event.event == wanted


def _day_price(rule: CostRule, clicks: Sequence[CostedClicks]) -> list[HourCost]:
    """A price per day: due with the day's first human click."""
    first = min((counted.hour for counted in clicks if counted.clicks), default=None)
    begun = [counted for counted in clicks if counted.hour == first and counted.clicks]
    parts = split(rule.cost, [counted.clicks for counted in begun]) if begun else []
    return [_cost(counted, part, rule.currency) for counted, part in zip(begun, parts, strict=True)]


class _Day:
    """A campaign's day whose cost was stated, once or again and again."""

    def __init__(self, key: tuple[int, int], clicks: Sequence[CostedClicks], own: Sequence[HourCost]) -> None:
        self.campaign, self.day = key
        self.first, self.last = 24 * self.day, 24 * self.day + 23
        self.clicks, self.own = clicks, own
        self.stand: dict[tuple[int, _Place, str], int] = {}
        """What has been put where so far: by hour, place and currency."""

    def costs(self, stated: Sequence[StatedCost]) -> Iterator[HourCost]:
        begins = min(max(cost.stated, self.first) for cost in stated)
        for cost in self.own:
            if cost.hour < begins:
                self._put(cost.hour, (cost.offer, cost.source), cost.currency, cost.amount)
                yield msgspec.structs.replace(cost, replaced=True)
        latest: dict[str, StatedCost] = {}
        for known, of_hour in groupby(
            sorted(stated, key=lambda cost: cost.stated), key=lambda cost: max(cost.stated, self.first)
        ):
            latest |= {cost.origin: cost for cost in of_hour}
            totals: dict[str, int] = {}
            for part in latest.values():
                totals[part.currency] = totals.get(part.currency, 0) + part.amount
            yield from self._moved(known, totals, stated[0].source)

    def _put(self, hour: int, place: _Place, currency: str, amount: int) -> None:
        key = hour, place, currency
        self.stand[key] = self.stand.get(key, 0) + amount

    def _moved(self, known: int, totals: Mapping[str, int], source: int) -> list[HourCost]:
        """What changes when the day is said to cost so much: within the day it falls due in that hour, after it all
        of the day's hours have their part of it, by their clicks."""
        within = known <= self.last
        clicks: dict[tuple[int, _Place], int] = {}
        for counted in self.clicks:
            if counted.clicks and counted.hour <= known:
                at = known if within else counted.hour, (counted.offer, counted.source)
                clicks[at] = clicks.get(at, 0) + counted.clicks
        places = list(clicks) or [(known if within else self.first, (0, source))]
        due: dict[tuple[int, _Place, str], int] = {}
        for currency, amount in totals.items():
            parts = split(amount, first_positive([[clicks.get(place, 0) for place in places]]))
            due |= {(*place, currency): part for place, part in zip(places, parts, strict=True)}
        for (hour, place, currency), amount in self.stand.items():
            stood = (known if within else hour), place, currency
            due[stood] = due.get(stood, 0) - amount
        moved = []
        for (hour, place, currency), amount in due.items():
            if amount:
                self._put(hour, place, currency, amount)
                moved.append(HourCost(hour=hour, known=known, campaign=self.campaign, offer=place[0], source=place[1],
                                      amount=amount, currency=currency))  # fmt: skip
        return moved

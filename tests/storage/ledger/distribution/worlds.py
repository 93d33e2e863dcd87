"""Simulated campaigns: offers that pay per FTD or share revenue, soon or late, and ways to share clicks out over them.

Earnings are counted as what a click is worth at the moment it is sent (the offer's true FTDs per click times what an
FTD brings in all), so that only the ways differ, and not their luck with players.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from storage.ledger.distribution.earnings import PRIOR_PAYMENTS, ClickValue, OfferDay, OfferHistory, click_values
from storage.ledger.distribution.weights import WHOLE, Limits, best_shares, share_out, start, visitor_shares
from storage.ledger.reports.forecast import forecast_offer
from storage.ledger.reports.forecast_fit import Past, Pending

STEPS = 4  # decisions a day
LEARNING = 5_000  # clicks before earnings are compared
EURO = 1_000_000
KEPT_DAYS = 60


class Deal(msgspec.Struct, frozen=True, kw_only=True):
    """One offer as it truly is. An FTD brings `payout` in all: once, `pays_after` days later (booked on that day, or on
    the FTD's own where it `restates`), or, with `half_life`, day by day from players who leave."""

    rate: float  # FTDs per click
    payout: float
    converts_after: float = 0.0  # days from click to FTD, on average
    pays_after: int = 0
    restates: bool = False
    half_life: float = 0.0
    drift: float = 0.0  # standard deviation of a day's change, as a share
    dies_on: int = -1  # the day from which no one deposits


class World(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    deals: tuple[Deal, ...]
    clicks_a_day: int = 250
    days: int = 60
    equal: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Earnings by way, in euro: of the clicks after the first LEARNING, and of all; `best` is the best fixed offer."""

    world: World
    after: dict[str, float]
    whole: dict[str, float]
    best_after: float
    best_whole: float
    lowest: int  # weight seen
    least: int  # that is allowed
    largest_change: int  # within an hour


class Books:
    """What is known of one offer: clicks and FTDs as they come, commission as it is stated."""

    def __init__(self, days: int) -> None:
        self.clicks = [0] * days
        self.first_deposits = [0] * days
        self.commission = [0] * days


class Traffic:
    """One way's campaign as time passes: visitors, players and payments of its own."""

    def __init__(self, world: World, rates: Sequence[Sequence[float]], seed: int) -> None:
        self.world = world
        self.books = [Books(world.days) for _ in world.deals]
        self._rates = rates
        self._chance = Random(seed)
        self._deposits: dict[int, list[int]] = {}  # offers by the step
        self._payments: dict[int, list[tuple[int, int, int]]] = {}  # offer, day, amount, by the day it is stated
        self._players: list[tuple[int, float]] = []  # offer, daily revenue
        #: By offer: clicks, the FTDs that come of them sooner or later, and what those bring in all, in euro.
        self.destined = [[0.0, 0.0, 0.0] for _ in world.deals]
        self._worth = Random(seed)

    def pass_step(self, step: int, weights: Sequence[int]) -> None:
        """Six hours: clicks by weight, and what earlier ones bring."""
        chance, day = self._chance, step // STEPS
        n = max(0, round(chance.gauss(1, 0.1) * self.world.clicks_a_day / STEPS))
        for offer, clicks in Counter(chance.choices(range(len(weights)), weights, k=n)).items():
            self.books[offer].clicks[day] += clicks
            self.destined[offer][0] += clicks
            for _ in range(clicks):
                if chance.random() < self._rates[offer][day]:
                    mean = self.world.deals[offer].converts_after
                    self._foresee(offer)
                    later = round(chance.expovariate(1 / mean) * STEPS) if mean else 0
                    self._deposits.setdefault(step + later, []).append(offer)
        for offer in self._deposits.pop(step, ()):
            self._deposit(offer, day)
        if step % STEPS == STEPS - 1:
            self._end_day(day)

    def _foresee(self, offer: int) -> None:
        deal, destined = self.world.deals[offer], self.destined[offer]
        destined[1] += 1
        destined[2] += deal.payout * (self._worth.gammavariate(0.5, 2.0) if deal.half_life else 1.0)

    def _deposit(self, offer: int, day: int) -> None:
        deal = self.world.deals[offer]
        self.books[offer].first_deposits[day] += 1
        if deal.half_life:
            leaving = 1 - 0.5 ** (1 / deal.half_life)
            self._players.append((offer, deal.payout * leaving * self._chance.gammavariate(0.5, 2.0)))
        else:
            stated = day + deal.pays_after
            booked = day if deal.restates else stated
            self._payments.setdefault(stated, []).append((offer, booked, round(deal.payout) * EURO))

    def _end_day(self, day: int) -> None:
        for offer, booked, amount in self._payments.pop(day, ()):
            if booked < self.world.days:
                self.books[offer].commission[booked] += amount
        staying = []
        for offer, daily in self._players:
            self.books[offer].commission[day] += round(daily * self._chance.gauss(1, 2) * 100) * 10_000
            if self._chance.random() < 0.5 ** (1 / self.world.deals[offer].half_life):
                staying.append((offer, daily))
        self._players = staying

    def settled(self, step: int) -> int:
        """How many days are settled: the platforms state a day at six the next morning."""
        day, part = divmod(step, STEPS)
        return day if part * 24 / STEPS >= 6 else max(day - 1, 0)


Way = Callable[[Traffic, int, list[list[int]]], Sequence[int]]
"""The weights for a step, by what is known then and the weights of the last hour."""


def histories(traffic: Traffic, step: int) -> list[OfferHistory]:
    """The offers' days as the product keeps them: settled, or with the forecast."""
    day, settled = step // STEPS, traffic.settled(step)
    first = max(0, day + 1 - KEPT_DAYS)
    made = []
    for deal, books in zip(traffic.world.deals, traffic.books, strict=True):
        known = [Past(books.first_deposits[d], books.commission[d]) for d in range(settled)]
        pending = [Pending(books.first_deposits[d]) for d in range(settled, day + 1)]
        forecast = forecast_offer(known, pending) if len(known) >= 28 else None
        estimates = forecast.estimates if forecast else ()
        days = []
        for d in range(first, day + 1):
            estimate = estimates[d - settled] if d >= settled and estimates else None
            days.append(OfferDay(
                clicks=books.clicks[d], first_deposits=books.first_deposits[d],
                commission=books.commission[d] if d < settled else None,
                shared=books.commission[d] if d < settled and deal.half_life else 0,
                pending=estimate.estimate if estimate else None,
                spread=(estimate.high - estimate.low) / 2.56 if estimate else 0.0,
            ))  # fmt: skip
        made.append(OfferHistory(days=tuple(days)))
    return made


def distributed(limits: Limits) -> Way:
    """What the product does."""

    def weights(traffic: Traffic, step: int, recent: list[list[int]]) -> Sequence[int]:
        if not traffic.settled(step):
            return recent[-1]
        known = histories(traffic, step)
        shares = visitor_shares(best_shares(click_values(known)))
        return share_out(shares, limits=limits, recent=recent, clicks=[offer.clicks for offer in known])

    return weights


def clairvoyant(limits: Limits) -> Way:
    """Thompson sampling for which nothing is late: each FTD, and all that it will ever bring, is known with its click.
    What the limits, the number of offers and chance cost without any delay."""

    def weights(traffic: Traffic, _step: int, recent: list[list[int]]) -> Sequence[int]:
        clicks, deposits, amounts = (sum(column) for column in zip(*traffic.destined, strict=True))
        if not deposits:
            return recent[-1]
        values = []
        for deal, (own_clicks, own, amount) in zip(traffic.world.deals, traffic.destined, strict=True):
            rate = (own + PRIOR_PAYMENTS) / (own_clicks + PRIOR_PAYMENTS * clicks / deposits)
            spread = (own + PRIOR_PAYMENTS) ** -0.5
            if deal.half_life or not own:
                payout = (amount + PRIOR_PAYMENTS * amounts / deposits) / (own + PRIOR_PAYMENTS)
                spread = (spread**2 + 2.0 / (own + PRIOR_PAYMENTS)) ** 0.5
            else:
                payout = amount / own
            values.append(ClickValue(mean=rate * payout, spread=rate * payout * spread))
        known = [int(of[0]) for of in traffic.destined]
        shares = visitor_shares(best_shares(values))
        return share_out(shares, limits=limits, recent=recent, clicks=known)

    return weights


def last_day(limits: Limits) -> Way:
    """What other trackers do: by the conversions of the last 24 hours."""

    def weights(traffic: Traffic, step: int, recent: list[list[int]]) -> Sequence[int]:
        day = step // STEPS
        if not day:
            return recent[-1]
        values = []
        for books in traffic.books:
            clicks = books.clicks[day] + books.clicks[day - 1]
            conversions = books.first_deposits[day] + books.first_deposits[day - 1]
            values.append(
                ClickValue(mean=(conversions + 0.5) / (clicks + 20), spread=(conversions + 0.5) ** 0.5 / (clicks + 20))
            )
        return share_out(best_shares(values), limits=limits, recent=(), clicks=[WHOLE] * len(values))

    return weights


_LIMITS = Limits()


def simulate(
    world: World,
    *,
    seed: int,
    limits: Limits = _LIMITS,
    ways: Sequence[str] = ("equal", "last 24 hours", "distribution", "clairvoyant"),
) -> Outcome:
    """Each way on the same world, with traffic of its own."""
    rates = _rates(world, Random(f"{world.name} {seed}"))
    values = [[rate * deal.payout for rate in of] for deal, of in zip(world.deals, rates, strict=True)]
    offers = len(world.deals)
    equal = start([1] * offers, limits, clicks=[limits.warm_up] * offers)
    by_name: dict[str, Way] = {
        "equal": lambda _traffic, _step, _recent: equal, "last 24 hours": last_day(limits),
        "distribution": distributed(limits), "clairvoyant": clairvoyant(limits),
    }  # fmt: skip
    steps = world.days * STEPS
    per_step = world.clicks_a_day / STEPS
    begin = min(int(LEARNING / per_step), steps - 1)
    after, whole = {}, {}
    lowest, change = WHOLE, 0
    for name in ways:
        traffic = Traffic(world, rates, seed)
        weights: Sequence[int] = equal
        earned = []
        for step in range(steps):
            before = weights
            weights = by_name[name](traffic, step, [list(weights)])
            traffic.pass_step(step, weights)
            earned.append(sum(w * v[step // STEPS] for w, v in zip(weights, values, strict=True)) / WHOLE * per_step)
            if name == "distribution":
                lowest = min(lowest, *weights)
                change = max(change, *(abs(a - b) for a, b in zip(before, weights, strict=True)))
        after[name], whole[name] = sum(earned[begin:]), sum(earned)
    fixed = [[v[step // STEPS] * per_step for step in range(steps)] for v in values]
    after["oracle"] = sum(max(v[step] for v in fixed) for step in range(begin, steps))
    whole["oracle"] = sum(max(v[step] for v in fixed) for step in range(steps))
    return Outcome(
        world=world, after=after, whole=whole, best_after=max(sum(v[begin:]) for v in fixed),
        best_whole=max(map(sum, fixed)), lowest=lowest, least=limits.least(offers),
        largest_change=change,
    )  # fmt: skip


def _rates(world: World, chance: Random) -> list[list[float]]:
    """FTDs per click by offer and day, with drift."""
    made = []
    for deal in world.deals:
        rate, days = deal.rate, []
        for day in range(world.days):
            rate *= max(0.5, 1 + chance.gauss(0, deal.drift)) if deal.drift else 1.0
            days.append(0.0 if 0 <= deal.dies_on <= day else rate)
        made.append(days)
    return made


def worlds(seed: int = 1) -> list[World]:
    """Twenty: 2 to 12 offers, CPA and rev share, delays of 0 to 14 days, drifting, one dying overnight, all equal."""
    chance = Random(seed)

    def cpa(**more: object) -> Deal:
        deal = Deal(rate=chance.uniform(0.02, 0.05), payout=float(chance.randrange(60, 200, 5)))
        return msgspec.structs.replace(deal, **more)

    def share(**more: object) -> Deal:
        return cpa(half_life=chance.choice((30.0, 45.0, 60.0)), **more)

    def late() -> Deal:
        return cpa(converts_after=chance.uniform(0, 4), pays_after=chance.randrange(15), restates=chance.random() < 0.5)

    def mixed() -> Deal:
        return share(converts_after=chance.uniform(0, 3)) if chance.random() < 0.4 else late()

    made = [World(name=f"CPA at once, {n} offers", deals=tuple(cpa() for _ in range(n))) for n in (2, 3, 6, 12)]
    made += [
        World(name=f"CPA, 0 to 14 days late, {n} offers", deals=tuple(late() for _ in range(n))) for n in (2, 5, 12)
    ]
    made += [World(name=f"rev share, {n} offers", deals=tuple(share() for _ in range(n))) for n in (2, 4, 8)]
    made += [World(name=f"CPA and rev share, {n} offers", deals=tuple(mixed() for _ in range(n))) for n in (3, 5, 10)]
    made += [
        World(name=f"drifting, {n} offers", deals=tuple(
            msgspec.structs.replace(mixed(), drift=0.03) for _ in range(n)
        )) for n in (3, 6)
    ]  # fmt: skip
    for n in (3, 6):
        deals = [late() for _ in range(n)]
        best = max(range(n), key=lambda place: deals[place].rate * deals[place].payout)
        deals[best] = msgspec.structs.replace(deals[best], dies_on=32)
        made.append(World(name=f"the best of {n} dies overnight", deals=tuple(deals)))
    made += [
        World(name="the late payer is the best of 2", deals=(
            Deal(rate=0.04, payout=60.0), Deal(rate=0.03, payout=140.0, converts_after=2.0, pays_after=10),
        )),
        World(name="4 alike", deals=(Deal(rate=0.03, payout=100.0),) * 4, equal=True),
        World(name="5 worth the same, late or soon", equal=True, deals=(
            Deal(rate=0.03, payout=100.0), Deal(rate=0.02, payout=150.0, pays_after=7), Deal(rate=0.05, payout=60.0),
            Deal(rate=0.03, payout=100.0, converts_after=3.0, pays_after=14),
            Deal(rate=0.03, payout=100.0, half_life=45.0),
        )),
    ]  # fmt: skip
    # A campaign of many offers has more clicks.
    return [msgspec.structs.replace(world, clicks_a_day=250 if len(world.deals) <= 5 else 500) for world in made]


def further_worlds(seed: int = 2) -> list[World]:
    """Twenty more of the same kinds, with numbers of offers, rates, amounts, delays and traffic of their own. What the
    method's numbers are was chosen on those of seed 1 and on `worlds`, by traffic of seeds 101 to 103."""
    chance = Random(f"further {seed}")
    kinds = ["CPA at once"] * 3 + ["CPA late"] * 5 + ["rev share"] * 4 + ["CPA and rev share"] * 4
    kinds += ["drifting"] * 2 + ["the best dies overnight"] * 2
    return [_further(kind, place, chance) for place, kind in enumerate(kinds)]


def _further(kind: str, place: int, chance: Random) -> World:
    offers = chance.randint(2, 12)
    rate = chance.uniform(0.01, 0.03)
    rates = rate, rate * chance.uniform(1.5, 3)
    least = chance.uniform(40, 100)
    payouts = least, least * chance.uniform(1.5, 4)
    latest = chance.randint(0, 14)

    def once() -> Deal:
        return Deal(rate=chance.uniform(*rates), payout=float(round(chance.uniform(*payouts))))

    def late() -> Deal:
        return msgspec.structs.replace(
            once(), converts_after=chance.uniform(0, 5), pays_after=chance.randint(0, latest),
            restates=chance.random() < 0.5,
        )  # fmt: skip

    def share() -> Deal:
        return msgspec.structs.replace(
            once(), half_life=chance.uniform(25, 75), converts_after=chance.uniform(0, 2)
        )  # fmt: skip

    def either() -> Deal:
        return share() if chance.random() < 0.5 else late()

    make = {"CPA at once": once, "CPA late": late, "rev share": share, "the best dies overnight": late}.get(
        kind, either
    )
    deals = [make() for _ in range(offers)]
    if kind == "drifting":
        deals = [msgspec.structs.replace(deal, drift=chance.uniform(0.01, 0.04)) for deal in deals]
    if kind == "the best dies overnight":
        best = max(range(offers), key=lambda at: deals[at].rate * deals[at].payout)
        deals[best] = msgspec.structs.replace(deals[best], dies_on=chance.randint(25, 45))
    clicks = chance.choice((250, 350)) if offers <= 5 else chance.choice((400, 600, 800))
    return World(name=f"{place + 1}: {kind}, {offers} offers", deals=tuple(deals), clicks_a_day=clicks)

"""What automations are judged by: report days as merged, and hours of the roll-up and of conversions, never clicks."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import BigInteger, func, literal, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.alerts.live_counts import hour_of
from storage.automations import placement_counts
from storage.catalogue.campaigns import costs_on
from storage.catalogue.groups import ARCHIVED
from storage.catalogue.placements import NO_PLACEMENTS, Placements, load
from storage.db import config_version
from storage.ledger.automations.figures import BIT, LAYERED_BITS, PLACE, SUMS, FigureRow, History, LateRow, Reach
from storage.ledger.automations.hourly_costs import CostedClicks, HourConversions, HourCost, StatedCost, hourly_costs
from storage.ledger.automations.placements import with_uploaded
from storage.ledger.clicks.placements import placement_sub
from storage.ledger.dates import days_between
from storage.ledger.money import Rates, convert
from storage.ledger.reports.report_rows import LAYERED, ReportRow
from storage.reports.merged_report import ReportQuery
from storage.reports.rates import last_published, load_rates
from storage.reports.report_in_helper import ReportInHelper, report_of
from storage.reports.report_view import postbacks_since
from storage.tables import (
    accounts,
    campaign_offers,
    campaigns,
    casinos,
    click_rollup,
    conversions,
    groups,
    merged,
    offers,
    revenue_reports,
    settled_days,
    sources,
    spend,
    touched,
)
from storage.tables.types import EPOCH, EPOCH_DAY, day_of_hour

KEPT_DAYS = 62
"""Days that are kept one by one where everything since the start is asked for; older ones are one sum."""
_QUARTER = 900_000_000  # microseconds: every zone's hours begin on one
_COUNTED = ("clicks", "unique_clicks", "bot_clicks", "site_visits", "outgoing")
_NOTHING = (0,) * len(SUMS)


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """An offer, campaign, source or account as automations see it."""

    id: int
    code: str
    name: str
    status: str = ""
    account_id: int = 0
    casino_id: int = 0
    cap: int = 0
    options: dict[str, Any] = {}
    source_id: int = 0
    group_code: str = ""


class Entities(msgspec.Struct, frozen=True, kw_only=True):
    """A team's entities by id, and the weights of its campaigns, in order: campaign, offer, weight."""

    by_noun: dict[str, dict[int, Entity]]
    weights: tuple[tuple[int, int, int], ...]
    listed: Placements = NO_PLACEMENTS

    def named(self, noun: str, word: str) -> Entity | None:
        """The entity of a code, name or id."""
        entities = self.by_noun.get(noun, {})
        folded = word.casefold()
        by_code = next((entity for entity in entities.values() if entity.code == folded), None)
        by_name = next((entity for entity in entities.values() if entity.name.casefold() == folded), None)
        return by_code or by_name or (entities.get(int(word)) if word.isdecimal() and len(word) < 19 else None)


_SORTED = ("group_code", "archived_from")


async def load_entities(tx: AsyncConnection, team_id: int, listed: Placements = NO_PLACEMENTS) -> Entities:
    """The team's entities as they are now. `listed`: placements on lists, of a load before; they are read again."""
    by_noun: dict[str, dict[int, Entity]] = {}
    for noun, table, columns in (
        ("offer", offers, ("status", "account_id", "casino_id", "cap", *_SORTED)),
        ("campaign", campaigns, ("status", "source_id", *_SORTED)),
        ("source", sources, ("options", *_SORTED)), ("account", accounts, ("archived_from",)),
        ("casino", casinos, ("archived_from",)), ("group", groups, ()),
    ):  # fmt: skip
        c = table.c
        rows = await tx.execute(
            select(c.id, c.code, c.name, *(c[name] for name in columns)).where(c.team_id == team_id).order_by(c.id)
        )
        by_noun[noun] = {row.id: _entity(row) for row in rows}
    w = campaign_offers.c
    mine = select(w.campaign_id, w.offer_id, w.weight).where(w.campaign_id.in_(by_noun["campaign"]))
    weights = await tx.execute(mine.order_by(w.campaign_id, w.position))
    return Entities(
        by_noun=by_noun, weights=tuple((row[0], row[1], row[2]) for row in weights), listed=await load(tx, listed)
    )


def _entity(row: Any) -> Entity:
    values = {name: value for name, value in row._mapping.items() if value is not None}
    if values.pop("archived_from", None) is not None:
        values["status"] = ARCHIVED  # neither paused nor resumed
    return Entity(**values)


class Loading(msgspec.Struct, kw_only=True):
    """What one team's figures are loaded with, and what was kept of an earlier time."""

    team_id: int
    timezone: str
    currency: str
    now: datetime
    entities: Entities
    in_helper: ReportInHelper | None = None
    subs: frozenset[str] = frozenset()  # sub ids that placements are asked for by

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def today(self) -> date:
        return self.now.astimezone(self.zone).date()


class CachedDays(msgspec.Struct, kw_only=True):
    """Complete days as they were read, and what says whether they still hold."""

    mark: tuple[Any, ...] | None = None
    days: dict[date, list[FigureRow]] = {}
    older: list[FigureRow] = []
    older_open: int = 0


async def load_history(
    tx: AsyncConnection, loading: Loading, reach: Reach, cached: CachedDays | None = None
) -> History:
    """Everything a team's automations ask for. `cached` holds complete days from one run to the next."""
    cached = cached if cached is not None else CachedDays()
    bits = {account: 1 << n for n, account in enumerate(loading.entities.by_noun["account"])}
    first = loading.today - timedelta(days=max(reach.days, KEPT_DAYS if reach.start else 0))
    await _load_days(tx, loading, cached, first=first, bits=bits, start=reach.start)
    midnight = (loading.today - EPOCH_DAY).days * 24
    last_hour = hour_of(loading.now, loading.timezone)
    hours, late = await _load_hours(tx, loading, min(midnight, last_hour - reach.hours), last_hour, bits=bits)
    return History(
        zone=loading.zone, days=cached.days, older=cached.older if reach.start else [], older_open=cached.older_open,
        hours=hours, late=late,
        settled=await _settled(tx, loading, first, bits), held=await _held(tx, loading, bits),
        accounts={bits[entity.id]: entity.name for entity in loading.entities.by_noun["account"].values()},
        entities={
            noun: {entity.code: entity.id for entity in by_code.values()}
            for noun, by_code in loading.entities.by_noun.items()
        },
        placements=await _load_placements(tx, loading, first) if loading.subs else {},
        counted_subs=await placement_counts.ready(tx, loading.team_id, loading.now) if loading.subs else frozenset(),
    )  # fmt: skip


async def _load_days(
    tx: AsyncConnection, loading: Loading, cached: CachedDays, *, first: date, bits: dict[int, int], start: bool
) -> None:
    last = loading.today - timedelta(days=1)
    mark = await _mark(tx, loading, first, last, start=start)
    if cached.mark == mark:
        return
    report = await _report(tx, loading, first, last, ("day", "campaign", "offer", "source"))
    days: dict[date, list[FigureRow]] = {}
    ids = {
        noun: {entity.code: entity.id for entity in by_code.values()}
        for noun, by_code in loading.entities.by_noun.items()
    }
    for row in report.rows:
        days.setdefault(date.fromisoformat(row.group["day"] or ""), []).append(_of_report(row, loading, bits, ids))
    cached.days, cached.older, cached.older_open = days, [], 0
    if start:
        older = await _report(
            tx, loading, first - timedelta(days=1000), first - timedelta(days=1), ("campaign", "offer", "source")
        )
        cached.older = [_of_report(row, loading, bits, ids) for row in older.rows]
        for row, figure_row in zip(older.rows, cached.older, strict=True):
            cached.older_open |= figure_row.account if row.settlement != "settled" else 0
    cached.mark = mark


async def _mark(tx: AsyncConnection, loading: Loading, first: date, last: date, *, start: bool) -> tuple[Any, ...]:
    """What changes whenever a complete day may read otherwise."""
    m, t, s = merged.c, touched.c, settled_days.c
    versions = select(m.day, m.version).where(m.team_id == loading.team_id, m.day.between(first, last)).order_by(m.day)
    moved = select(func.count(), func.max(t.id)).where(t.team_id == loading.team_id, t.day <= last)
    settled = select(func.count(), func.max(s.settled_at)).where(s.team_id == loading.team_id, s.day >= first)
    return (
        first, last, start, tuple(tuple(row) for row in await tx.execute(versions)), *(await tx.execute(moved)).one(),
        *(await tx.execute(settled)).one(), await config_version.current(tx), await last_published(tx),
    )  # fmt: skip


async def _report(tx: AsyncConnection, loading: Loading, first: date, last: date, by: tuple[str, ...]) -> Any:
    query = ReportQuery(
        team_id=loading.team_id, first=first, last=last, by=by, timezone=loading.timezone, currency=loading.currency,
    )  # fmt: skip
    return await report_of(tx, query, loading.in_helper)


def _of_report(row: ReportRow, loading: Loading, bits: dict[int, int], ids: dict[str, dict[str, int]]) -> FigureRow:
    """A report row as it counts when settled, and by postbacks alone as long as it is not."""
    place = {noun: ids[noun].get(row.group.get(noun) or "", 0) for noun in ("campaign", "offer", "source")}
    offer = loading.entities.by_noun["offer"].get(place["offer"])
    values, known, open_values, open_known = list(_NOTHING), 0, list(_NOTHING), 0
    for name in SUMS:
        figure = getattr(row, name)
        merged_figure, by_postback = (figure.merged, figure.postback) if name in LAYERED else (figure, figure)
        if merged_figure is not None:
            values[PLACE[name]], known = merged_figure, known | BIT[name]
        if by_postback is not None:
            open_values[PLACE[name]], open_known = by_postback, open_known | BIT[name]
    no_rate, currencies = _no_rate(row)
    return FigureRow(
        campaign=place["campaign"], offer=place["offer"], source=place["source"], values=tuple(values), known=known,
        account=bits.get(offer.account_id, 0) if offer else 0, open_values=tuple(open_values), open_known=open_known,
        no_rate=no_rate, currencies=currencies,
    )  # fmt: skip


def _no_rate(row: ReportRow) -> tuple[int, tuple[str, ...]]:
    if not isinstance(row.unconverted_figures, dict):
        return 0, ()
    names = {name for currencies in row.unconverted_figures.values() for name in currencies}
    named = {"deposit_amount" if name == "postback_amount" else name for name in names}
    return sum(BIT[name] for name in named if name in BIT), tuple(row.unconverted_figures)


async def _settled(
    tx: AsyncConnection, loading: Loading, first: date, bits: dict[int, int]
) -> dict[tuple[int, date], datetime]:
    s = settled_days.c
    query = select(s.account_id, s.day, s.settled_at).where(s.team_id == loading.team_id, s.day >= first)
    return {
        (bits[row.account_id], row.day): row.settled_at for row in await tx.execute(query) if row.account_id in bits
    }


async def _held(tx: AsyncConnection, loading: Loading, bits: dict[int, int]) -> list[tuple[int, date, date]]:
    r = revenue_reports.c
    query = select(r.account_id, r.from_day, r.to_day).where(r.team_id == loading.team_id, r.state == "suspect")
    return [
        (bits[row.account_id], row.from_day, row.to_day) for row in await tx.execute(query) if row.account_id in bits
    ]


class _Hour:
    """Figures of a place in an hour as they come together."""

    __slots__ = ("currencies", "known", "no_rate", "values")

    def __init__(self) -> None:
        self.values = [0] * len(SUMS)
        self.known = self.no_rate = 0
        self.currencies: tuple[str, ...] = ()

    def add(self, name: str, value: int) -> None:
        self.values[PLACE[name]] += value
        self.known |= BIT[name]

    def add_amount(self, name: str, amount: int, currency: str, rates: Rates, day: date) -> None:
        rate = rates.rate(currency or rates.base, day)
        if rate is None:
            self.no_rate |= BIT[name]
            self.currencies += (currency,)
        else:
            self.add(name, convert(amount, rate) if rate != 1 else amount)


_Place = tuple[int, int, int, int]
"""Hour, campaign, offer, source."""


async def _load_hours(
    tx: AsyncConnection, loading: Loading, first: int, last: int, *, bits: dict[int, int]
) -> tuple[dict[int, list[FigureRow]], list[LateRow]]:
    """Hours of the roll-up, of conversions and of costs, and costs that were stated after their day."""
    clicks = await _clicks(tx, loading, first, last)
    events = [
        (hour_of(EPOCH + timedelta(microseconds=row.quarter * _QUARTER), loading.timezone), row)
        for row in await _events(tx, loading, first, last)
    ]
    costs = await _costs(tx, loading, clicks, events, (day_of_hour(first), day_of_hour(last)))
    currencies = {part.currency for part in (*costs, *(row for _, row in events)) if part.currency}
    rates = await load_rates(tx, loading.team_id, loading.currency, currencies, day_of_hour(first), day_of_hour(last))
    places: dict[_Place, _Hour] = {}
    late: dict[tuple[int, _Place], _Hour] = {}
    for row in clicks:
        hour = places.setdefault((row.hour, row.campaign_id, row.offer_id, row.source_id), _Hour())
        for name in _COUNTED:
            hour.add(name, int(getattr(row, name)))
    for cost in costs:
        day, place = day_of_hour(cost.hour), (cost.hour, cost.campaign, cost.offer, cost.source)
        if cost.replaced and rates.rate(cost.currency or rates.base, day) is None:
            continue
        if cost.known > cost.hour:
            late.setdefault((cost.known, place), _Hour()).add_amount("spend", cost.amount, cost.currency, rates, day)
        elif first <= cost.hour <= last:
            places.setdefault(place, _Hour()).add_amount("spend", cost.amount, cost.currency, rates, day)
    for at, row in events:
        if first <= at <= last:
            place = at, row.campaign_id, row.offer_id, row.source_id
            _add_event(places.setdefault(place, _Hour()), row, rates, day_of_hour(at))
    measured = await _measured_offers(tx, loading)
    hours: dict[int, list[FigureRow]] = {}
    for place, hour in places.items():
        since = measured.get(place[2])
        if since is not None and since <= day_of_hour(place[0]):
            hour.known |= LAYERED_BITS
        hours.setdefault(place[0], []).append(_of_hour(place, hour, loading, bits))
    late_rows = [(known, place[0], _of_hour(place, hour, loading, bits)) for (known, place), hour in late.items()]
    return hours, sorted(late_rows, key=lambda row: row[:2])


def _of_hour(place: _Place, hour: _Hour, loading: Loading, bits: dict[int, int]) -> FigureRow:
    _, campaign, offer, source = place
    values, entity = tuple(hour.values), loading.entities.by_noun["offer"].get(offer)
    return FigureRow(
        campaign=campaign, offer=offer, source=source, account=bits.get(entity.account_id, 0) if entity else 0,
        values=values, known=hour.known, open_values=values, open_known=hour.known, no_rate=hour.no_rate,
        currencies=hour.currencies,
    )  # fmt: skip


async def _costs(
    tx: AsyncConnection, loading: Loading, clicks: list[Any], events: list[tuple[int, Any]], days: tuple[date, date]
) -> list[HourCost]:
    """What campaigns cost in the hours of these days, by any model, and by what was stated of a day."""
    first, last = days
    rules = await costs_on(tx, loading.team_id, days_between(first, last))
    of_campaign = loading.entities.by_noun["campaign"]
    stated = [
        StatedCost(
            campaign=row.campaign_id, day=(row.day - EPOCH_DAY).days, origin=row.origin, amount=row.amount,
            currency=row.currency, stated=hour_of(row.recorded_at, loading.timezone),
            source=campaign.source_id if (campaign := of_campaign.get(row.campaign_id)) else 0,
        )
        for row in await _day_costs(tx, loading, first, last)
    ]  # fmt: skip
    costed = (
        CostedClicks(hour=row.hour, campaign=row.campaign_id, offer=row.offer_id, source=row.source_id,
                     clicks=int(row.clicks), cost=int(row.cost), currency=row.currency)
        for row in clicks
    )  # fmt: skip
    conversions = (
        HourConversions(hour=at, campaign=row.campaign_id, offer=row.offer_id, source=row.source_id, event=row.event,
                is_ftd=bool(row.is_ftd), n=row.n)
        for at, row in events
    )  # fmt: skip
    return list(
        hourly_costs(costed, conversions, stated, {(day - EPOCH_DAY).days: rule for day, rule in rules.items()})
    )


async def _day_costs(tx: AsyncConnection, loading: Loading, first: date, last: date) -> list[Any]:
    """Everything that was said of what campaigns cost on those days, in the order it was said."""
    s = spend.c
    columns = s.campaign_id, s.day, s.origin, s.amount, s.currency, s.recorded_at
    query = select(*columns).where(
        s.team_id == loading.team_id, s.day.between(first, last), s.recorded_at <= loading.now
    )
    return list(await tx.execute(query.order_by(s.id)))


def _add_event(hour: _Hour, row: Any, rates: Rates, day: date) -> None:
    """Conversions of one kind; a first deposit is a deposit, too."""
    if row.is_ftd:
        hour.add("first_deposits", row.n)
    if row.event == "registration":
        hour.add("registrations", row.n)
    if row.event == "qualified":
        hour.add("qualified", row.n)
    if row.event in {"deposit", "first_deposit"}:
        hour.add("deposits", row.n)
        if row.amount is not None:
            hour.add_amount("deposit_amount", int(row.amount), row.currency, rates, day)


async def _clicks(tx: AsyncConnection, loading: Loading, first: int, last: int) -> list[Any]:
    r = click_rollup.c
    keys = r.hour, r.campaign_id, r.offer_id, r.source_id, r.currency
    sums = [func.sum(r[name]).label(name) for name in (*_COUNTED, "cost")]
    query = select(*keys, *sums).where(r.team_id == loading.team_id, r.hour.between(first, last)).group_by(*keys)
    return list(await tx.execute(query))


async def _events(tx: AsyncConnection, loading: Loading, first: int, last: int) -> list[Any]:
    c = conversions.c
    quarter = (type_coerce(c.occurred_at, BigInteger) // _QUARTER).label("quarter")
    currency = func.coalesce(c.currency, accounts.c.currency, "").label("currency")
    keys = quarter, c.campaign_id, c.offer_id, c.source_id, c.event, c.is_ftd, currency
    query = (
        select(*keys, func.count().label("n"), func.sum(c.amount).label("amount"))
        .outerjoin(accounts, accounts.c.id == c.account_id)
        .where(c.team_id == loading.team_id, c.day.between(day_of_hour(first), day_of_hour(last)))
        .where(c.status != "reversed", c.event != "reversal", c.occurred_at <= loading.now)
    )
    return list(await tx.execute(query.group_by(*keys)))


async def _uploaded(
    tx: AsyncConnection, loading: Loading, first: date, last: date
) -> dict[tuple[int, int], dict[str, int]]:
    """What campaigns cost on those days by the last word of each origin: amounts by currency, by campaign and day."""
    latest = {(row.campaign_id, row.day, row.origin): row for row in await _day_costs(tx, loading, first, last)}
    amounts: dict[tuple[int, int], dict[str, int]] = {}
    for (campaign, day, _), row in latest.items():
        of_day = amounts.setdefault((campaign, (day - EPOCH_DAY).days), {})
        of_day[row.currency] = of_day.get(row.currency, 0) + row.amount
    return amounts


async def _measured_offers(tx: AsyncConnection, loading: Loading) -> dict[int, date]:
    """Since when the offers are measured by postbacks; those that are not are left out."""
    since = await postbacks_since(tx, loading.team_id, accounts)
    rows = await tx.execute(
        select(offers.c.id, offers.c.account_id).where(
            offers.c.team_id == loading.team_id, offers.c.has_postbacks.is_(True)
        )
    )
    return {row.id: since[row.account_id] for row in rows if row.account_id in since}


async def _load_placements(tx: AsyncConnection, loading: Loading, first: date) -> dict[date, list[FigureRow]]:
    """Days of placements: their clicks as counted, their conversions, and what they cost."""
    last = loading.today
    uploaded = await _uploaded(tx, loading, first, last)
    rows = with_uploaded(await placement_counts.counted(tx, loading.team_id, loading.subs, first, last), uploaded)
    events = [event for sub in sorted(loading.subs) for event in await _placement_events(tx, loading, sub, first)]
    currencies = {row.currency for row in (*rows, *events) if row.currency}
    rates = await load_rates(tx, loading.team_id, loading.currency, currencies, first, last)
    places: dict[tuple[date, int, int, str, str], _Hour] = {}
    for row in rows:
        day = EPOCH_DAY + timedelta(days=row.day)
        figures = places.setdefault((day, row.campaign, row.source, row.sub, row.placement), _Hour())
        for name in ("clicks", "unique_clicks", "bot_clicks"):
            figures.add(name, getattr(row, name))
        figures.add_amount("spend", row.cost, row.currency, rates, day)
    for event in events:
        place = event.day, event.campaign_id, event.source_id, event.sub, event.placement
        _add_event(places.setdefault(place, _Hour()), event, rates, event.day)
    since = min((await postbacks_since(tx, loading.team_id, accounts)).values(), default=None)
    days: dict[date, list[FigureRow]] = {}
    placement_subs = {
        source.id: placement_sub(source.options) for source in loading.entities.by_noun["source"].values()
    }
    for (day, campaign, source, sub, placement), figures in places.items():
        known = figures.known | (LAYERED_BITS if since is not None and since <= day else 0)
        values = tuple(figures.values)
        days.setdefault(day, []).append(FigureRow(
            campaign=campaign, offer=0, source=source, account=0, values=values, known=known, open_values=values,
            open_known=known, no_rate=figures.no_rate, currencies=figures.currencies, placement=placement, sub=sub,
            own_sub=placement_subs.get(source) == sub,
        ))  # fmt: skip
    return days


async def _placement_events(tx: AsyncConnection, loading: Loading, sub: str, first: date) -> list[Any]:
    c = conversions.c
    currency = func.coalesce(c.currency, accounts.c.currency, "").label("currency")
    keys = c.day, c.campaign_id, c.source_id, c[sub].label("placement"), c.event, c.is_ftd, currency
    query = (
        select(*keys, literal(sub).label("sub"), func.count().label("n"), func.sum(c.amount).label("amount"))
        .outerjoin(accounts, accounts.c.id == c.account_id)
        .where(c.team_id == loading.team_id, c.day.between(first, loading.today), c[sub].is_not(None))
        .where(c.status != "reversed", c.event != "reversal", c.occurred_at <= loading.now)
    )
    return list(await tx.execute(query.group_by(*keys)))

"""Exchange rates of the team's own: for currencies no bank publishes, or instead of the bank's."""

import re
import unicodedata
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from bot.core.arguments import NONE, Arguments, choices, currency_code
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import day_range
from bot.core.message import Block, Button, Buttons, Message, Notice, Table, Text
from bot.core.permissions import Scope
from bot.render.figures import days
from storage.catalogue.entities import cursor
from storage.ledger.dates import days_between
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.numbers import read_number
from storage.reports import rates

ORIGINS = ("team", "published", "all")
SHOWN = 60  # days a list goes back by default


class NewRate(Arguments):
    currency: Annotated[str, Meta(description="currency the rate is for: USDT, BRL …")]
    rate: Annotated[str, Meta(description="what one unit is worth in the report currency; none: the bank's again")]
    day: Annotated[date | None, Meta(description="the day it stands for (today, if no range is given)")] = None
    from_: Annotated[date | None, day_range("first day of a range")] = None
    to: Annotated[date | None, Meta(description="last day of the range, included (today, if absent)")] = None


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """`rate` is what one `currency` is worth in `base`, a decimal written out."""

    currency: str
    base: str
    rate: str
    from_: date = msgspec.field(name="from")
    to: date
    origin: str


class RatesQuery(Arguments):
    currency: Annotated[str | None, Meta(description="only this currency")] = None
    from_: Annotated[date | None, Meta(description="first day")] = None
    to: Annotated[date | None, Meta(description="last day, included")] = None
    origin: Annotated[str, choices("whose: the team's own, the published ones, or all", *ORIGINS)] = "team"
    limit: int = 100
    after: str | None = None


class RateList(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Rate]
    next: str | None = None


def rate_card(_ctx: Context, made: Rate) -> Message:
    on = days(made.from_, made.to)
    if made.rate == NONE:
        return Message(f"{made.currency}: the bank's rate again on {on}")
    return Message(f"1 {made.currency} = {made.rate} {made.base} on {on}", (
        Text("Reports use it at once, before the bank's rate."),
    ))  # fmt: skip


def rate_table(ctx: Context, made: RateList) -> Message:
    if not made.items:
        none = "No exchange rates in these days"
        if ctx.notes["origin"] == "team":
            none = "No exchange rates of the team's own in these days: published ones are used"
        return Message(none, (Notice("info", "rate set adds one"), *_published_too(ctx)), private=True)
    rows = tuple((f"{rate.from_}", f"1 {rate.currency}", rate.rate, rate.base, rate.origin) for rate in made.items)
    table = Table(("Day", "Of", "Is", "In", "From"), rows, numeric=(2,))
    return Message("Exchange rates, the latest first", (table, *_published_too(ctx)), private=True)


def _published_too(ctx: Context) -> tuple[Block, ...]:
    """A button for the rates that a list of the team's own leaves out."""
    if ctx.notes["origin"] != "team":
        return ()
    return (Buttons((Button("Published ones too", f"{ctx.notes['asked']} origin=all"),)),)


@command("rate set", role=Role.OWNER, render=rate_card, positional=("currency", "rate", "day"))
async def set_rate(ctx: Context, new: NewRate) -> Rate:
    """Set what a currency is worth on a day, or on every day of a range."""
    base = ctx.deployment.currency
    currency = currency_code(new.currency, base)
    if currency == base:
        raise Refused(f"currency: {currency} is the report currency itself", field="currency")
    rate = None if new.rate.strip().lower() == NONE else _rate(new.rate)
    first, last = _days(new, ctx.today)
    each_day = days_between(first, last)
    before = await rates.own(ctx.tx, ctx.team_id, currency, base, first=first, last=last)
    if rate is None:
        await rates.drop(ctx.tx, ctx.team_id, currency, base, first=first, last=last)
    else:
        await rates.store(ctx.tx, ctx.team_id, [
            rates.StoredRate(day=day, currency=currency, base=base, rate=rate, origin="team") for day in each_day
        ])  # fmt: skip
    made = Rate(
        currency=currency, base=base, rate=NONE if rate is None else f"{rate:f}", from_=first, to=last, origin="team"
    )
    ctx.notes |= {"entity": f"rate {currency}", "after": made}
    previous = {before.get(day, NONE) for day in each_day}
    if len(previous) == 1:  # undo sets them back by one command
        ctx.notes["before"] = msgspec.structs.replace(made, rate=previous.pop())
    return made


def _rate(word: str) -> Decimal:
    """A rate as typed. Raises Refused, also for `1,234`: as a rate it may be either."""
    if match := re.fullmatch(r"\+?([1-9][0-9]{0,2}),([0-9]{3})", unicodedata.normalize("NFKC", word).strip()):
        either = f"{match[1]}.{match[2]} or {match[1]}{match[2]}"
        raise Refused(f"rate: {word!r} may be {either}: write it without a comma", field="rate")
    try:
        rate = read_number(word)
    except ValueError as error:
        raise Refused(f"rate: {error}", field="rate") from None
    if rate is None or rate <= 0 or not -12 <= rate.adjusted() <= 12:
        raise Refused(f"rate: {word!r} is no rate: it is above 0 and below 10,000,000,000,000", field="rate")
    return rate


def _days(new: NewRate, today: date) -> tuple[date, date]:
    if new.day is not None and (new.from_ is not None or new.to is not None):
        raise Refused("day: give either a day or a range from … to", field="day")
    if new.from_ is None:
        if new.to is not None:
            raise Refused("from: the range has no first day", field="from")
        return new.day or today, new.day or today
    last = new.to or today
    if last < new.from_:
        raise Refused(f"to: the range ends before it starts: {new.from_}..{last}", field="to")
    return new.from_, last


def _days_before(day: date, days: int) -> date:
    return max(day, date.min + timedelta(days=days)) - timedelta(days=days)


@command("rate list", role=Role.VIEWER, scope=Scope.OPEN, render=rate_table, reads=True, positional=("currency",))
async def list_rates(ctx: Context, new: RatesQuery) -> RateList:
    """The team's own rates, and on demand the published ones; the latest day first."""
    if not 1 <= new.limit <= 500:
        raise Refused("limit: between 1 and 500", field="limit")
    if new.origin not in ORIGINS:
        raise Refused(f"origin: one of {', '.join(ORIGINS)}", field="origin")
    arguments = (
        f" {name.rstrip('_')}={value}" for name in ("currency", "from_", "to") if (value := getattr(new, name))
    )
    ctx.notes |= {"origin": new.origin, "asked": "rate list" + "".join(arguments)}
    skip = cursor(new.after) or 0
    last = new.to or ctx.today
    rows = await rates.listed(
        ctx.tx, ctx.team_id, currency=currency_code(new.currency, "") or None,
        first=new.from_ or _days_before(last, SHOWN), last=last, limit=new.limit + 1, skip=skip,
        own=new.origin != "published", published=new.origin != "team",
    )  # fmt: skip
    items = [
        Rate(currency=row.currency, base=row.base, rate=f"{row.rate:f}", from_=row.day, to=row.day, origin=row.origin)
        for row in rows[: new.limit]
    ]
    return RateList(items=items, next=str(skip + new.limit) if len(rows) > new.limit else None)

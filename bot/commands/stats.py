"""Statistics of a range, both layers merged: `stats` for people, `report merged` for machines."""

import asyncio
import re
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Table

from bot.core.arguments import NONE, Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import MAX_DAYS, day_range, limited
from bot.core.message import Block, Button, Buttons, Message, Notice, Text
from bot.core.permissions import Scope
from bot.core.tokenizer import day, period, previous_period
from bot.digests.loading import dimension
from bot.forms.first_steps import done_steps, guide
from bot.forms.report_view import MOST_OWN, read_own
from bot.render.figures import (
    by_weight,
    change_table,
    days,
    layered_plural,
    plural,
    report_table,
    spoken_measure,
    top_chart,
    unconverted,
    worded_commission,
)
from bot.render.report_csv import report_file
from storage.catalogue import names
from storage.catalogue.groups import MOST_TAGS
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.reports.arrange import Measure, arrange, check_sort
from storage.ledger.reports.formula import read_formula, with_own
from storage.ledger.reports.report_rows import DIMENSIONS, ENTITIES, PERIODS, ComparedRange, MergedReport
from storage.reports.history import has_history
from storage.reports.merged_report import ReportQuery, merged_report, paged_report
from storage.reports.report_in_helper import is_light
from storage.tables import accounts, campaigns, casinos, groups, offers, sites, sources

FILTERS: dict[str, Table] = {
    "campaigns": campaigns, "sites": sites, "offers": offers, "accounts": accounts, "sources": sources,
    "casinos": casinos, "groups": groups,
}  # fmt: skip


Positive = Annotated[int, Meta(ge=1)]
SUB_FILTER = Meta(description="only these values of the sub id")

#: A value of each period as reports write it.
PERIOD_VALUES = {
    "day": (r"\d{4}-\d\d-\d\d", "2026-10-05"), "week": (r"\d{4}-[Ww]\d\d", "2026-W40"),
    "month": (r"\d{4}-\d\d", "2026-10"),
}  # fmt: skip


RANGES = "today, yesterday, this week, last month, 7d, mtd, nov, mon, since 1 oct, or <from>..<to>"
MANY_ROWS = 2_000  # more of them are sorted in a thread
LONG = 45  # rows; a longer report comes on Telegram with a picture of its top and a file of all
CHATS = {"slack", "telegram", "terminal"}


class StatsQuery(Arguments):
    range: Annotated[str, day_range(RANGES)] = "today"
    by: Annotated[list[str] | None, Meta(description="day, week, month, campaign, site, offer, account …")] = None
    campaign: Annotated[list[str], refers("campaign", "only these campaigns")] = []
    site: Annotated[list[str], refers("site", "only these sites")] = []
    offer: Annotated[list[str], refers("offer", "only these offers")] = []
    account: Annotated[list[str], refers("account", "only these platform accounts")] = []
    source: Annotated[list[str], refers("source", "only these traffic sources")] = []
    casino: Annotated[list[str], refers("casino", "only these brands")] = []
    group: Annotated[list[str], refers("group", "only what is in these groups; none: in no group")] = []
    tag: Annotated[list[str], limited("only what has one of these tags", items=MOST_TAGS)] = []
    day: Annotated[list[str], Meta(description="only these days of the range: 2026-10-05")] = []
    week: Annotated[list[str], Meta(description="only these weeks: 2026-W40")] = []
    month: Annotated[list[str], Meta(description="only these months: 2026-10")] = []
    country: Annotated[list[str], Meta(description="only visitors of these countries: DE, AT")] = []
    device: Annotated[list[str], Meta(description="only these devices: mobile, desktop, tablet")] = []
    sub1: Annotated[list[str], SUB_FILTER] = []
    sub2: Annotated[list[str], SUB_FILTER] = []
    sub3: Annotated[list[str], SUB_FILTER] = []
    sub4: Annotated[list[str], SUB_FILTER] = []
    sub5: Annotated[list[str], SUB_FILTER] = []
    sub6: Annotated[list[str], SUB_FILTER] = []
    sub7: Annotated[list[str], SUB_FILTER] = []
    sub8: Annotated[list[str], SUB_FILTER] = []
    sub9: Annotated[list[str], SUB_FILTER] = []
    sub10: Annotated[list[str], SUB_FILTER] = []
    vs: Annotated[str | None, day_range("compare with another range: previous, last week, last monday")] = None
    sort: Annotated[str | None, Meta(description="a measure to sort by; -commission: the highest first")] = None
    own: Annotated[
        list[str], limited("own columns by formula: Margin = profit / commission * 100", items=MOST_OWN)
    ] = []
    top: Annotated[Positive | None, Meta(description="only the first rows of the order, at most this many")] = None
    limit: Annotated[Positive | None, Meta(description="rows of a page, at most")] = None
    after: Annotated[str | None, Meta(description="`next` of the page before")] = None
    format: Annotated[str, choices("what HTTP and the shell answer with", "json", "csv")] = "json"
    clock: Annotated[str, choices("count on the day it happened, or of the click", "event", "visit")] = "event"
    csv: Annotated[bool, Meta(description="as a file for a spreadsheet")] = False
    as_of: Annotated[
        str | None,
        Meta(description="as it was believed then: 2026-10-05T09:00, in the report time zone unless it names another"),
    ] = None


def stats_message(ctx: Context, report: MergedReport) -> Message:
    by = ctx.notes["by"]
    totals, currency = report.totals, report.currency
    shown_days = days(report.from_, report.to)
    title = (
        f"{shown_days}: {plural(totals.clicks, 'click')}, {layered_plural(totals.registrations, 'reg')}, "
        f"{layered_plural(totals.first_deposits, 'FTD')}, commission {worded_commission(totals, currency)}"
    )
    if not report.rows and not report.unassigned and not ctx.notes["csv"] and not ctx.notes.get("imported"):
        if first := guide(ctx, ctx.notes.get("done_steps", frozenset())):
            return Message(f"{shown_days}: no figures yet. Steps to the first ones", first, private=True)
        return Message(f"{shown_days}: nothing happened", (_buttons(ctx, report, by),), private=True)
    as_of = ""
    if instant := ctx.notes.get("as_of"):
        as_of = f" · as of {instant.astimezone(ctx.deployment.zone):%Y-%m-%d %H:%M} {report.timezone} time"
    sort = ctx.notes.get("sort", "")
    order = f" · {'highest' if sort[:1] == '-' else 'lowest'} {spoken_measure(sort)} first" if sort else ""
    imported = (Notice("info", f"the tracker before counted, too: history {report.from_}..{report.to}"),)
    rest = (
        *(imported if ctx.notes.get("imported") else ()),
        Text(f"{report.timezone} days, {currency}{order}{as_of}"),
        *_warnings(report),
    )
    files: tuple[Block, ...] = (ctx.notes["file"],) if "file" in ctx.notes else ()
    if "top" in ctx.notes:
        files = (ctx.notes["top"], *files)
    compared: tuple[Block, ...] = ()
    if isinstance(report.versus, ComparedRange):
        versus = Text(f"Against {days(report.versus.from_, report.versus.to)}", strong=True)
        compared = (versus, change_table(report, report.versus, by))
    beyond = "the file has them all" if "file" in ctx.notes else "CSV has them all"
    blocks = (
        report_table(report, by, beyond=beyond, sort=sort),
        *compared,
        *files,
        *rest,
        _buttons(ctx, report, by),
    )
    return Message(title, blocks, private=True)


def _warnings(report: MergedReport) -> Iterable[Block]:
    if lacking := unconverted(report):
        yield Notice("warning", lacking)
    if report.unassigned:
        yield Notice("warning", "some figures belong to no offer: add an offer with that account and tag")


def _buttons(ctx: Context, report: MergedReport, by: list[str]) -> Buttons:
    line = f"stats {report.from_}..{report.to}{ctx.notes['kept']}"
    other = [dimension for dimension in ("day", "campaign", "offer", "source") if [dimension] != by][:3]
    buttons = [Button(f"By {dimension}", f"{line} by {dimension}") for dimension in other]
    grouped = f"{line} by {','.join(by)}"
    return Buttons((*buttons, Button("CSV", f"{grouped} csv=true")))


@command(
    "stats",
    role=Role.VIEWER,
    scope=Scope.OWN,
    render=stats_message,
    reads=True,
    reports=True,
    positional=("range",),
    keywords=("by", "top", "vs"),
)
async def stats(ctx: Context, new: StatsQuery) -> MergedReport:
    """Clicks, registrations, FTDs, commission, spend and profit of a range."""
    report: MergedReport = await reported(ctx, new)
    if not ctx.encodes:
        if not report.rows:
            ctx.notes["done_steps"] = await done_steps(ctx.tx, ctx.team_id)
        ctx.notes["imported"] = await has_history(ctx.tx, ctx.team_id, report.from_, report.to, ctx.actor.campaigns)
    return report


async def reported(ctx: Context, new: StatsQuery) -> Any:
    """The MergedReport; where only its JSON is wanted, a PagedReport or ReportParts if there is one."""
    query = await _query(ctx, new)
    own = _own(new)
    if (new.sort or "").removeprefix("-") not in own:
        check_sort(new.sort)
    arranged = new.sort or new.top is not None or new.limit is not None or new.after is not None or new.vs or own
    parts = None if await is_light(ctx.tx, query) else await ctx.ports.report_in_helper(query)
    encoded = ctx.encodes and not arranged and _format(new.format) != "csv"
    if encoded and (payload := parts or await paged_report(ctx.tx, query)):
        return payload
    report = await parts.report() if parts else await merged_report(ctx.tx, query)
    if new.vs:
        report = msgspec.structs.replace(report, versus=await _versus(ctx, new, query))
    report = await _arranged(ctx, new, report, own)
    if own:
        report = await asyncio.to_thread(with_own, report, own)
    too_long = ctx.face == "telegram" and len(report.rows) > LONG
    if ctx.notes["csv"] or too_long:
        ctx.notes["file"] = await report_file(report, query.by, named=ctx.face in CHATS)
    if too_long and not ctx.notes["csv"]:
        ctx.notes["top"] = top_chart(report, query.by, measure=(new.sort or "").removeprefix("-"))
    return report


async def _query(ctx: Context, new: StatsQuery) -> ReportQuery:
    """What is asked for, noted for the message. Raises Refused at the field."""
    try:
        first, last = period(new.range, ctx.today)
    except ValueError as error:
        raise Refused(f"range: {error}", field="range") from None
    if first.year < 2000 or last.year > 9000:
        field = "from" if hasattr(new, "from_") else "range"
        raise Refused(f"{field}: {first}..{last}: days from the year 2000 on can be asked for", field=field)
    by = new.by if new.by is not None else [await dimension(ctx.tx, ctx.team_id)]
    chosen = await filters(ctx, new)
    query = ReportQuery(
        team_id=ctx.team_id, first=first, last=last, by=tuple(by), clock=_clock(new.clock),
        as_of=moment(new.as_of, ctx, "as_of"), timezone=ctx.deployment.timezone, currency=ctx.deployment.currency,
        values=values(new), **chosen,
    )  # fmt: skip
    ctx.notes |= {
        "by": by, "csv": new.csv or _format(new.format) == "csv", "kept": _kept(new, chosen), "as_of": query.as_of,
        "sort": new.sort or "",
    }  # fmt: skip
    return query


def _own(new: StatsQuery) -> dict[str, Measure]:
    """Columns by formula. Raises Refused at `own`."""
    return {column.name: read_formula(column.formula) for column in read_own(new.own)}


async def _arranged(ctx: Context, new: StatsQuery, report: MergedReport, own: dict[str, Measure]) -> MergedReport:
    """The rows asked for; people see first what weighs most, unless they wish another order or look at periods."""
    in_chat = ctx.face in CHATS
    if in_chat and not set(ctx.notes["by"]) & set(PERIODS):
        report = by_weight(report)
    sorting = partial(
        arrange, report, sort=new.sort, top=new.top, limit=new.limit, after=new.after, pending_last=in_chat, own=own
    )
    return sorting() if len(report.rows) < MANY_ROWS else await asyncio.to_thread(sorting)


async def _versus(ctx: Context, new: StatsQuery, query: ReportQuery) -> ComparedRange:
    """The report of the range that is compared with. Raises Refused at `vs`."""
    word = (new.vs or "").strip().lower()
    try:
        previous = word in {"previous", "prev", "before", "last"}
        first, last = previous_period(new.range, query.first, query.last) if previous else period(word, ctx.today)
    except ValueError as error:
        raise Refused(f"vs: {error}", field="vs") from None
    if first.year < 2000 or (last - first).days >= MAX_DAYS:
        raise Refused(f"vs: {first}..{last}: at most {MAX_DAYS:,} days from the year 2000 on", field="vs")
    other = msgspec.structs.replace(query, first=first, last=last)
    parts = None if await is_light(ctx.tx, other) else await ctx.ports.report_in_helper(other)
    report = await parts.report() if parts else await merged_report(ctx.tx, other)
    return ComparedRange(from_=report.from_, to=report.to, rows=report.rows, totals=report.totals)


def quoted(text: str) -> str:
    """A value as a command line takes it."""
    return f'"{text}"' if re.search(r"[\s'=]", text) else text


def _kept(new: StatsQuery, chosen: dict[str, Any]) -> str:
    """The filters again, for the buttons beneath."""
    words = [f" {name.removesuffix('s')}={quoted(','.join(codes))}" for name, codes in chosen.items()]
    words += [f' {name}="{",".join(chosen)}"' for name, chosen in values(new).items()]
    words += [" clock=visit"] if new.clock == "visit" else []
    words += [f' own="{", ".join(new.own)}"'] if new.own else []
    words += [f" sort={quoted(new.sort)}"] if new.sort else []
    words += [f" top={new.top}"] if new.top else []
    words += [f' vs="{new.vs}"'] if new.vs else []
    return "".join(words) + (f' as_of="{new.as_of}"' if new.as_of else "")


def values(new: StatsQuery) -> dict[str, tuple[str, ...]]:
    """Values to keep of periods, country, device and sub ids. Raises Refused at a period there is none of."""
    filters = {name: tuple(getattr(new, name)) for name in DIMENSIONS if name not in ENTITIES}
    for name, (pattern, example) in PERIOD_VALUES.items():
        for value in filters[name]:
            if not re.fullmatch(pattern, value) or not _exists(name, value):
                raise Refused(f"{name}: {value!r} is no {name}: write {example}", field=name)
    return {name: chosen for name, chosen in filters.items() if chosen}


def _exists(name: str, value: str) -> bool:
    """Whether the calendar has a period that is written as reports write it."""
    year, _, rest = value.partition("-")
    try:
        if name == "week":
            return bool(date.fromisocalendar(int(year), int(rest[1:]), 1))
        return bool(date.fromisoformat(value if name == "day" else f"{value}-01"))
    except ValueError:
        return False


def _format(word: str) -> str:
    if word not in {"json", "csv"}:
        raise Refused(f"format: {word!r} is neither json nor csv", field="format")
    return word


def _clock(word: str) -> Literal["event", "visit"]:
    if word not in {"event", "visit"}:
        raise Refused(f"clock: {word!r} is neither event nor visit", field="clock")
    return "visit" if word == "visit" else "event"


def moment(word: str | None, ctx: Context, field: str) -> datetime | None:
    """An instant, or a day: then the end of it, in the report time zone. Raises Refused at the field."""
    if not word:
        return None
    try:
        if "T" in word or ":" in word:
            instant = datetime.fromisoformat(word.replace(" ", "+"))  # a + that came through a URL as it is
        else:
            instant = datetime.combine(day(word, ctx.today) + timedelta(days=1), time())
    except (ValueError, OverflowError):
        text = f"{field}: {word!r} is not a moment: write 2026-10-05T09:00 or 2026-10-05"
        raise Refused(text, field=field) from None
    if not 2000 <= instant.year <= 9998:  # outside, converting to UTC fails
        raise Refused(f"{field}: {word!r} is before 2000 or after 9998: nothing was recorded then", field=field)
    return instant if instant.tzinfo else instant.replace(tzinfo=ctx.deployment.zone)


async def _code(ctx: Context, table: Table, word: str, *, field: str) -> str:
    if table is groups and word.lower() == NONE:
        return NONE
    return str((await names.find(ctx.tx, table, ctx.team_id, word, field=field)).code)


async def filters_of(ctx: Context, table: Table, words: Iterable[str], field: str) -> list[str]:
    """The codes that words of a filter name. Raises Missing at `field`."""
    return [await _code(ctx, table, word, field=field) for word in words]


async def filters(ctx: Context, new: StatsQuery) -> dict[str, Any]:
    """Codes to keep, per dimension; a buyer with own campaigns sees those only."""
    chosen: dict[str, Any] = {}
    for several, table in FILTERS.items():
        field = several.removesuffix("s")
        codes = await filters_of(ctx, table, getattr(new, field), field)
        if codes:
            chosen[several] = tuple(codes)
    if new.tag:
        chosen["tags"] = tuple(new.tag)
    mine = ctx.actor.campaigns
    if mine is not None:
        chosen.setdefault("campaigns", mine)
    return chosen


class ReportArguments(StatsQuery, kw_only=True):
    from_: Annotated[date, day_range("first day, in the reporting time zone")]
    to: Annotated[date, Meta(description="last day, included")]
    range: str = ""


@command(
    "report merged",
    role=Role.VIEWER,
    scope=Scope.OWN,
    render=stats_message,
    reads=True,
    reports=True,
    positional=("from", "to"),
    keywords=("by", "top"),
)
async def report_merged(ctx: Context, new: ReportArguments) -> MergedReport:
    """Both layers of a range merged, by any dimensions."""
    if new.to < new.from_:
        raise Refused(f"to: {new.to} is before {new.from_}: the other way round?", field="to")
    new.range = f"{new.from_.isoformat()}..{new.to.isoformat()}"
    report: MergedReport = await reported(ctx, new)
    return report

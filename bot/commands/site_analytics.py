"""What visitors do on sites, and what comes of it: analytics of one, an overview of all, the funnel as a report."""

from datetime import date
from typing import Annotated

import msgspec
from sqlalchemy import Row, select

from bot.commands.sites import Which, find_site
from bot.core.arguments import Arguments, choices
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import day_range
from bot.core.message import Message, Table, Text
from bot.core.permissions import Scope, own_campaigns, visible
from bot.core.tokenizer import period
from bot.render.figures import count, days, layered_plural, money, plural, share
from storage.catalogue import site_snapshot
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.reports.report_rows import ReportRow
from storage.reports import analytics
from storage.reports.analytics import Behaviour, PageEvent
from storage.reports.merged_report import ReportQuery
from storage.reports.report_in_helper import report_of
from storage.tables import sites as table

MOST_EVENTS = 30  # of a page, in its report

Range = Annotated[str, day_range("today, yesterday, 7d, 30d, mtd, a day, or <from>..<to>")]


class AnalyticsQuery(Arguments):
    site: Which
    range: Range = "7d"
    by: Annotated[str, choices("what to look at it by", *analytics.DIMENSIONS)] = "day"


class ReportArguments(Arguments):
    site: Which
    range: Range = "30d"


class OverviewQuery(Arguments):
    range: Range = "7d"


class Analytics(msgspec.Struct, frozen=True, kw_only=True):
    """What visitors did, in all and by a trait."""

    site: str
    from_: date = msgspec.field(name="from")
    to: date
    total: Behaviour | None
    rows: list[Behaviour]


class FunnelLine(msgspec.Struct, frozen=True, kw_only=True):
    """One offer in one variant: seen, opened, registered, deposited. Null is not measured; money in micro-units."""

    variant: str
    position: int | None
    offer: str
    impressions: int | None
    clicks: int
    ctr: float | None
    registrations: int | None
    first_deposits: int | None


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """A site from visit to commission. `offers` are rows of the merged report: both layers, with the money."""

    site: str
    from_: date = msgspec.field(name="from")
    to: date
    currency: str
    visits: int | None
    visitors: int | None
    outgoing: int
    registrations: int | None
    first_deposits: int | None
    commission: int | None
    lines: list[FunnelLine]
    offers: list[ReportRow]
    totals: ReportRow
    events: list[PageEvent] = []  # that the pages name, the most frequent first


class OverviewLine(msgspec.Struct, frozen=True, kw_only=True):
    site: str
    status: str
    visits: int | None
    visitors: int | None
    ctr: float | None
    registrations: int | None
    first_deposits: int | None
    commission: int | None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    from_: date = msgspec.field(name="from")
    to: date
    currency: str
    items: list[OverviewLine]


def analytics_table(ctx: Context, report: Analytics) -> Message:
    title = f"Visitors of {ctx.name('site', report.site)}, {days(report.from_, report.to)}"
    if report.total is None:
        return Message(title, (Text("No visitor has been measured in this range."),), private=True)
    rows = tuple(_behaviour_row(ctx, row) for row in report.rows[:40])
    dimension = next(iter(report.rows[0].group)).capitalize()
    columns = (dimension, "Views", "Visitors", "Bounced", "Seconds", "Scrolled", "Went on")
    total = report.total
    summary = Text(f"{plural(total.visitors, 'visitor')}, {share(total.ctr, 1)} went on to an offer", strong=True)
    return Message(
        title, (summary, Table(columns, rows, numeric=(1, 2, 3, 4, 5, 6), phone=(0, 2, 3, 5, 6))), private=True
    )


def _behaviour_row(ctx: Context, row: Behaviour) -> tuple[str, ...]:
    dimension, value = next(iter(row.group.items()))
    seconds = "–" if row.seconds is None else f"{row.seconds:g}"
    shares = share(row.bounce_rate, 1), seconds, share(row.scroll, 1), share(row.ctr, 1)
    return ctx.name(dimension, value), str(row.views), str(row.visitors), *shares


def funnel_table(ctx: Context, funnel: Funnel) -> Message:
    regs, ftds = funnel.totals.registrations, funnel.totals.first_deposits
    title = (
        f"{ctx.name('site', funnel.site)}, {days(funnel.from_, funnel.to)}: {plural(funnel.visits, 'visit')}, "
        f"{count(funnel.outgoing)} to offers, {layered_plural(regs, 'reg')}, "
        f"{layered_plural(ftds, 'FTD')}, {money(funnel.commission, funnel.currency)}"
    )
    rows = tuple(
        (line.variant, count(line.position), ctx.name("offer", line.offer), count(line.impressions),
         str(line.clicks), share(line.ctr, 1), count(line.registrations), count(line.first_deposits))
        for line in funnel.lines
    )  # fmt: skip
    columns = ("Variant", "Position", "Offer", "Seen", "Opened", "CTR", "Regs", "FTDs")
    tables = [Table(columns, rows, numeric=(1, 3, 4, 5, 6, 7), phone=(0, 2, 4, 6, 7))] if rows else []
    if funnel.events:
        events = tuple((each.event, count(each.views), count(each.visitors)) for each in funnel.events)
        tables.append(Table(("Event", "Views", "Visitors"), events, numeric=(1, 2)))
    return Message(title, tuple(tables) or (Text("No visitor has been measured in this range."),), private=True)


def overview_table(ctx: Context, overview: Overview) -> Message:
    if not overview.items:
        return Message("No sites yet: site create name=… market=DE offers=…", private=True)
    rows = tuple(
        (ctx.name("site", line.site), line.status, count(line.visits), share(line.ctr, 1),
         count(line.registrations), count(line.first_deposits), money(line.commission, overview.currency))
        for line in overview.items
    )  # fmt: skip
    columns = ("Site", "Status", "Visits", "CTR", "Regs", "FTDs", "Commission")
    return Message(
        f"Sites, {days(overview.from_, overview.to)}",
        (Table(columns, rows, numeric=(2, 3, 4, 5, 6), phone=(0, 2, 4, 5, 6)),),
        private=True,
    )


@command("site analytics", role=Role.VIEWER, render=analytics_table, reads=True, reports=True,
         positional=("site", "range"), keywords=("by",))  # fmt: skip
async def site_analytics(ctx: Context, new: AnalyticsQuery) -> Analytics:
    """Views, visitors, bounces, time, scrolling and offers opened, by day, variant, device, country and more."""
    row, (first, last) = await find_site(ctx, new.site), _range(ctx, new.range)
    total = await analytics.behaviour(ctx.tx, [row.id], first, last, only=own_campaigns(ctx.actor))
    rows = await analytics.behaviour(ctx.tx, [row.id], first, last, by=new.by, only=own_campaigns(ctx.actor))
    if new.by == "day":
        rows = sorted(rows, key=lambda row: row.group["day"])
    return Analytics(site=row.code, from_=first, to=last, total=total[0] if total else None, rows=rows)


@command("site report", role=Role.VIEWER, render=funnel_table, reads=True, reports=True, positional=("site", "range"))
async def site_report(ctx: Context, new: ReportArguments) -> Funnel:
    """From visit to commission: what each offer brought, in each variant and position."""
    row, (first, last) = await find_site(ctx, new.site), _range(ctx, new.range)
    report = await report_of(
        ctx.tx, _query(ctx, first, last, by=("offer",), sites=(row.code,)), ctx.ports.report_in_helper
    )
    people = await analytics.behaviour(ctx.tx, [row.id], first, last, only=own_campaigns(ctx.actor))
    totals = report.totals
    lines = _with_rest(await _lines(ctx, row, first, last), totals.outgoing)
    return Funnel(
        site=row.code, from_=first, to=last, currency=report.currency, visits=totals.site_visits,
        visitors=people[0].visitors if people else None,
        outgoing=sum(line.clicks for line in lines),
        registrations=totals.registrations.merged, first_deposits=totals.first_deposits.merged,
        commission=totals.commission, lines=lines, offers=report.rows, totals=totals,
        events=await analytics.page_events(
            ctx.tx, row.id, first=first, last=last, only=own_campaigns(ctx.actor), most=MOST_EVENTS
        ),
    )  # fmt: skip


@command(
    "site overview",
    role=Role.VIEWER,
    scope=Scope.OWN,
    render=overview_table,
    reads=True,
    reports=True,
    positional=("range",),
)
async def site_overview(ctx: Context, new: OverviewQuery) -> Overview:
    """All sites side by side: visits, CTR, registrations, first deposits, commission."""
    first, last = _range(ctx, new.range)
    rows = list(
        await ctx.tx.execute(
            select(table).where(table.c.team_id == ctx.team_id, visible(ctx.actor, "site")).order_by(table.c.id)
        )
    )
    report = await report_of(ctx.tx, _query(ctx, first, last, by=("site",), sites=None), ctx.ports.report_in_helper)
    row_of_site = {row.group["site"]: row for row in report.rows}
    people = await analytics.behaviour(
        ctx.tx, [row.id for row in rows], first, last, by="site", only=own_campaigns(ctx.actor)
    )
    did = {behaviour.group["site"]: behaviour for behaviour in people}
    items = [_overview_line(row, row_of_site.get(row.code), did.get(str(row.id))) for row in rows]
    return Overview(from_=first, to=last, currency=report.currency, items=items)


def _overview_line(row: Row[tuple[object, ...]], figures: ReportRow | None, did: Behaviour | None) -> OverviewLine:
    return OverviewLine(
        site=row.code, status=row.status, visits=figures.site_visits if figures else None,
        visitors=did.visitors if did else None, ctr=did.ctr if did else None,
        registrations=figures.registrations.merged if figures else None,
        first_deposits=figures.first_deposits.merged if figures else None,
        commission=figures.commission if figures else None,
    )  # fmt: skip


def _with_rest(lines: list[FunnelLine], outgoing: int | None) -> list[FunnelLine]:
    """The lines, and one for outgoing clicks whose detail has expired: the lines sum to what the site sent on."""
    rest = (outgoing or 0) - sum(line.clicks for line in lines)
    if rest <= 0:
        return lines
    expired = FunnelLine(
        variant="–", position=None, offer="–", impressions=None, clicks=rest, ctr=None, registrations=None,
        first_deposits=None,
    )  # fmt: skip
    return [*lines, expired]


async def _lines(ctx: Context, row: Row[tuple[object, ...]], first: date, last: date) -> list[FunnelLine]:
    site_id, only = int(row.id), own_campaigns(ctx.actor)
    showings = {
        (showing.variant, showing.offer): showing
        for showing in await analytics.showings(ctx.tx, site_id, first, last, only=only)
    }
    opened = await analytics.outgoing_clicks(ctx.tx, site_id, first, last, only=only)
    done = {
        (conversion.variant, conversion.offer): conversion
        for conversion in await analytics.converted(ctx.tx, site_id, first, last, only=only)
    }
    places = await _positions(ctx, site_id)
    return [
        _line(key, places.get(key), showings.get(key), opened.get(key), done.get(key))
        for key in sorted(
            showings.keys() | opened.keys() | done.keys(), key=lambda key: (key[0], places.get(key, 99), key[1])
        )
    ]


def _line(
    key: tuple[str, str],
    place: int | None,
    showing: analytics.OfferVisits | None,
    opened: int | None,
    done: analytics.Converted | None,
) -> FunnelLine:
    clicks = showing.clicks if opened is None and showing else opened or 0
    shown = showing.impressions if showing else None
    return FunnelLine(
        variant=key[0], position=place, offer=key[1], impressions=shown, clicks=clicks,
        ctr=clicks / shown if shown and clicks <= shown else None,
        registrations=done.registrations if done else None, first_deposits=done.first_deposits if done else None,
    )  # fmt: skip


async def _positions(ctx: Context, site_id: int) -> dict[tuple[str, str], int]:
    """Where each offer stands in each variant now, 1 on top."""
    site = next(site for site in (await site_snapshot.load(ctx.tx)).sites if site.id == site_id)
    return {(variant.code, card.offer_code): n for variant in site.variants for n, card in enumerate(variant.cards, 1)}


def _query(ctx: Context, first: date, last: date, *, by: tuple[str, ...], sites: tuple[str, ...] | None) -> ReportQuery:
    return ReportQuery(
        team_id=ctx.team_id, first=first, last=last, by=by, sites=sites, campaigns=ctx.actor.campaigns,
        timezone=ctx.deployment.timezone,
        currency=ctx.deployment.currency,
    )  # fmt: skip


def _range(ctx: Context, text: str) -> tuple[date, date]:
    try:
        return period(text, ctx.today)
    except ValueError as error:
        raise Refused(f"range: {error}", field="range") from None

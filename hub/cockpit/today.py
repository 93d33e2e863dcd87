"""Today: what happened so far against yesterday and the usual day, the last 30 days, what moves, what needs a look."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.commands.forecasts import DAYS as PENDING_DAYS
from bot.digests.loading import attention_of
from bot.digests.message import CHART_DAYS, LOOK_BACK, DigestRequest, chart_days
from bot.render.figures import outcomes_inside
from hub.cockpit.charts import commission_chart, sparkline
from hub.cockpit.page import Cockpit, Visit
from storage.alerts import live_counts
from storage.alerts.live_counts import Scope
from storage.catalogue import campaigns
from storage.ledger.dates import day_bounds
from storage.ledger.reports.report_rows import MergedReport, ReportRow
from storage.reports.forecast import Forecast, forecast_of, history_query
from storage.reports.report_apart import ReportParts, reports_of, several_report_parts
from storage.reports.report_view import ReportQuery

MOVERS = 5
ENOUGH = 5  # events; a change against fewer says nothing
#: Where a note of what needs a look leads.
LEADS_TO = {
    "revenue": "/cockpit/revenue", "postbacks": "/cockpit/logs/postbacks?outcome=unmatched",
    "deliveries": "/cockpit/logs/sent?state=dead", "offers": "/cockpit/offer", "domains": "/cockpit/domain",
    "digests": "/cockpit/digests",
}  # fmt: skip
COUNTED = (("clicks", "Clicks"), ("registrations", "Registrations"), ("first_deposits", "FTDs"))


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of the top row, in words, and what it is compared with."""

    label: str
    value: str
    beside: tuple[str, ...] = ()
    tone: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the page says of whole days: the last 30, those of campaigns that move, and what is pending."""

    by_day: MergedReport
    by_campaign: MergedReport
    forecast: Forecast


class Mover(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign whose last seven days differ from the seven before."""

    code: str
    name: str
    first_deposits: int
    commission: int | None
    points: Any


def today_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit")
    async def today(visit: Visit) -> Response[Any]:
        context = visit.context()
        day, now = context.today, context.now
        facts = await _read(visit, day, now)
        report = facts.by_day
        figures = [*await _counts(visit, day, now), *_money(visit, facts, day)]
        days = chart_days(report, day)
        has_money = any(amount is not None for day in days for amount in (day.settled, day.pending, day.spend))
        chart = commission_chart(days, report.currency) if has_money else None
        return visit.html(
            "today.html", section="today", title="Today", day=day, figures=figures, chart=chart,
            movers=_movers(facts.by_campaign, day), attention=await _attention(visit, day, now), leads_to=LEADS_TO,
            started=bool(report.rows) or await _has_any(visit),
        )  # fmt: skip

    return [today]


async def _read(visit: Visit, day: date, now: datetime) -> Facts:
    """Reports and forecast, read at once: large ones in the helper process."""
    runtime = visit.cockpit.runtime
    last, two_weeks = day - timedelta(days=1), day - timedelta(days=2 * LOOK_BACK)
    chart = ReportQuery(
        team_id=visit.actor.team_id, first=day - timedelta(days=CHART_DAYS - 1), last=day,
        timezone=visit.deployment.timezone, currency=visit.deployment.currency, campaigns=visit.actor.campaigns,
    )  # fmt: skip
    pending = msgspec.structs.replace(chart, first=day - timedelta(days=PENDING_DAYS))
    movers = msgspec.structs.replace(chart, first=two_weeks, last=last, by=("day", "campaign"))

    async def apart(queries: Sequence[ReportQuery]) -> list[ReportParts]:
        parts: list[ReportParts] = await runtime.ports.run_apart(
            several_report_parts, runtime.settings.database_url, queries, advice="load the page again"
        )
        return parts

    async with runtime.database.read() as tx:
        by_day, by_campaign, history = await reports_of(tx, [chart, movers, history_query(pending)], apart)
        return Facts(by_day=by_day, by_campaign=by_campaign,
                     forecast=await forecast_of(tx, pending, history, now=now))  # fmt: skip


async def _has_any(visit: Visit) -> bool:
    return bool((await visit.ask("offer list", limit=1)).items)


async def _counts(visit: Visit, day: date, now: datetime) -> list[Figure]:
    """Clicks, registrations and FTDs so far, the same hours of yesterday, and those of the usual day."""
    zone = visit.deployment.zone
    start = day_bounds(day, zone)[0]
    spans = [(start, now), *(_hours_of(day - timedelta(days=n), zone, start, now) for n in range(1, LOOK_BACK + 1))]
    async with visit.cockpit.runtime.database.read() as tx:
        ids = None
        if visit.actor.campaigns is not None:
            ids = tuple(await campaigns.ids_of(tx, visit.actor.team_id, visit.actor.campaigns))
        scope = Scope(visit.actor.team_id, visit.deployment.timezone, now, ids)
        counts = await live_counts.counted_by_span(tx, scope, [measure for measure, _ in COUNTED], spans)
    return [
        _counted(visit, label, counts[measure][0], counts[measure][1], sum(counts[measure][1:]) / LOOK_BACK)
        for measure, label in COUNTED
    ]


def _hours_of(day: date, zone: Any, start: datetime, now: datetime) -> tuple[datetime, datetime]:
    """The hours of another day that correspond to today's so far."""
    first = day_bounds(day, zone)[0]
    return first, first + (now - start)


def _counted(visit: Visit, label: str, now: float, before: float, usual: float) -> Figure:
    show = visit.show
    beside = (
        _against(visit, now, before, "yesterday by now"),
        _against(visit, now, usual, "on a usual day"),
    )
    few = usual < ENOUGH or abs(now - usual) / usual < 0.1
    tone = "" if few else "up" if now > usual else "down"
    return Figure(label=label, value=show.count(round(now)), beside=beside, tone=tone)


def _against(visit: Visit, now: float, other: float, words: str) -> str:
    """`120 yesterday by now, +12 %`; the change is left out where a few more would make it."""
    shown = visit.show.count(round(other, 1 if other < ENOUGH else 0))
    change = visit.show.change(now, other) if other >= ENOUGH else ""
    return f"{shown} {words}" + (f", {change}" if change else "")


def _money(visit: Visit, facts: Facts, day: date) -> list[Figure]:
    """Commission, spend, profit and ROI of yesterday, and what the pending days may bring."""
    show = visit.show
    rows = {row.group["day"]: row for row in facts.by_day.rows}
    yesterday = rows.get((day - timedelta(days=1)).isoformat())
    before = rows.get((day - timedelta(days=2)).isoformat())
    today = rows.get(day.isoformat())
    month = facts.by_day.totals
    return [
        _amount(visit, "Commission yesterday", yesterday, before, "commission"),
        _pending(visit, facts.forecast),
        Figure(
            label="Spend today",
            value=show.money(today.spend if today else None),
            beside=(f"{show.money(yesterday.spend if yesterday else None)} yesterday",),
        ),
        Figure(label="Profit, 30 days", value=show.money(month.profit), beside=(_settled_words(month),)),
        Figure(
            label="ROI, 30 days",
            value=show.percent(month.profit, month.spend, digits=0) if month.commission is not None else "–",
            beside=(f"commission {show.money(month.commission)}", f"spend {show.money(month.spend)}"),
        ),
    ]


def _pending(visit: Visit, made: Forecast) -> Figure:
    """What the pending days may bring, and how such estimates did."""
    show = visit.show
    if not made.items:
        return Figure(label="Commission pending", value="–", beside=("nothing is pending",))
    lacking = sorted({item.offer for item in made.items if item.forecast is None})
    without = (f"no estimate yet: {', '.join(lacking)}",) if lacking else ()
    if made.total is None:
        why = next((item.lacking for item in made.items if item.lacking), None)
        return Figure(
            label="Commission pending", value="–", tone="pending", beside=(*without, *((why,) if why else ()))
        )
    between = f"80 %: {show.money(made.total.low)} to {show.money(made.total.high)}"
    record = outcomes_inside(made.total_accuracy)
    return Figure(
        label="Commission pending", value=f"≈ {show.money(made.total.estimate)}", tone="pending",
        beside=(between, *((record,) if record else ()), *without),
    )  # fmt: skip


def _amount(visit: Visit, label: str, row: ReportRow | None, before: ReportRow | None, measure: str) -> Figure:
    value = getattr(row, measure) if row else None
    settled = row is not None and row.settlement == "settled"
    state = "settled" if settled else "not settled yet"
    missing = "pending" if row is not None and not settled else "–"
    other = getattr(before, measure) if before else None
    beside = (f"{state}", f"{visit.show.money(other)} the day before")
    return Figure(label=label, value=visit.show.money(value, missing=missing), beside=beside,
                  tone="" if settled else "pending")  # fmt: skip


def _settled_words(row: ReportRow) -> str:
    return {"settled": "all days settled", "partial": "some days not settled"}.get(row.settlement, "not settled yet")


def _movers(report: MergedReport, day: date) -> tuple[list[Mover], list[Mover]]:
    """Campaigns that rise and fall: the last seven whole days against the seven before, by FTDs, else by clicks."""
    places = {(day - timedelta(days=2 * LOOK_BACK - n)).isoformat(): n for n in range(2 * LOOK_BACK)}
    rows_by_code: dict[str, list[ReportRow | None]] = {}
    for row in report.rows:
        if code := row.group["campaign"]:
            rows = rows_by_code.setdefault(code, [None] * len(places))
            rows[places[row.group["day"] or ""]] = row
    series = {code: _series(rows) for code, rows in rows_by_code.items()}
    changes = {code: sum(values[LOOK_BACK:]) - sum(values[:LOOK_BACK]) for code, values in series.items()}
    order = sorted(changes, key=lambda code: changes[code])
    rising = [code for code in reversed(order) if changes[code] > 0][:MOVERS]
    falling = [code for code in order if changes[code] < 0][:MOVERS]
    names = report.names.get("campaign", {})

    def shown(codes: list[str]) -> list[Mover]:
        return [_mover(code, names.get(code, code), rows_by_code[code][LOOK_BACK:], series[code]) for code in codes]

    return shown(rising), shown(falling)


def _series(rows: Sequence[ReportRow | None]) -> list[int]:
    """FTDs of each day; clicks where there is none."""
    deposits = [row.first_deposits.merged or 0 if row else 0 for row in rows]
    return deposits if any(deposits) else [row.clicks or 0 if row else 0 for row in rows]


def _mover(code: str, name: str, last_week: Sequence[ReportRow | None], series: list[int]) -> Mover:
    rows = [row for row in last_week if row is not None]
    amounts = [row.commission for row in rows if row.commission is not None]
    return Mover(
        code=code, name=name, first_deposits=sum(row.first_deposits.merged or 0 for row in rows),
        commission=sum(amounts) if amounts else None,
        points=sparkline(series, f"{name}: the last {len(series)} days"),
    )  # fmt: skip


async def _attention(visit: Visit, day: date, now: datetime) -> list[Any]:
    """Held reports, vanished figures, failed syncs, unmatched postbacks, dead links, domains."""
    request = DigestRequest(
        team_id=visit.actor.team_id, first=day - timedelta(days=1), last=day, every="day",
        campaigns=visit.actor.campaigns, told_until=now - timedelta(days=1), now=now, deployment=visit.deployment,
    )  # fmt: skip
    async with visit.cockpit.runtime.database.read() as tx:
        return list(await attention_of(tx, request))

"""Today: what happened so far against yesterday and the usual day, the last 30 days, what moves, what needs a look."""

from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.commands.forecasts import DAYS as PENDING_DAYS
from bot.digests.loading import attention_of
from bot.digests.message import CHART_DAYS, LOOK_BACK, Attention, DigestRequest, chart_days
from bot.render.figures import NO_RATE, lacks_rate, outcomes_inside
from hub.cockpit.charts import commission_chart, sparkline
from hub.cockpit.page import Cockpit, Visit
from storage.alerts import live_counts
from storage.alerts.live_counts import Scope
from storage.catalogue import campaigns
from storage.ledger.dates import day_bounds
from storage.ledger.reports.report_rows import ReportRow
from storage.reports.forecast import Forecast
from storage.reports.movement import Mover
from storage.reports.overview import Overview, OverviewQuery, overview, overview_read_only
from storage.reports.report_view import ReportQuery

ENOUGH = 5  # events; a change against fewer says nothing
#: Where a note of what needs a look leads.
LEADS_TO = {
    "revenue": "/cockpit/revenue", "postbacks": "/cockpit/logs/postbacks?outcome=unmatched",
    "deliveries": "/cockpit/logs/sent?state=dead", "offers": "/cockpit/offer", "domains": "/cockpit/domain",
    "digests": "/cockpit/digests", "alerts": "/cockpit/alerts",
}  # fmt: skip
COUNTED = (("clicks", "Clicks"), ("registrations", "Registrations"), ("first_deposits", "FTDs"))


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of the top row, in words, and what it is compared with."""

    label: str
    value: str
    beside: tuple[str, ...] = ()
    tone: str = ""


def today_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit")
    async def today(visit: Visit) -> Response[Any]:
        context = visit.context()
        day, now = context.today, context.now
        made, counted, attention = await visit.together(
            _read(visit, day, now), _counts(visit, day, now), _attention(visit, day, now)
        )
        report = made.by_day
        days = chart_days(report, day)
        has_money = any(amount is not None for day in days for amount in (day.settled, day.pending, day.spend))
        chart = commission_chart(days, report.currency) if has_money else None
        movers = [(label, [(mover, _spark(mover)) for mover in some]) for label, some in (
            ("Rising", made.movement.rising), ("Falling", made.movement.falling)) if some]  # fmt: skip
        return await visit.html(
            "today.html", section="today", title="Today", day=day, figures=[*counted, *_money(visit, made, day)],
            chart=chart, movers=movers, attention=attention, leads_to=LEADS_TO,
            started=bool(report.rows) or await _has_any(visit),
        )  # fmt: skip

    return [today]


async def _read(visit: Visit, day: date, now: datetime) -> Overview:
    """Reports and forecast of whole days; large ones are read in the helper process."""
    runtime = visit.cockpit.runtime
    days = ReportQuery(
        team_id=visit.actor.team_id, first=day - timedelta(days=CHART_DAYS - 1), last=day,
        timezone=visit.deployment.timezone, currency=visit.deployment.currency, campaigns=visit.actor.campaigns,
    )  # fmt: skip

    async def in_helper(query: OverviewQuery) -> Overview:
        url, advice = runtime.settings.database_url, "load the page again"
        made: Overview = await runtime.ports.run_in_helper(overview_read_only, url, query, advice=advice)
        return made

    async with runtime.database.read() as tx:
        return await overview(tx, OverviewQuery(days=days, pending_days=PENDING_DAYS, now=now), in_helper)


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


def _money(visit: Visit, facts: Overview, day: date) -> list[Figure]:
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
    if row is not None and lacks_rate(row, measure):
        missing = NO_RATE
    other = getattr(before, measure) if before else None
    beside = (f"{state}", f"{visit.show.money(other)} the day before")
    return Figure(label=label, value=visit.show.money(value, missing=missing), beside=beside,
                  tone="" if settled else "pending")  # fmt: skip


def _settled_words(row: ReportRow) -> str:
    return {"settled": "all days settled", "partial": "some days not settled"}.get(row.settlement, "not settled yet")


def _spark(mover: Mover) -> Any:
    return sparkline(mover.series, f"{mover.name}: the last {len(mover.series)} days")


async def _attention(visit: Visit, day: date, now: datetime) -> list[Attention]:
    """What needs a look, read once in some seconds for all who see the same."""
    actor = visit.actor
    key = "attention", actor.team_id, actor.campaigns, visit.may("alert list"), day
    return await visit.cockpit.cache.read(key, lambda: _read_attention(visit, day, now))


async def _read_attention(visit: Visit, day: date, now: datetime) -> list[Attention]:
    """Alerts that fire, held reports, vanished figures, failed syncs, unmatched postbacks, dead links, domains."""
    alerts = await visit.ask_if_allowed("alert list", limit=500)
    fired = [
        Attention(level="error", text=f"alert: {alert.rule}" + _subjects(alert.firing), about="alerts")
        for alert in (alerts.items if alerts else [])
        if alert.state == "firing"
    ]
    request = DigestRequest(
        team_id=visit.actor.team_id, first=day - timedelta(days=1), last=day, every="day",
        campaigns=visit.actor.campaigns, told_until=now - timedelta(days=1), now=now, deployment=visit.deployment,
    )  # fmt: skip
    async with visit.cockpit.runtime.database.read() as tx:
        return [*fired, *await attention_of(tx, request)]


def _subjects(firing: list[str]) -> str:
    """What an alert fires for, where it says so."""
    named = [subject for subject in firing if subject]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return f" ({', '.join(named[:3])}{more})" if named else ""

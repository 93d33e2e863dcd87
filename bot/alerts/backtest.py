"""How often an alert would have fired in the last 30 days: a rule is tried before it is armed."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from statistics import fmean
from zoneinfo import ZoneInfo

import msgspec

from bot.alerts import conditions
from bot.alerts.context import AlertContext
from bot.alerts.figures import base_days, level_on, rows_by_day
from bot.core.serving import restated_offers
from storage.alerts import backtest, live_counts
from storage.ledger.alerts.thresholds import LIVE, Rule, breached, recovered
from storage.ledger.reports.report_rows import ReportRow
from storage.ledger.schedule import read_minutes
from storage.revenue import restatements
from storage.tables.types import day_of_hour

DAYS = 30


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """How many times, and on which report days; None where the past is not known."""

    times: int | None
    days: list[str]


async def run_backtest(context: AlertContext) -> Backtest:
    """The alert's rule, tried on the 30 days before today."""
    days = await BACKTESTS[context.rule.kind](context) if context.rule.kind in BACKTESTS else None
    if days is None:
        return Backtest(times=None, days=[])
    return Backtest(times=len(days), days=sorted({day.isoformat() for day in days}))


def first_day(context: AlertContext) -> date:
    return context.today - timedelta(days=DAYS)


def begin(context: AlertContext) -> datetime:
    return datetime.combine(first_day(context), time(), context.deployment.zone)


async def _figure(context: AlertContext) -> list[date]:
    rule = context.rule
    if rule.measure in LIVE and rule.window not in {"today", "yesterday"} and not rule.window.endswith("d"):
        return await _by_hour(context)
    reach = max(base_days(rule, context.today), default=0) + 31
    report = await context.report(first_day(context) - timedelta(days=reach), context.today, ("day",))
    rows = rows_by_day(report)
    if not rows:
        return []
    first = max(first_day(context), min(rows))
    whole = msgspec.structs.replace(rule, window=rule.window if rule.window.endswith("d") else "yesterday")
    tried = [first + timedelta(days=n) for n in range((context.today - first).days)]
    return _firings(whole, [(day, *_level(rows, whole, day)) for day in tried], once_a_day=True)


def _level(rows: dict[date, ReportRow], rule: Rule, day: date) -> tuple[float | None, float | None]:
    level = level_on(rows, rule, day)
    return level.value, level.usual


def _firings(
    rule: Rule, levels: Iterable[tuple[date, float | None, float | None]], *, once_a_day: bool = False
) -> list[date]:
    """Days on which the rule broke: every day for rules by day, else once until it recovered."""
    days, firing = [], False
    for day, value, usual in levels:
        broken = value is not None and breached(rule, value, usual) is True
        if broken and (once_a_day or not firing):
            days.append(day)
        firing = broken or (firing and value is not None and not recovered(rule, value, usual))
    return days


async def _by_hour(context: AlertContext) -> list[date]:
    """Windows of hours, looked at on every full hour."""
    rule = context.rule
    hours = max(1, read_minutes(rule.window) // 60)
    back = base_days(rule, context.today)
    start = begin(context) - timedelta(days=max(back, default=0) + 1)
    counts = await backtest.by_hour(context.tx, await context.scope(), rule.measure, (start, context.now))
    if not counts:
        return []
    first = max(min(counts) + hours, live_counts.hour_of(begin(context), context.deployment.timezone))
    last = live_counts.hour_of(context.now, context.deployment.timezone)

    def window(hour: int) -> int:
        return sum(counts.get(past_hour, 0) for past_hour in range(hour - hours, hour))

    share = min(1.0, read_minutes(rule.window) / (hours * 60))  # windows under an hour: that part of it
    levels = [
        (day_of_hour(hour - 1), window(hour) * share,
         fmean([window(hour - 24 * n) * share for n in back]) if back else None)
        for hour in range(first, last + 1)
    ]  # fmt: skip
    return _firings(rule, levels)


async def _no_clicks(context: AlertContext) -> list[date]:
    """Silences, by the hour; one shorter than an hour counts as one."""
    needed = -(-context.rule.minutes // 60)
    days = []
    for _, scope in await context.scopes():
        counts = await backtest.by_hour(context.tx, scope, "clicks", (begin(context), context.now))
        busy = sorted(hour for hour, n in counts.items() if n)
        silences = [(a, b - a - 1) for a, b in pairwise(busy)]
        days += [day_of_hour(hour + 1) for hour, length in silences if length >= needed]
    return days


async def _postback_failures(context: AlertContext) -> list[date]:
    days = []
    for n in range(DAYS):
        day = first_day(context) + timedelta(days=n)
        start = datetime.combine(day, time(), context.deployment.zone)
        answers = await live_counts.postback_answers(
            context.tx, context.watch.team_id, (start, start + timedelta(days=1)), await context.account_ids()
        )
        days += [
            day for answer in answers if answer.total >= 3 and answer.failed / answer.total * 100 > context.rule.limit
        ]
    return days


async def _sync_failed(context: AlertContext) -> list[date]:
    """The first failure of each row of failures."""
    runs = await backtest.sync_runs_since(
        context.tx, context.watch.team_id, begin(context), await context.account_ids()
    )
    before: dict[int, str] = {}
    days = []
    for run in runs:
        if run.state == "failed" and before.get(run.account_id) != "failed":
            days.append(_day(context, run.finished_at))
        before[run.account_id] = run.state
    return days


async def _sync_stale(context: AlertContext) -> list[date]:
    runs = await backtest.sync_runs_since(
        context.tx, context.watch.team_id, begin(context), await context.account_ids()
    )
    latest: dict[int, datetime] = {}
    days = []
    for run in runs:
        if run.state != "done":
            continue
        since = latest.get(run.account_id)
        if since is not None and run.finished_at - since > timedelta(minutes=context.rule.minutes):
            days.append(_day(context, since + timedelta(minutes=context.rule.minutes)))
        latest[run.account_id] = run.finished_at
    return days


async def _restated(context: AlertContext) -> list[date]:
    own = restated_offers(context.watch.team_id, context.watch.campaigns)
    moved = await restatements.since(context.tx, context.watch.team_id, begin(context), offer_ids=own)
    if context.rule.kind == "vanished":
        return [row.day for row in moved if row.vanished]
    return [row.day for row in moved if conditions.moved(row) > context.rule.limit]


async def _discrepancy(context: AlertContext) -> list[date]:
    gaps = await conditions.settled_gaps(context, first_day(context), context.today)
    return [date.fromisoformat(gap.day) for gap in gaps]


async def _first_deposits(context: AlertContext) -> list[date]:
    rows = await backtest.first_deposits(context.tx, await context.scope(), first_day(context))
    if context.rule.kind == "ftd":
        return [row.day for row in rows]
    return [row.day for row in rows if await conditions.high_value(context, row)]


async def _dead_postbacks(context: AlertContext) -> list[date]:
    given_up = await backtest.dead_postbacks(context.tx, await context.scope(), begin(context))
    return [_day(context, at) for at in given_up]


async def _spend(context: AlertContext) -> list[date]:
    report = await context.report(first_day(context), context.today - timedelta(days=1), ("day", "campaign"))
    return [
        date.fromisoformat(row.group["day"] or "")
        for row in report.rows
        if row.group["campaign"] and (row.spend or 0) > context.rule.limit * 1e6 and not row.registrations.merged
    ]


async def _caps(context: AlertContext) -> list[date]:
    rows = await backtest.caps_used(context.tx, context.watch.team_id, first_day(context), await context.offer_ids())
    return [row.period for row in rows if row.n / row.cap * 100 >= context.rule.limit]


def _day(context: AlertContext, instant: datetime) -> date:
    return instant.astimezone(ZoneInfo(context.deployment.timezone)).date()


BACKTESTS: dict[str, Callable[[AlertContext], Awaitable[list[date]]]] = {
    "figure": _figure, "no clicks": _no_clicks, "postback failures": _postback_failures, "sync failed": _sync_failed,
    "sync stale": _sync_stale, "restatement": _restated, "vanished": _restated, "discrepancy": _discrepancy,
    "ftd": _first_deposits, "high-value ftd": _first_deposits, "dead postback": _dead_postbacks,
    "spend without registrations": _spend, "cap": _caps,
}  # fmt: skip

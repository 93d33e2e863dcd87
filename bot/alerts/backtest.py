"""How often an alert would have fired in the last 30 days: a rule is tried before it is armed."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from statistics import fmean
from zoneinfo import ZoneInfo

import msgspec

from bot.alerts import events
from bot.alerts.context import AlertContext
from bot.alerts.figures import base_days, level_on, rows_by_day
from storage.alerts import backtest, live_counts
from storage.ledger.alerts.thresholds import LIVE, Rule, breached, read_minutes, recovered
from storage.ledger.reports.report_rows import ReportRow
from storage.revenue import restatements

DAYS = 30


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """How many times, and on which report days; None where the past is not known."""

    times: int | None
    days: list[str]


async def past(look: AlertContext) -> Past:
    """The alert's rule, tried on the 30 days before today."""
    days = await PASTS[look.rule.kind](look) if look.rule.kind in PASTS else None
    if days is None:
        return Past(times=None, days=[])
    return Past(times=len(days), days=sorted({day.isoformat() for day in days}))


def first_day(look: AlertContext) -> date:
    return look.today - timedelta(days=DAYS)


def begin(look: AlertContext) -> datetime:
    return datetime.combine(first_day(look), time(), look.deployment.zone)


async def _figure(look: AlertContext) -> list[date]:
    rule = look.rule
    if rule.measure in LIVE and rule.window not in {"today", "yesterday"} and not rule.window.endswith("d"):
        return await _by_hour(look)
    reach = max(base_days(rule, look.today), default=0) + 31
    report = await look.report(first_day(look) - timedelta(days=reach), look.today, ("day",))
    rows = rows_by_day(report)
    if not rows:
        return []
    first = max(first_day(look), min(rows))
    whole = msgspec.structs.replace(rule, window=rule.window if rule.window.endswith("d") else "yesterday")
    tried = [first + timedelta(days=n) for n in range((look.today - first).days)]
    return _firings(whole, [(day, *_level(rows, whole, day)) for day in tried], once_a_day=True)


def _level(rows: dict[date, ReportRow], rule: Rule, day: date) -> tuple[float | None, float | None]:
    level = level_on(rows, rule, day)
    return level.value, level.usual


def _firings(
    rule: Rule, levels: Iterable[tuple[date, float | None, float | None]], *, once_a_day: bool = False
) -> list[date]:
    """Days on which the rule broke: every day for rules by day, else once until it recovered."""
    found, firing = [], False
    for day, value, usual in levels:
        broken = value is not None and breached(rule, value, usual) is True
        if broken and (once_a_day or not firing):
            found.append(day)
        firing = broken or (firing and value is not None and not recovered(rule, value, usual))
    return found


async def _by_hour(look: AlertContext) -> list[date]:
    """Windows of hours, looked at on every full hour."""
    rule = look.rule
    hours = max(1, read_minutes(rule.window) // 60)
    back = base_days(rule, look.today)
    start = begin(look) - timedelta(days=max(back, default=0) + 1)
    counts = await backtest.by_hour(look.tx, await look.scope(), rule.measure, (start, look.now))
    if not counts:
        return []
    first = max(min(counts) + hours, live_counts.hour_of(begin(look), look.deployment.timezone))
    last = live_counts.hour_of(look.now, look.deployment.timezone)

    def window(hour: int) -> int:
        return sum(counts.get(one, 0) for one in range(hour - hours, hour))

    share = min(1.0, read_minutes(rule.window) / (hours * 60))  # windows under an hour: that part of it
    levels = [
        (backtest.day_of(hour - 1), window(hour) * share,
         fmean([window(hour - 24 * n) * share for n in back]) if back else None)
        for hour in range(first, last + 1)
    ]  # fmt: skip
    return _firings(rule, levels)


async def _no_clicks(look: AlertContext) -> list[date]:
    """Silences, by the hour; one shorter than an hour counts as one."""
    needed = -(-look.rule.minutes // 60)
    found = []
    for _, scope in await look.scopes():
        counts = await backtest.by_hour(look.tx, scope, "clicks", (begin(look), look.now))
        busy = sorted(hour for hour, n in counts.items() if n)
        silences = [(a, b - a - 1) for a, b in pairwise(busy)]
        found += [backtest.day_of(hour + 1) for hour, length in silences if length >= needed]
    return found


async def _postback_failures(look: AlertContext) -> list[date]:
    found = []
    for n in range(DAYS):
        day = first_day(look) + timedelta(days=n)
        start = datetime.combine(day, time(), look.deployment.zone)
        answers = await live_counts.postback_answers(look.tx, look.watch.team_id, (start, start + timedelta(days=1)))
        found += [day for one in answers if one.total >= 3 and one.failed / one.total * 100 > look.rule.limit]
    return found


async def _sync_failed(look: AlertContext) -> list[date]:
    """The first failure of each row of failures."""
    runs = await backtest.sync_runs_since(look.tx, look.watch.team_id, begin(look), await look.account_ids())
    before: dict[int, str] = {}
    found = []
    for run in runs:
        if run.state == "failed" and before.get(run.account_id) != "failed":
            found.append(_day(look, run.finished_at))
        before[run.account_id] = run.state
    return found


async def _sync_stale(look: AlertContext) -> list[date]:
    runs = await backtest.sync_runs_since(look.tx, look.watch.team_id, begin(look), await look.account_ids())
    latest: dict[int, datetime] = {}
    found = []
    for run in runs:
        if run.state != "done":
            continue
        since = latest.get(run.account_id)
        if since is not None and run.finished_at - since > timedelta(minutes=look.rule.minutes):
            found.append(_day(look, since + timedelta(minutes=look.rule.minutes)))
        latest[run.account_id] = run.finished_at
    return found


async def _restated(look: AlertContext) -> list[date]:
    ids = await look.account_ids()
    moved = await restatements.since(look.tx, look.watch.team_id, begin(look), account_ids=ids)
    if look.rule.kind == "vanished":
        return [one.day for one in moved if one.vanished]
    return [one.day for one in moved if events.moved(one) > look.rule.limit]


async def _discrepancy(look: AlertContext) -> list[date]:
    apart = await events.apart(look, first_day(look), look.today)
    return [date.fromisoformat(one.day) for one in apart]


async def _first_deposits(look: AlertContext) -> list[date]:
    rows = await backtest.first_deposits(look.tx, await look.scope(), first_day(look))
    if look.rule.kind == "ftd":
        return [row.day for row in rows]
    return [row.day for row in rows if await events.high_value(look, row)]


async def _dead_postbacks(look: AlertContext) -> list[date]:
    return [_day(look, at) for at in await backtest.dead_postbacks(look.tx, look.watch.team_id, begin(look))]


async def _spend(look: AlertContext) -> list[date]:
    report = await look.report(first_day(look), look.today - timedelta(days=1), ("day", "campaign"))
    return [
        date.fromisoformat(row.group["day"] or "")
        for row in report.rows
        if row.group["campaign"] and (row.spend or 0) > look.rule.limit * 1e6 and not row.registrations.merged
    ]


async def _caps(look: AlertContext) -> list[date]:
    rows = await backtest.caps_used(look.tx, look.watch.team_id, first_day(look), await look.offer_ids())
    return [row.period for row in rows if row.n / row.cap * 100 >= look.rule.limit]


def _day(look: AlertContext, instant: datetime) -> date:
    return instant.astimezone(ZoneInfo(look.deployment.timezone)).date()


PASTS: dict[str, Callable[[AlertContext], Awaitable[list[date]]]] = {
    "figure": _figure, "no clicks": _no_clicks, "postback failures": _postback_failures, "sync failed": _sync_failed,
    "sync stale": _sync_stale, "restatement": _restated, "vanished": _restated, "discrepancy": _discrepancy,
    "ftd": _first_deposits, "high-value ftd": _first_deposits, "dead postback": _dead_postbacks,
    "spend without registrations": _spend, "cap": _caps,
}  # fmt: skip

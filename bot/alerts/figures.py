"""Figures against a limit or their own average: what `ftd < 50% of 7d avg` sees, now and on past days."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from statistics import fmean

import msgspec

from bot.alerts.context import AlertContext, Reading
from bot.render import figures
from storage.ledger.alerts.comparisons import MONEY, QUOTIENTS, RATIOS, title
from storage.ledger.alerts.thresholds import LIVE, Rule, breached, describe, recovered
from storage.ledger.reports.report_rows import MergedReport, ReportRow
from storage.ledger.schedule import read_minutes

WEEKS = 4  # how many same weekdays an average is made of


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A figure and what is usual for it; None where that is not known."""

    value: float | None
    usual: float | None = None


async def figure(context: AlertContext) -> list[Reading]:
    """One reading: the figure of the rule's window, over all campaigns watched together."""
    rule = context.rule
    live = rule.measure in LIVE and rule.window != "yesterday" and not rule.window.endswith("d")
    level = await (_live(context) if live else _by_day(context))
    broken = None if level.value is None else breached(rule, level.value, level.usual)
    if live and rule.below and rule.baseline and (level.usual or 0) < 1:
        broken = None  # not before at least one was to be expected
    currency, about = context.deployment.currency, await context.about()
    text = f"{about}: " * bool(about) + describe_level(rule, level, currency)
    back = level.value is not None and recovered(rule, level.value, level.usual)
    return [Reading(
        subject="figure", broken=broken, recovered=back, text=text, over=text, why=_why(context), about=about,
        measure=f"{title(rule.measure)} {_window(rule)}", value=number(rule.measure, level.value, currency),
        usual="" if level.usual is None else f"{number(rule.measure, level.usual, currency)}, {_average_name(rule)}",
    )]  # fmt: skip


def _window(rule: Rule) -> str:
    return rule.window if rule.window in {"today", "yesterday"} else f"in {rule.window}"


def _average_name(rule: Rule) -> str:
    return {"7d": "7-day average", "30d": "30-day average", "weekday": "same-weekday average"}[rule.baseline]


def _why(context: AlertContext) -> str:
    named = f" campaign={','.join(context.watch.campaigns)}" if context.watch.campaigns else ""
    window = {"today": "today", "yesterday": "yesterday"}.get(context.rule.window, "7d")
    return f"stats {window} by campaign{named}"


async def _live(context: AlertContext) -> Level:
    """Counted up to this moment; the average is of the same part of the day on earlier days."""
    rule, span = context.rule, _span(context)
    value = await context.count(rule.measure, span)
    back = base_days(rule, context.today)
    if not back:
        return Level(value=value)
    earlier = [(start_of(context, span[0], n), start_of(context, span[1], n)) for n in back]
    return Level(value=value, usual=fmean([await context.count(rule.measure, span) for span in earlier]))


def _span(context: AlertContext) -> tuple[datetime, datetime]:
    end = context.now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    if context.rule.window == "today":
        return datetime.combine(context.today, time(), context.deployment.zone), end
    return end - timedelta(minutes=read_minutes(context.rule.window)), end


def start_of(context: AlertContext, instant: datetime, days: int) -> datetime:
    """The same wall-clock time so many days before."""
    local = instant.astimezone(context.deployment.zone)
    return (local.replace(tzinfo=None) - timedelta(days=days)).replace(tzinfo=context.deployment.zone)


def base_days(rule: Rule, _day: date) -> range:
    """How many days back the days of the average are."""
    match rule.baseline:
        case "7d":
            return range(1, 8)
        case "30d":
            return range(1, 31)
        case "weekday":
            return range(7, 7 * WEEKS + 1, 7)
        case _:
            return range(0)


async def _by_day(context: AlertContext) -> Level:
    """Whole days, from the merged report."""
    rule = context.rule
    last = context.today - timedelta(days=1) if rule.window == "yesterday" else context.today
    days = length_in_days(rule)
    first = last - timedelta(days=days + max(base_days(rule, last), default=0))
    report = await context.report(first, last, ("day",))
    return level_on(rows_by_day(report), rule, last)


def length_in_days(rule: Rule) -> int:
    return int(rule.window[:-1]) if rule.window.endswith("d") else 1


def rows_by_day(report: MergedReport) -> dict[date, ReportRow]:
    return {date.fromisoformat(row.group["day"] or ""): row for row in report.rows if row.group.get("day")}


def level_on(rows: dict[date, ReportRow], rule: Rule, last: date) -> Level:
    """The rule's figure over its days up to `last`, and the average of the days before them."""
    days = length_in_days(rule)
    within = [rows[day] for n in range(days) if (day := last - timedelta(days=n)) in rows]
    value = measured(within, rule.measure)
    back = base_days(rule, last)
    if not back:
        return Level(value=value)
    shift = 0 if rule.baseline == "weekday" else days - 1
    measures = [measured([rows[day]], rule.measure) for n in back if (day := last - timedelta(days=n + shift)) in rows]
    usual = [value for value in measures if value is not None]
    if rule.measure in LIVE and value is None and usual:
        value = 0.0  # a day without a single click has no row
    return Level(value=value, usual=_average(usual, len(back), rule) * _days_together(rule, days) if usual else None)


def _average(usual: Sequence[float], days: int, rule: Rule) -> float:
    """Counts of days without a row are 0; ratios and money only of days that have one."""
    return sum(usual) / days if rule.measure in LIVE else fmean(usual)


def _days_together(rule: Rule, days: int) -> int:
    return 1 if rule.measure in QUOTIENTS else days


def measured(rows: Sequence[ReportRow], measure: str) -> float | None:
    """A measure over several days: sums, or ratios of sums; money in whole units, ratios in percent."""
    match measure:
        case "cr":
            return _ratio(_sum(rows, "registrations"), _sum(rows, "clicks"), 100)
        case "reg2dep":
            return _ratio(_sum(rows, "first_deposits"), _sum(rows, "registrations"), 100)
        case "roi":
            priced = [row for row in rows if row.commission is not None]
            return _ratio(_sum(priced, "profit"), _sum(priced, "spend"), 100)
        case "ctr":
            return _ratio(_sum(rows, "outgoing"), _sum(rows, "site_visits"), 100)
        case "roas":
            priced = [row for row in rows if row.commission is not None]
            return _ratio(_sum(priced, "commission"), _sum(priced, "spend"), 1)
        case "epc":
            return _ratio(_sum(rows, "commission"), _sum(rows, "clicks"), 1e-6)
        case "cpa":
            return _ratio(_sum(rows, "spend"), _sum(rows, "first_deposits"), 1e-6)
        case "profit":
            rows = [row for row in rows if row.commission is not None]
    total = _sum(rows, measure)
    return total / 1e6 if total is not None and measure in MONEY else total


def _sum(rows: Sequence[ReportRow], measure: str) -> float | None:
    values = [getattr(row, measure) for row in rows]
    numbers = [getattr(value, "merged", value) for value in values]
    present = [number for number in numbers if number is not None]
    return sum(present) if present else None


def _ratio(part: float | None, whole: float | None, by: float) -> float | None:
    return None if part is None or not whole else part / whole * by


def describe_level(rule: Rule, level: Level, currency: str) -> str:
    """FTD 3 today, 24% of the 7-day average of 12.4."""
    sentence = f"{title(rule.measure)} {number(rule.measure, level.value, currency)} {_window(rule)}"
    if level.value is not None and level.usual:
        usual = number(rule.measure, level.usual, currency)
        return (
            f"{sentence}, {level.value / level.usual * 100:,.0f}% of the {_average_name(rule)} of {usual} "
            f"({describe(rule)})"
        )
    return f"{sentence} ({describe(rule)})"


def number(measure: str, value: float | None, currency: str) -> str:
    if value is None:
        return figures.NONE
    if measure in MONEY:
        return figures.money(round(value * 1e6), currency)
    if measure in RATIOS:
        return f"{value:.1f}%"
    return f"{value:,.0f}" if value % 1 == 0 else f"{value:,.1f}"

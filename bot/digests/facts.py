"""What a digest tells, in words and figures; bot.digests.loading gathers it, bot.digests.message makes the message."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Literal

import msgspec

from bot.core.context import Deployment
from bot.render import figures
from storage.alerts.attention import AccountHealth
from storage.ledger.reports.report_rows import MergedReport, ReportRow
from storage.ledger.schedule import Every
from storage.reports.forecast import Forecast
from storage.revenue.restatements import AMOUNTS, Restated

LOOK_BACK = 7  # days of the average, and how far back days may still be pending
CHART_DAYS = 30
MOVERS = 3


class DigestRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which digest: the days it covers, for which campaigns (None: all), what was told before."""

    team_id: int
    first: date
    last: date
    every: Every
    campaigns: tuple[str, ...] | None
    told_until: datetime
    now: datetime
    deployment: Deployment
    late: str = ""


class Usual(msgspec.Struct, frozen=True, kw_only=True):
    """Average over the seven days before, times the days covered; None where nothing was measured."""

    clicks: float | None = None
    registrations: float | None = None
    first_deposits: float | None = None


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A group far from its own average."""

    name: str
    measure: str
    value: float
    usual: float


class ChangedFigure(msgspec.Struct, frozen=True, kw_only=True):
    """A settled figure that moved, in words."""

    day: date
    account: str
    tag: str
    measure: str
    before: str
    now: str


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Figures awaited from an account."""

    account: str
    text: str


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """Something that needs a hand, and what it is about: pages lead there."""

    level: Literal["info", "warning", "error"]
    text: str
    about: Literal["revenue", "postbacks", "deliveries", "offers", "domains", "digests"] = "revenue"


class DayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A day of the chart, amounts in whole units: commission of settled days and of those still open apart."""

    day: date
    first_deposits: int | None = None
    spend: float | None = None
    settled: float | None = None
    pending: float | None = None


class DigestFacts(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    range: str
    by: tuple[str, ...]
    report: MergedReport
    usual: Usual = Usual()
    days: tuple[DayFigures, ...] = ()
    top: tuple[Movement, ...] = ()
    bottom: tuple[Movement, ...] = ()
    restated: tuple[ChangedFigure, ...] = ()
    vanished: tuple[str, ...] = ()
    pending: tuple[Pending, ...] = ()
    expected: Forecast | None = None  # what the pending days may bring
    attention: tuple[Attention, ...] = ()
    unmatched: int = 0
    has_accounts: bool = False
    healthy: str = ""
    late: str = ""


def period_name(request: DigestRequest) -> str:
    if request.every == "week":
        return f"Week {request.first:%G-W%V}"
    if request.every == "month":
        return f"{request.first:%B %Y}"
    return f"{request.last:%a %d %b}"


def usual(before: MergedReport, n_days: int) -> Usual:
    """Averages per day over the days before, for as many days as the digest covers."""

    def average(values: Iterable[int | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / LOOK_BACK * n_days if known else None

    return Usual(
        clicks=average(row.clicks for row in before.rows),
        registrations=average(row.registrations.merged for row in before.rows),
        first_deposits=average(row.first_deposits.merged for row in before.rows),
    )


_FIGURES = (("FTDs", "first_deposits"), ("Regs", "registrations"))


def movers(
    report: MergedReport, before: MergedReport, by: str, *, n_days: int
) -> tuple[tuple[Movement, ...], tuple[Movement, ...]]:
    """The groups most above and most below their own average, by FTDs, else registrations, else clicks."""
    now = {row.group.get(by) or "": row for row in report.rows}
    past: dict[str, list[ReportRow]] = {}
    for row in before.rows:
        past.setdefault(row.group.get(by) or "", []).append(row)
    movements = [_moved(name, now.get(name), past.get(name, []), n_days) for name in {*now, *past} if name]
    moved = [movement for movement in movements if movement is not None and abs(movement.value - movement.usual) > 0.5]
    moved.sort(key=lambda movement: (-(movement.value - movement.usual), movement.name))
    top = tuple(movement for movement in moved[:MOVERS] if movement.value > movement.usual)
    bottom = tuple(movement for movement in reversed(moved[-MOVERS:]) if movement.value < movement.usual)
    return top, bottom


def _moved(name: str, row: ReportRow | None, past: Sequence[ReportRow], n_days: int) -> Movement | None:
    for title, measure in (*_FIGURES, ("Clicks", "clicks")):
        value = _figure(row, measure)
        known = [figure for figure in (_figure(each, measure) for each in past) if figure is not None]
        average = sum(known) / LOOK_BACK * n_days
        if (value or average) and known:
            return Movement(name=name, measure=title, value=value or 0, usual=average)
    return None


def _figure(row: ReportRow | None, measure: str) -> int | None:
    if row is None:
        return None
    return row.clicks if measure == "clicks" else getattr(row, measure).merged


def chart_days(report: MergedReport, last: date) -> tuple[DayFigures, ...]:
    """Every day of the chart; those without figures are gaps."""
    rows = {row.group["day"]: row for row in report.rows}
    for row in report.unassigned:
        rows.setdefault(row.group["day"], row)
    days = [last - timedelta(days=n) for n in reversed(range(CHART_DAYS))]
    return tuple(_chart_day(day, rows.get(day.isoformat())) for day in days)


def _chart_day(day: date, row: ReportRow | None) -> DayFigures:
    if row is None:
        return DayFigures(day=day)
    commission = None if row.commission is None else row.commission / 1e6
    settled = row.settlement == "settled"
    return DayFigures(
        day=day, first_deposits=row.first_deposits.merged, spend=None if row.spend is None else row.spend / 1e6,
        settled=commission if settled else None, pending=None if settled else commission,
    )  # fmt: skip


_MEASURES = {"registrations": "Regs", "first_deposits": "FTDs", "deposits": "Deposits", "ngr": "NGR",
             "commission": "Commission"}  # fmt: skip


def _amount(restated: Restated, value: int | None) -> str:
    return figures.money(value, restated.currency) if restated.measure in AMOUNTS else figures.count(value)


def changed(restated: Restated) -> ChangedFigure:
    return ChangedFigure(
        day=restated.day, account=restated.account, tag=restated.tag, measure=_MEASURES[restated.measure],
        before=_amount(restated, restated.before), now=_amount(restated, restated.now),
    )  # fmt: skip


def vanished(restated: Restated) -> str:
    was, now = _amount(restated, restated.before), _amount(restated, restated.now)
    measure = _MEASURES[restated.measure]
    return f"{restated.day:%d %b} {restated.account} / {restated.tag or 'no tag'}: {measure} {was} → {now}"


def pending(health: AccountHealth) -> Pending:
    days = [f"{day:%d %b}" for day in health.provisional]
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if len(days) > 2 else " and ".join(days)
    how = (
        f"next sync {health.next_sync_at:%d %b %H:%M} UTC"
        if health.fetched and health.next_sync_at
        else "waiting for a sync"
    )
    if not health.fetched:
        how = "waiting for an upload"
    return Pending(account=health.code, text=f"{health.code}: {span}, {'sync paused' if health.paused else how}")


def unmatched_words(n: int) -> Iterable[Attention]:
    if n:
        yield Attention(level="warning", text=f"{n:,} unmatched postback{'s' if n > 1 else ''}: their click is unknown",
                        about="postbacks")  # fmt: skip


def unconverted_words(report: MergedReport) -> Iterable[Attention]:
    if lacking := figures.unconverted(report):
        yield Attention(level="warning", text=lacking)


def unassigned_words(report: MergedReport) -> Iterable[Attention]:
    names = sorted({f"{row.group.get('account')} / {row.group.get('tag') or 'no tag'}" for row in report.unassigned})
    if names:
        text = f"figures that no offer claims: {', '.join(names[:5])}: add an offer with that tag"
        yield Attention(level="warning", text=text, about="offers")


def sync_words(health: Sequence[AccountHealth], now: datetime) -> Iterable[Attention]:
    for account in health:
        if account.paused and account.fetched:
            why = account.paused_why or account.error or "by hand"
            yield Attention(level="error", text=f"{account.code}: sync paused: {why}")
        elif account.error:
            yield Attention(level="error", text=f"{account.code}: sync failed: {account.error}")
        elif account.stale(now):
            since = f"since {account.last_success_at:%d %b %H:%M} UTC" if account.last_success_at else "yet"
            yield Attention(level="warning", text=f"{account.code}: no figures {since}")
        for warning in account.warnings:
            yield Attention(level="warning", text=f"{account.code}: {warning}")


def healthy_words(health: Sequence[AccountHealth], request: DigestRequest) -> str:
    """One line when every account syncs well."""
    fetched = [account for account in health if account.fetched]
    if not fetched or any(account.error or account.paused or account.stale(request.now) for account in fetched):
        return ""
    latest = [account.last_success_at for account in fetched if account.last_success_at]
    if len(latest) < len(fetched):
        return ""
    oldest = min(latest).astimezone(request.deployment.zone)
    what = "account syncs" if len(fetched) == 1 else "accounts sync"
    return f"{len(fetched)} {what} well, last at {oldest:%H:%M} {request.deployment.timezone}"

"""The digest: its facts in words and figures, and the message made of them; bot.digests.loading reads the facts."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Literal

import msgspec

from bot.core.context import Deployment
from bot.core.message import Block, Button, Buttons, Chart, Fields, Message, Notice, Series, Text
from bot.render import figures
from bot.render.figures import before_and_now, change, count, layered_plural, percent, plural
from storage.alerts.attention import AccountHealth
from storage.ledger.reports.report_rows import MergedReport, ReportRow
from storage.ledger.schedule import Every
from storage.reports.forecast import Forecast
from storage.revenue.restatements import Restated

SHORT_ROWS, SHORT_LINES = 5, 3  # of a part of the digest as it is sent: one screen of a phone
LOOK_BACK = 7  # days of the average, and how far back days may still be pending
CHART_DAYS = 30
MOVERS = 3


class DigestRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which digest: the days it covers, for which campaigns (None: all), and up to when events were reported before.

    `full`: with all that a digest of one screen leaves out.
    """

    team_id: int
    first: date
    last: date
    every: Every
    campaigns: tuple[str, ...] | None
    told_until: datetime
    now: datetime
    deployment: Deployment
    late: str = ""
    full: bool = False


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
    vanished: bool = False  # the platform showed it, and shows less or nothing now


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Figures awaited from an account."""

    account: str
    text: str


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """Something that needs attention, and what it is about: pages link there."""

    level: Literal["info", "warning", "error"]
    text: str
    about: Literal["revenue", "postbacks", "deliveries", "offers", "domains", "digests", "alerts"] = "revenue"


class DayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A day of the chart, amounts in whole units: commission of settled days and of those still open apart."""

    day: date
    first_deposits: int | None = None
    spend: float | None = None
    settled: float | None = None
    pending: float | None = None


class DigestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a digest tells. `full_command` shows all of it; empty: the message is to hold everything itself."""

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
    offer_names: dict[str, str] = {}
    full_command: str = ""

    def most(self, short: int, long: int) -> int:
        """How many rows or lines of a part are shown."""
        return short if self.full_command else long


def full_command(request: DigestRequest) -> str:
    """The command that shows all of the digest, as of its own days; empty for one that is full."""
    if request.full:
        return ""
    named = f" campaigns={','.join(request.campaigns)}" if request.campaigns else ""
    since = f"{request.told_until:%Y-%m-%dT%H:%M:%SZ}"
    return f"digest preview every={request.every} day={request.last} since={since} full=true{named}"


def period_name(request: DigestRequest) -> str:
    if request.every == "week":
        return f"Week {request.first:%G-W%V}"
    if request.every == "month":
        return f"{request.first:%B %Y}"
    return f"{request.last:%a %d %b}"


def usual(before: MergedReport, n_days: int) -> Usual:
    """Averages per day over the days before, for as many days as the digest covers."""

    def average(values: Iterable[int | None]) -> float | None:
        numbers = [value for value in values if value is not None]
        return sum(numbers) / LOOK_BACK * n_days if numbers else None

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
    names = before.names.get(by, {}) | report.names.get(by, {})
    now = {row.group.get(by) or "": row for row in report.rows}
    past: dict[str, list[ReportRow]] = {}
    for row in before.rows:
        past.setdefault(row.group.get(by) or "", []).append(row)
    movements = [
        _moved(names.get(code, code), now.get(code), past.get(code, []), n_days) for code in {*now, *past} if code
    ]
    moved = [movement for movement in movements if movement is not None and abs(movement.value - movement.usual) > 0.5]
    moved.sort(key=lambda movement: (-(movement.value - movement.usual), movement.name))
    top = tuple(movement for movement in moved[:MOVERS] if movement.value > movement.usual)
    bottom = tuple(movement for movement in reversed(moved[-MOVERS:]) if movement.value < movement.usual)
    return top, bottom


def _moved(name: str, row: ReportRow | None, past: Sequence[ReportRow], n_days: int) -> Movement | None:
    for title, measure in (*_FIGURES, ("Clicks", "clicks")):
        value = _figure(row, measure)
        figures = [figure for figure in (_figure(each, measure) for each in past) if figure is not None]
        average = sum(figures) / LOOK_BACK * n_days
        if (value or average) and figures:
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


def changed(restated: Restated) -> ChangedFigure:
    before, now = before_and_now(restated)
    return ChangedFigure(
        day=restated.day, account=restated.account_name, tag=restated.tag, measure=_MEASURES[restated.measure],
        before=before, now=now, vanished=restated.vanished,
    )  # fmt: skip


def vanished(restated: Restated) -> str:
    moved = f"{_MEASURES[restated.measure]} {' → '.join(before_and_now(restated))}"
    return f"{restated.day:%d %b} {restated.account_name} / {restated.tag or 'no tag'}: {moved}"


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
    return Pending(account=health.name, text=f"{health.name}: {span}, {'sync paused' if health.paused else how}")


def unmatched_words(n: int) -> Iterable[Attention]:
    if n:
        text = f"{plural(n, 'unmatched postback')}: their click is unknown"
        yield Attention(level="warning", text=text, about="postbacks")


def unassigned_words(report: MergedReport) -> Iterable[Attention]:
    accounts = report.names.get("account", {})
    groups = {(row.group.get("account") or "?", row.group.get("tag") or "no tag") for row in report.unassigned}
    names = sorted(f"{accounts.get(account, account)} / {tag}" for account, tag in groups)
    if names:
        text = f"figures that no offer claims: {', '.join(names[:5])}: add an offer with that tag"
        yield Attention(level="warning", text=text, about="offers")


def sync_words(health: Sequence[AccountHealth], now: datetime) -> Iterable[Attention]:
    for account in health:
        if account.paused and account.fetched:
            why = account.paused_why or account.error or "by hand"
            yield Attention(level="error", text=f"{account.name}: sync paused: {why}")
        elif account.error:
            yield Attention(level="error", text=f"{account.name}: sync failed: {account.error}")
        elif account.stale(now):
            since = f"since {account.last_success_at:%d %b %H:%M} UTC" if account.last_success_at else "yet"
            yield Attention(level="warning", text=f"{account.name}: no figures {since}")
        for warning in account.warnings:
            yield Attention(level="warning", text=f"{account.name}: {warning}")


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


MOST_LINES = 8


def message(facts: DigestFacts) -> Message:
    """Facts to a message, what changed since the last one first; its title stands alone as a push notification."""
    blocks: list[Block] = [Notice("info", facts.late)] if facts.late else []
    blocks += [*_restated(facts), *_vanished(facts), *_period(facts), *_movers(facts), *_pending(facts)]
    blocks += [*_attention(facts), *_chart(facts), _buttons(facts)]
    return Message(title(facts), tuple(blocks))


def title(facts: DigestFacts) -> str:
    happened = facts.report.rows or facts.report.unassigned
    parts = list(_measured_parts(facts.report)) if happened else ["nothing happened"]
    if waiting := [attention for attention in facts.attention if attention.level in {"warning", "error"}]:
        parts.append(f"{len(waiting)} to look at")
    return f"{facts.name}: {', '.join(parts)}"


def _measured_parts(report: MergedReport) -> Iterable[str]:
    """What is before_and_now, in few words."""
    totals, currency = report.totals, report.currency
    ftds, regs = totals.first_deposits.merged, totals.registrations.merged
    if ftds is not None:
        yield layered_plural(totals.first_deposits, "FTD")
    if regs is not None:
        yield layered_plural(totals.registrations, "reg")
    if ftds is None and regs is None and totals.clicks is not None:
        yield plural(totals.clicks, "click")
    yield f"commission {figures.worded_commission(totals, currency)}"
    if totals.commission is not None and totals.profit is not None and totals.spend is not None:
        yield f"profit {figures.round_money(totals.profit, currency)}"


def _period(facts: DigestFacts) -> Iterable[Block]:
    report, totals, currency = facts.report, facts.report.totals, facts.report.currency
    usual = facts.usual
    regs = totals.registrations.merged
    fields = [
        ("Clicks", _against(count(totals.clicks), totals.clicks, usual.clicks)),
        ("Registrations", _against(figures.layered(totals.registrations), regs, usual.registrations)),
        ("FTDs", _against(figures.first_deposits(totals), totals.first_deposits.merged, usual.first_deposits)),
        ("Commission", figures.worded_commission(totals, currency, exact=True)),
        ("Spend", figures.spend(totals, currency)),
        ("Profit · ROI", f"{figures.profit(totals, currency)} · {figures.roi(totals)}"),
    ]
    if not facts.full_command:
        ratios = percent(regs, totals.clicks), percent(totals.first_deposits.merged, regs)
        fields[3:3] = [("CR · reg2dep", " · ".join(ratios)), ("Deposits", figures.layered(totals.deposits))]
    yield Fields(tuple(fields))
    if lacking := figures.unconverted(report):
        yield Notice("warning", lacking)
    if report.rows or report.unassigned:
        most = facts.most(SHORT_ROWS, figures.MOST_ROWS)
        beyond = "More has them all" if facts.full_command else f"stats {facts.range} by {facts.by[0]}"
        yield figures.compact(figures.report_table(figures.by_weight(report), facts.by, most=most, beyond=beyond))
    else:
        yield Text("Nothing happened.")


def _against(text: str, value: int | None, usual: float | None) -> str:
    moved = change(value, usual)
    return f"{text} ({moved} vs 7-day avg)" if moved else text


def _pending(facts: DigestFacts) -> Iterable[Block]:
    if facts.pending:
        yield Text("Pending", strong=True)
        yield Text("\n".join(_some([pending.text for pending in facts.pending], facts.most(2, MOST_LINES))))
    if facts.pending and facts.expected is not None:
        yield from _estimate(facts, facts.expected)


def _estimate(facts: DigestFacts, made: Forecast) -> Iterable[Block]:
    """What the pending days may bring, how such estimates did, and which offers are not in it."""
    currency = facts.report.currency
    if (estimate := made.total) is not None:
        between = f"{figures.round_money(estimate.low, currency)} … {figures.round_money(estimate.high, currency)}"
        text = f"Estimate from FTDs in hand: ≈ {figures.round_money(estimate.estimate, currency)} (80%: {between})"
        yield Text(f"{text}. {record}" if (record := figures.outcomes_inside(made.total_accuracy)) else text)
    if lacking := {item.offer: item.lacking for item in made.items if item.lacking}:
        most = facts.most(SHORT_LINES, MOST_LINES)
        words = [f"{facts.offer_names.get(offer, offer)} ({why})" for offer, why in lacking.items()]
        more = [f"and {figures.plural(len(words) - most, 'more offer')}"] if len(words) > most else []
        yield Text("No estimate yet: " + "; ".join([*words[:most], *more]))


def _restated(facts: DigestFacts) -> Iterable[Block]:
    """Figures that moved; what vanished has its own part."""
    moved = [change for change in facts.restated if not change.vanished]
    if moved:
        yield Text("Changed since the last digest", strong=True)
        lines = [
            f"{change.day:%d %b} {change.account} / {change.tag or 'no tag'}: "
            f"{change.measure} {change.before} → {change.now}"
            for change in moved
        ]
        yield Text("\n".join(_some(lines, facts.most(SHORT_LINES, figures.MOST_ROWS))))


def _movers(facts: DigestFacts) -> Iterable[Block]:
    if facts.top or facts.bottom:
        most = facts.most(2, MOVERS)
        lines = [_mover(movement, "▲") for movement in facts.top[:most]]
        lines += [_mover(movement, "▼") for movement in facts.bottom[:most]]
        yield Text("Above and below their 7-day average", strong=True)
        yield Text("\n".join(lines))


def _mover(movement: Movement, arrow: str) -> str:
    """▲ Spring FB: 20 FTDs, usually 14.2 (+41%)"""
    moved = change(round(movement.value), movement.usual) or "new"
    word = "FTD" if movement.measure == "FTDs" and movement.value == 1 else movement.measure
    unit = word if word.startswith("FTD") else word.lower()
    usual = f"{movement.usual:,.1f}" if movement.usual < 100 else f"{movement.usual:,.0f}"
    return f"{arrow} {movement.name}: {movement.value:,.0f} {unit}, usually {usual} ({moved})"


def _vanished(facts: DigestFacts) -> Iterable[Block]:
    if facts.vanished:
        yield Text("Vanished: shown by the platform before, now withdrawn", strong=True)
        yield Text("\n".join(_some(facts.vanished, facts.most(SHORT_LINES, MOST_LINES))))


def _attention(facts: DigestFacts) -> Iterable[Block]:
    most = facts.most(SHORT_LINES, figures.MOST_ROWS)
    ordered = sorted(facts.attention, key=lambda attention: attention.level != "error")
    for attention in ordered[:most]:
        yield Notice(attention.level, attention.text)
    if len(ordered) > most:
        yield Text(f"and {len(ordered) - most} more to look at")
    if facts.healthy:
        yield Notice("ok", facts.healthy)


def _chart(facts: DigestFacts) -> Iterable[Block]:
    if (chart := days_chart(facts.days, facts.report.currency)) is not None:
        yield chart


def days_chart(days: Sequence[DayFigures], currency: str) -> Chart | None:
    """Commission, spend and FTDs day by day; None where fewer than two days have any."""
    if sum(day.settled is not None or day.pending is not None or bool(day.first_deposits) for day in days) < 2:
        return None
    series = [
        Series("Commission", tuple(point.settled for point in days), "bar"),
        Series("Commission, not settled", tuple(point.pending for point in days), "bar", provisional=True),
        Series("Spend", tuple(point.spend for point in days), "bar"),
        Series("FTDs", tuple(point.first_deposits for point in days)),
    ]
    known = tuple(line for line in series if any(value is not None for value in line.values))
    labels = tuple(f"{point.day:%d %b}" for point in days)
    return Chart(f"Commission, spend and FTDs, {len(days)} days", labels, known, currency)


def _buttons(facts: DigestFacts) -> Buttons:
    by = facts.by[0]
    buttons = [Button("More", facts.full_command)] if facts.full_command else []
    buttons += [Button("By day", "stats 7d by day"), Button(f"7 days by {by}", f"stats 7d by {by}")]
    buttons += [Button("Sync status", "sync status")] if facts.has_accounts else []
    buttons += [Button("Unmatched postbacks", "postback log outcome=unmatched")] if facts.unmatched else []
    return Buttons(tuple(buttons))


def _some(lines: Sequence[str], most: int) -> list[str]:
    shown = [f"• {line}" for line in lines[:most]]
    return shown + ([f"• and {len(lines) - most} more"] if len(lines) > most else [])

"""Figures that automations are judged by: sums over windows of days and hours, now or at any past hour. Pure.

The live run and the back-test read the same `Figures`, so that they agree on the same history.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from storage.ledger.alerts.comparisons import MONEY, QUOTIENTS, Comparison, title
from storage.ledger.automations.conditions import REVENUE, All, Known, Node, Not, Unknown, holds
from storage.ledger.dates import days_between
from storage.ledger.facts import SUBS
from storage.ledger.reports.report_rows import LAYERED

T = TypeVar("T")

SUMS = (
    "clicks", "unique_clicks", "bot_clicks", "site_visits", "outgoing", "registrations", "first_deposits", "deposits",
    "qualified", "deposit_amount", "spend", "commission", "commission_cpa", "commission_revshare", "commission_other",
    "ngr", "visits",
)  # fmt: skip
PLACE = {name: place for place, name in enumerate(SUMS)}
BIT = {name: 1 << place for place, name in enumerate(SUMS)}
LAYERED_BITS = sum(BIT[name] for name in LAYERED)
_QUOTIENT_PARTS = {
    "cr": ("registrations", "clicks", 100), "ctr": ("outgoing", "site_visits", 100),
    "reg2dep": ("first_deposits", "registrations", 100), "epc": ("commission", "clicks", 1e-6),
    "cpa": ("spend", "first_deposits", 1e-6), "roas": ("commission", "spend", 1), "roi": ("profit", "spend", 100),
}  # fmt: skip
EPOCH = date(1970, 1, 1)
_MINUTE = timedelta(minutes=1)
_EVER = 10**9  # an hour after all others
SETTLES_WITHIN = 3
"""Days after which a platform's report of a day is overdue: a window of revenue ends with one of the last three."""
PAYOUT_DAYS = 30
_AVERAGED = {"7d": range(1, 8), "30d": range(1, 31), "weekday": range(7, 29, 7)}

SubjectKey = int | tuple[int, int] | tuple[int, str]
"""An entity's id; of a weight the campaign's and the offer's; of a placement its source's and its value."""


class FigureRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Figures of one place in a day or an hour, as they count once settled, and until then (`open_`).

    Masks have a bit of each of SUMS: `known` what anybody has given, `no_rate` what lacks an exchange rate.
    `account` is the bit of the offer's account.
    """

    campaign: int
    offer: int
    source: int
    account: int
    values: tuple[int, ...]
    known: int
    open_values: tuple[int, ...]
    open_known: int
    no_rate: int = 0
    currencies: tuple[str, ...] = ()
    placement: str = ""
    sub: str = ""  # which sub id the placement is of
    own_sub: bool = False  # whether that is the one its source names placements by


LateRow = tuple[int, int, FigureRow]
"""The hour from which on a row counts, after the day of the hour it is of."""


class Totals:
    """A sum of rows, and what is lacking in it."""

    __slots__ = ("accounts", "currencies", "known", "lacking", "no_rate", "open", "values")

    def __init__(self) -> None:
        self.values = [0] * len(SUMS)
        self.known = self.lacking = self.no_rate = 0
        self.accounts = self.open = 0  # bits of accounts with figures, and of those that are not settled
        self.currencies: tuple[str, ...] = ()

    def add_row(self, row: FigureRow, *, settled: bool) -> None:
        values, known = (row.values, row.known) if settled else (row.open_values, row.open_known)
        self.values = [a + b for a, b in zip(self.values, values, strict=True)]
        self.known |= known
        self.no_rate |= row.no_rate
        self.currencies += row.currencies
        self.accounts |= row.account
        if not settled:
            self.open |= row.account
        if row.offer and values[0]:
            self.lacking |= LAYERED_BITS & ~known

    def add(self, other: "Totals") -> None:
        self.values = [a + b for a, b in zip(self.values, other.values, strict=True)]
        self.known |= other.known
        self.lacking |= other.lacking
        self.no_rate |= other.no_rate
        self.accounts |= other.accounts
        self.open |= other.open
        if other.currencies:
            self.currencies += other.currencies

    def part(self, share: float) -> "Totals":
        """A share of these figures, rounded."""
        part = Totals()
        part.add(self)
        part.values = [round(value * share) for value in self.values]
        return part


By = dict[SubjectKey, Totals]


class Scope(msgspec.Struct, frozen=True):
    """What subjects are (offer, campaign, source, team, weight, placement, sub1 …), and which places count.

    `within`: ids of the campaigns that what the subjects are compared with is of, too; None: of all of the team's.
    """

    noun: str
    filters: tuple[tuple[str, frozenset[int]], ...] = ()
    within: frozenset[int] | None = None

    def compared(self, noun: str) -> "Scope":
        """The scope of what its subjects are compared with."""
        return Scope(noun, () if self.within is None else (("campaign", self.within),), self.within)

    @property
    def by_placement(self) -> bool:
        return self.noun == "placement" or self.noun.startswith("sub")


class History(msgspec.Struct, kw_only=True):
    """Everything the figures are of: complete days, older ones summed, and hours (since 1970, report time).

    `settled` has the moment at which an account (by its bit) was synced past a day; `held` spans of reports that wait
    for a decision, by the account's bit. `late`: what was reported of hours after their day was over, in order.
    """

    zone: ZoneInfo
    days: dict[date, list[FigureRow]] = {}
    older: list[FigureRow] = []
    older_open: int = 0  # accounts with older days that never settled
    hours: dict[int, list[FigureRow]] = {}
    late: list[LateRow] = []
    settled: dict[tuple[int, date], datetime] = {}
    held: list[tuple[int, date, date]] = []
    accounts: dict[int, str] = {}  # names by bit
    entities: dict[str, dict[str, int]] = {}  # ids by code, by noun
    placements: dict[date, list[FigureRow]] = {}  # of the running day, too
    counted_subs: frozenset[str] = frozenset()  # sub ids whose clicks are counted up to now


_KEYS: dict[str, Callable[[FigureRow], SubjectKey]] = {
    "offer": lambda row: row.offer, "campaign": lambda row: row.campaign, "source": lambda row: row.source,
    "team": lambda _row: 0, "weight": lambda row: (row.campaign, row.offer),
    "placement": lambda row: (row.source, row.placement),
    **dict.fromkeys(SUBS, lambda row: (row.source, row.placement)),
}  # fmt: skip


class Figures:
    """Reads a history at a moment. What was summed once is kept: a thousand automations share their windows."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._kept: dict[Any, By] = {}
        self._settled_days: dict[date, list[tuple[datetime, int]]] = {}
        for (account, day), at in history.settled.items():
            self._settled_days.setdefault(day, []).append((at, account))

    def at(self, now: datetime, *, past: bool = False) -> "Moment":
        """The figures as of a moment; of a `past` full hour, without that hour itself, which was still to come."""
        return Moment(self, now, past=past)

    def settled_by(self, day: date, now: datetime) -> int:
        """Bits of the accounts that had settled the day by then."""
        mask = 0
        for at, account in self._settled_days.get(day, ()):
            if at <= now:
                mask |= account
        return mask

    def of_days(self, scope: Scope, first: date, last: date, now: datetime, *, settled_only: bool = False) -> By:
        """Sums of complete days, both included."""
        masks = tuple(self.settled_by(day, now) for day in days_between(first, last))
        key = "days", scope, first, last, masks, settled_only
        if key not in self._kept:
            self._kept[key] = self._sum_days(scope, first, masks, settled_only=settled_only, now=now)
        return self._kept[key]

    def _sum_days(self, scope: Scope, first: date, masks: Sequence[int], *, settled_only: bool, now: datetime) -> By:
        days = self.history.placements if scope.by_placement else self.history.days
        if len(masks) == 1:
            return _summed(days.get(first, ()), scope, settled=masks[0], settled_only=settled_only)
        totals: By = {}
        for n in range(len(masks)):
            day = first + timedelta(days=n)
            if day in days:
                _merge(totals, self.of_days(scope, day, day, now, settled_only=settled_only))
        return totals

    def of_hours(self, scope: Scope, first: int, last: int, *, known: int) -> By:
        """Sums of hours, both included, as told up to the hour `known`; nothing of them is settled. Placements are
        counted by the day."""
        if scope.by_placement:
            return _summed(self.history.placements.get(_day_of(first), ()), scope, settled=0) if last >= first else {}
        number = bisect_right(self.history.late, known, key=lambda row: row[0])
        if not number:
            return self._of_hours(scope, first, last)
        key = "told", scope, first, last, number
        if key not in self._kept:
            totals: By = {}
            _merge(totals, self._of_hours(scope, first, last))
            rows = (row for _, hour, row in self.history.late[:number] if first <= hour <= last)
            _merge(totals, _summed(rows, scope, settled=0))
            self._kept[key] = totals
        return self._kept[key]

    def _of_hours(self, scope: Scope, first: int, last: int) -> By:
        """The same without what was reported after a day was over."""
        key = "hours", scope, first, last
        if key not in self._kept:
            totals: By = {}
            if last > first:
                before = self._of_hours(scope, first, last - 1)
                _merge(totals, before)
            if last >= first:
                _merge(totals, _summed(self.history.hours.get(last, ()), scope, settled=0))
            self._kept[key] = totals
        return self._kept[key]

    def late_costs(self, scope: Scope, first: date, last: date, *, known: int) -> By:
        """Costs of days that were reported only after the hour `known`, as negative amounts."""
        if scope.by_placement:
            return {}
        number = bisect_right(self.history.late, known, key=lambda row: row[0])
        key = "late_costs", scope, first, last, number
        if key not in self._kept:
            rows = (row for _, hour, row in self.history.late[number:] if first <= _day_of(hour) <= last)
            self._kept[key] = _summed(map(_negative, rows), scope, settled=0)
        return self._kept[key]

    def older(self, scope: Scope) -> By:
        """Sums of the days before those kept one by one."""
        key = "older", scope
        if key not in self._kept:
            self._kept[key] = _summed(self.history.older, scope, settled=~self.history.older_open)
        return self._kept[key]


def _summed(rows: Iterable[FigureRow], scope: Scope, *, settled: int, settled_only: bool = False) -> By:
    key_of = _KEYS[scope.noun]
    totals: By = {}
    if scope.by_placement:
        rows = [row for row in rows if row.own_sub or scope.noun == row.sub]
        rows = [row for row in rows if scope.noun in {"placement", row.sub}]
    for row in rows:
        if any(getattr(row, noun) not in ids for noun, ids in scope.filters):
            continue
        over = not row.account or bool(row.account & settled)
        if settled_only and not over:
            continue
        key = key_of(row)
        sums = totals.get(key)
        if sums is None:
            sums = totals[key] = Totals()
        sums.add_row(row, settled=over)
    return totals


def _merge(totals: By, others: By) -> None:
    for key, other in others.items():
        sums = totals.get(key)
        if sums is None:
            sums = totals[key] = Totals()
        sums.add(other)


def _negative(row: FigureRow) -> FigureRow:
    values = tuple(-value for value in row.values)
    return msgspec.structs.replace(row, account=0, values=values, open_values=values)


def _day_of(hour: int) -> date:
    return EPOCH + timedelta(days=hour // 24)


_NOTHING = Totals()


class _Table(dict[SubjectKey, float | Unknown | None]):
    """Figures by subject, read when they are first asked for."""

    def __init__(self, read: Callable[[SubjectKey], float | Unknown | None]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, subject: SubjectKey) -> float | Unknown | None:
        value = self[subject] = self._read(subject)
        return value


class Span(msgspec.Struct, frozen=True):
    """A window at a moment: complete days and hours, and whether it reaches back to the start."""

    first: date | None = None
    last: date | None = None
    first_hour: int | None = None
    last_hour: int | None = None
    older: bool = False


class Moment:
    """The figures at one moment."""

    def __init__(self, figures: Figures, now: datetime, *, past: bool = False) -> None:
        self._figures = figures
        self.now = now
        self.local = now.astimezone(figures.history.zone)
        self.today = self.local.date()
        self._midnight = (self.today - EPOCH).days * 24
        self._hour = self._midnight + self.local.hour
        self._last_hour = self._hour - past
        self._tables: dict[Any, _Table] = {}
        self._made: dict[Any, Any] = {}
        self.counted_subs = figures.history.counted_subs

    def read(
        self, comparison: Comparison, scope: Scope, subject: SubjectKey, revenue_windows: frozenset[str]
    ) -> Known | Unknown:
        """A comparison's figure of a subject, and what it is compared with."""
        if comparison.measure in {"hour", "weekday"}:
            hour = comparison.measure == "hour"
            return Known(self.local.hour if hour else self.local.isoweekday(), comparison.limit)
        values, limits = self.tables(comparison, scope, revenue_windows)
        value = values[subject]
        if isinstance(value, Unknown):
            return value
        limit = comparison.limit if limits is None else limits[subject]
        if isinstance(limit, Unknown):
            return limit
        return Known(value, limit * comparison.limit / 100 if limits is not None and limit is not None else limit)

    def tables(
        self, comparison: Comparison, scope: Scope, revenue_windows: frozenset[str]
    ) -> "tuple[_Table, _Table | None]":
        """The comparison's figures by subject, and what they are compared with (None: its number)."""
        settled = comparison.window in revenue_windows
        key = comparison.measure, comparison.window, settled, scope
        plain = msgspec.structs.replace(comparison, limit=0.0)
        if key not in self._tables:
            self._tables[key] = _Table(lambda subject: self._value(plain, scope, subject, settled=settled))
        if not comparison.baseline:
            return self._tables[key], None
        against = *key, comparison.baseline
        if against not in self._tables:
            self._tables[against] = _Table(lambda subject: self._base(plain, scope, subject, settled=settled))
        return self._tables[key], self._tables[against]

    def compiled(
        self, node: Node, scope: Scope, revenue_windows: frozenset[str]
    ) -> Callable[[SubjectKey], bool | None]:
        """Whether a condition holds for a subject, as `judge` says it, without the figures it saw."""
        if isinstance(node, Comparison):
            return self._compiled_one(node, scope, revenue_windows)
        if isinstance(node, Not):
            inner = self.compiled(node.part, scope, revenue_windows)
            return lambda subject: None if (met := inner(subject)) is None else not met
        parts = [self.compiled(part, scope, revenue_windows) for part in node.parts]
        deciding = not isinstance(node, All)

        def several(subject: SubjectKey) -> bool | None:
            unknown = False
            for part in parts:
                met = part(subject)
                if met is deciding:
                    return deciding
                unknown = unknown or met is None
            return None if unknown else not deciding

        return several

    def _compiled_one(
        self, comparison: Comparison, scope: Scope, revenue_windows: frozenset[str]
    ) -> Callable[[SubjectKey], bool | None]:
        if comparison.measure in {"hour", "weekday"}:
            figure = self.read(comparison, scope, 0, revenue_windows)
            met = isinstance(figure, Known) and holds(comparison.sign, figure.value or 0, comparison.limit)
            return lambda _subject: met
        values, limits = self.tables(comparison, scope, revenue_windows)
        sign, number = comparison.sign, comparison.limit

        def one(subject: SubjectKey) -> bool | None:
            value = values[subject]
            limit = number if limits is None else limits[subject]
            if isinstance(value, Unknown) or isinstance(limit, Unknown):
                return None
            if value is None or limit is None:
                return False
            return holds(sign, value, limit if limits is None else limit * number / 100)

        return one

    def kept(self, key: Any, make: Callable[[], T]) -> T:
        """Something that many automations ask for at this moment, made once."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    def subjects(self, scope: Scope, windows: Iterable[str]) -> set[SubjectKey]:
        """Everything with figures in one of the windows."""
        keys: set[SubjectKey] = set()
        for window in windows:
            keys |= self._by(self._span(window), scope).keys()
        return keys

    def spend_after(self, scope: Scope, subject: SubjectKey, until: datetime) -> tuple[int, int | None]:
        """Spend and commission (None: nothing known) from now until a later moment, by whole hours and days, with all
        that has been told since."""
        end = (until + _MINUTE).astimezone(self._figures.history.zone)
        last_hour = min((end.date() - EPOCH).days * 24 + end.hour - 1, self._midnight + 23)
        today = self._figures.of_hours(scope, self._last_hour + 1, last_hour, known=_EVER)
        spend = today.get(subject, _NOTHING).values[PLACE["spend"]]
        if end.date() <= self.today + timedelta(days=1):
            return spend, None
        rest = self._figures.of_days(scope, self.today + timedelta(days=1), end.date() - timedelta(days=1), until)
        totals = rest.get(subject, _NOTHING)
        commission = totals.values[PLACE["commission"]] if totals.known & BIT["commission"] else None
        return spend + totals.values[PLACE["spend"]], commission

    def _span(self, window: str, *, end: date | None = None) -> Span:
        """The window that ends now, or with a settled day."""
        if window == "today":
            return Span(first_hour=self._midnight, last_hour=self._last_hour)
        if window.endswith("h"):
            return Span(first_hour=self._hour - int(window[:-1]), last_hour=self._last_hour)
        yesterday = self.today - timedelta(days=1)
        if window == "yesterday":
            return Span(first=yesterday, last=yesterday)
        if window == "start":
            first = min(self._figures.history.days, default=yesterday)
            if end is not None:
                return Span(first=first, last=end, older=True)
            return Span(first, yesterday, self._midnight, self._last_hour, older=True)
        days = int(window[:-1])
        if end is not None:
            return Span(first=end - timedelta(days=days - 1), last=end)
        return Span(self.today - timedelta(days=days - 1), yesterday, self._midnight, self._last_hour)

    def _by(self, span: Span, scope: Scope, *, settled_only: bool = False) -> By:
        figures = self._figures
        parts: list[By] = [figures.older(scope)] if span.older else []
        late_costs: By = {}
        if span.first is not None and span.last is not None and span.first <= span.last:
            parts.append(figures.of_days(scope, span.first, span.last, self.now, settled_only=settled_only))
            if not scope.by_placement and (
                late_costs := figures.late_costs(scope, span.first, span.last, known=self._last_hour)
            ):
                parts.append(late_costs)
        if span.first_hour is not None and span.last_hour is not None:
            parts.append(figures.of_hours(scope, span.first_hour, span.last_hour, known=self._last_hour))
        if len(parts) == 1:
            return parts[0]
        key = "span", scope, span, tuple(map(id, parts))
        if key not in figures._kept:
            totals: By = {}
            for part in parts:
                _merge(totals, part)
            for subject in late_costs:
                if not totals[subject].values[PLACE["spend"]]:
                    totals[subject].known &= ~BIT["spend"]
            figures._kept[key] = totals
        return figures._kept[key]

    def _settled_end(self, scope: Scope, subject: SubjectKey) -> date | Unknown:
        """The last day that is settled for everything of the subject's."""
        lacking = 0
        for back in range(1, SETTLES_WITHIN + 1):
            day = self.today - timedelta(days=back)
            totals = self._figures.of_days(scope, day, day, self.now).get(subject, _NOTHING)
            if not totals.open:
                return day
            lacking |= totals.open
        return Unknown("pending", f"figures of {self._named(lacking)} are pending")

    def _named(self, accounts: int) -> str:
        names = [name for bit, name in sorted(self._figures.history.accounts.items()) if bit & accounts]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    def _window(self, comparison: Comparison, scope: Scope, subject: SubjectKey, *, settled: bool) -> Span | Unknown:
        if not settled or comparison.window == "yesterday":
            return self._span(comparison.window)
        end = self._settled_end(scope, subject)
        return end if isinstance(end, Unknown) else self._span(comparison.window, end=end)

    def _value(
        self, comparison: Comparison, scope: Scope, subject: SubjectKey, *, settled: bool
    ) -> float | Unknown | None:
        span = self._window(comparison, scope, subject, settled=settled)
        if isinstance(span, Unknown):
            return span
        totals = self._by(span, scope).get(subject, _NOTHING)
        if comparison.measure == "expected_registrations":
            return self._expected(totals, scope, subject, span)
        return self._measured(comparison.measure, totals, span)

    def _expected(self, totals: Totals, scope: Scope, subject: SubjectKey, span: Span) -> float | Unknown | None:
        """Registrations that the usual conversion rate of the 30 days before lets expect of the window's clicks."""
        last = (span.first or self.today) - timedelta(days=1)
        before = Span(first=last - timedelta(days=29), last=last)
        rate = self._measured("cr", self._by(before, scope).get(subject, _NOTHING), before)
        clicks = self._measured("clicks", totals, span)
        if isinstance(rate, Unknown) or isinstance(clicks, Unknown):
            return rate if isinstance(rate, Unknown) else clicks
        return None if rate is None or clicks is None else clicks * rate / 100

    def _measured(self, measure: str, totals: Totals, span: Span) -> float | Unknown | None:
        """A measure of a sum: money in whole units, ratios in percent; None for a ratio without a whole."""
        if measure in _QUOTIENT_PARTS:
            part, whole, by = _QUOTIENT_PARTS[measure]
            above, below = self._measured(part, totals, span), self._measured(whole, totals, span)
            if isinstance(above, Unknown) or isinstance(below, Unknown):
                return above if isinstance(above, Unknown) else below
            if above is None or not below:
                return None
            by = by * (1e6 if part in MONEY and by == 1e-6 else 1)  # money is in whole units already
            return above / below * by
        if measure == "profit":
            earned, spent = self._measured("commission", totals, span), self._measured("spend", totals, span)
            if isinstance(spent, Unknown) and spent.kind == "unmeasured":
                spent = 0.0
            if isinstance(earned, Unknown) or isinstance(spent, Unknown):
                return earned if isinstance(earned, Unknown) else spent
            return None if earned is None or spent is None else earned - spent
        fault = self._fault(measure, totals, span)
        if fault is not None:
            return fault
        value = totals.values[PLACE[measure]]
        return value / 1e6 if measure in MONEY else value

    def _fault(self, measure: str, totals: Totals, span: Span) -> Unknown | None:
        """Why a sum says nothing of a measure; None where it does."""
        bit = BIT[measure]
        if totals.no_rate & bit:
            return Unknown(
                "rate", f"no exchange rate for {', '.join(sorted(set(totals.currencies)))}: rate set adds one"
            )
        late = measure in REVENUE or (bool(LAYERED_BITS & bit) and span.first_hour is None)
        if late and (held := self._held(totals.accounts, span)):
            return Unknown("held", f"a report of {self._named(held)} is held: confirm or discard it")
        if measure in REVENUE and totals.open:
            return Unknown("pending", f"figures of {self._named(totals.open)} are pending")
        if totals.lacking & bit:
            if totals.open and span.first_hour is None:
                return Unknown("pending", f"figures of {self._named(totals.open)} are pending")
            return Unknown("unmeasured", f"{title(measure)} are not measured by postbacks")
        if totals is not _NOTHING and not totals.known & bit and any(totals.values):
            return Unknown("unmeasured", f"{title(measure)} is not measured")
        return None

    def _held(self, accounts: int, span: Span) -> int:
        first = span.first or self.today
        last = span.last if span.first_hour is None and span.last else self.today
        return sum({
            account for account, begin, end in self._figures.history.held
            if account & accounts and begin <= last and end >= first
        })  # fmt: skip

    def _base(
        self, comparison: Comparison, scope: Scope, subject: SubjectKey, *, settled: bool
    ) -> float | Unknown | None:
        baseline = comparison.baseline
        if baseline == "payout":
            return self._payout(scope, subject)
        span = self._window(comparison, scope, subject, settled=settled)
        if isinstance(span, Unknown):
            return span
        if baseline in _AVERAGED:
            return self._average(comparison, scope, subject, span)
        if baseline == "others":
            return self._others(comparison.measure, scope, subject, span)
        noun, _, code = baseline.partition(":")
        entity = self._figures.history.entities.get(noun, {}).get(code)
        if entity is None:
            return Unknown("gone", f"{noun} {code} is not there any more")
        plain = msgspec.structs.replace(comparison, baseline="")
        return self._value(plain, scope.compared(noun), entity, settled=settled)

    def _average(self, comparison: Comparison, scope: Scope, subject: SubjectKey, span: Span) -> float | Unknown | None:
        """The measure's average before the window: of the same hours, of the same weekdays, or by the day. Of the
        running hour or day it is as much as has passed of it."""
        back = _AVERAGED[comparison.baseline]
        first, last = span.first or self.today, self._last_day(span)
        if span.first_hour is not None and span.last_hour is not None and span.first is None:
            whole, share = self._same_hours(scope, subject, span.first_hour, span.last_hour, back), 1 / len(back)
            part = span
        else:
            days = (last - first).days + 1
            passed = days - (1 - self._passed_of_day if span.last_hour is not None else 0)
            if comparison.baseline == "weekday":
                spans = [Span(first=first - timedelta(days=n), last=last - timedelta(days=n)) for n in back]
                share = passed / days / len(back)
            else:
                spans = [Span(first=first - timedelta(days=len(back)), last=first - timedelta(days=1))]
                share = passed / len(back)
            whole, part = Totals(), spans[0]
            for one in spans:
                whole.add(self._by(one, scope).get(subject, _NOTHING))
        value = self._measured(comparison.measure, whole, part)
        if value is None or isinstance(value, Unknown) or comparison.measure in QUOTIENTS:
            return value
        return value * share

    def _same_hours(self, scope: Scope, subject: SubjectKey, first: int, last: int, back: range) -> Totals:
        """Sums of these hours on earlier days; placements, counted by the day, by the part of the day."""
        whole, running = Totals(), Totals()
        over = first - 1 if scope.by_placement else min(last, self._hour - 1)
        for n in (24 * days for days in back):
            whole.add(self._hours(scope, first - n, over - n).get(subject, _NOTHING))
            if last > over:
                running.add(self._hours(scope, over + 1 - n, last - n).get(subject, _NOTHING))
        if last > over:
            whole.add(running.part(self._passed_of_day if scope.by_placement else self._passed_of_hour))
        return whole

    def _hours(self, scope: Scope, first: int, last: int) -> By:
        return self._figures.of_hours(scope, first, last, known=self._last_hour)

    @property
    def _passed_of_hour(self) -> float:
        return (self.local.minute + self.local.second / 60) / 60

    @property
    def _passed_of_day(self) -> float:
        return (self.local.hour + self._passed_of_hour) / 24

    def _last_day(self, span: Span) -> date:
        return self.today if span.last_hour is not None or span.last is None else span.last

    def _others(self, measure: str, scope: Scope, subject: SubjectKey, span: Span) -> float | Unknown | None:
        """The average of the other subjects: a ratio over all of them, or the mean of their sums."""
        whole, number = Totals(), 0
        for key, totals in self._by(span, scope).items():
            if key != subject and any(totals.values):
                whole.add(totals)
                number += 1
        value = self._measured(measure, whole, span)
        if value is None or isinstance(value, Unknown) or not number:
            return value if number else None
        return value if measure in QUOTIENTS else value / number

    def _payout(self, scope: Scope, subject: SubjectKey) -> float | Unknown | None:
        """Commission per FTD on the settled ones of the last 30 days: the subject's, else all of them."""
        last = self.today - timedelta(days=1)
        span = Span(first=last - timedelta(days=PAYOUT_DAYS - 1), last=last)
        team: tuple[Scope, SubjectKey] = scope.compared("team"), 0
        candidates = [team] if scope.by_placement else [(scope, subject), team]
        for of_scope, of_subject in candidates:
            totals = self._by(span, of_scope, settled_only=True).get(of_subject, _NOTHING)
            earned, deposits = (
                self._measured("commission", totals, span),
                self._measured("first_deposits", totals, span),
            )
            if isinstance(earned, Unknown) and earned.kind in {"held", "rate"}:
                return earned
            if isinstance(earned, Unknown) or isinstance(deposits, Unknown):
                continue
            if earned is not None and deposits:
                return earned / deposits
        return Unknown("payout", "nothing is known yet of what an FTD brings: a settled day with FTDs tells")


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """How far back figures are needed: complete days, hours before the running day, and everything since the start."""

    days: int = 0
    hours: int = 0
    start: bool = False

    def joined(self, other: "Reach") -> "Reach":
        return Reach(
            days=max(self.days, other.days), hours=max(self.hours, other.hours), start=self.start or other.start
        )


def reach_of(comparisons: Iterable[Comparison]) -> Reach:
    """How far back a condition looks."""
    reach = Reach()
    for comparison in comparisons:
        window = comparison.window
        days = int(window[:-1]) if window.endswith("d") else 1
        hours = int(window[:-1]) if window.endswith("h") else 0
        back = max(_AVERAGED.get(comparison.baseline, range(1)), default=0)
        running = window == "today" or bool(hours)
        needs = Reach(
            days=SETTLES_WITHIN + (0 if running else days + back), hours=hours + (24 * back if running else 0),
            start=window == "start",
        )  # fmt: skip
        if comparison.baseline == "payout":
            needs = needs.joined(Reach(days=PAYOUT_DAYS + 1))
        if comparison.measure == "expected_registrations":
            needs = needs.joined(Reach(days=30 + days + SETTLES_WITHIN))
        reach = reach.joined(needs)
    return reach

"""Whether a fetched report can be believed, judged by itself and by the settled figures that stand.

Days that still run when a report is compared are left out: their figures grow. Of ordinary restatements at most one
sync in a thousand may be held (tests/storage/ledger/revenue/test_suspect.py generates a thousand months of them).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, timedelta
from fractions import Fraction
from itertools import combinations, compress

import msgspec

from storage.ledger.facts import Report, RevenueRow
from storage.ledger.revenue.packed_rows import PackedRows
from storage.ledger.revenue.sanity import COUNTS, MEASURES, Key, Values, measures_not_zero, values_of

_EVENTS = tuple(map(MEASURES.index, ("registrations", "first_deposits", "deposits", "qualified")))
_MONEY = tuple(range(COUNTS, len(MEASURES)))
_KINDS = (range(COUNTS), _MONEY)
_DEPOSITS, _FIRST_DEPOSITS, _DEPOSIT_AMOUNT = map(MEASURES.index, ("deposits", "first_deposits", "deposit_amount"))

_ROUNDING = 5_000  # half a cent for each row that a platform's total sums up, in micro-units
_CENT = 10_000
_TOO_SMALL = 100_000  # an amount that rounding to cents may change by more than a tenth says nothing about a factor
_FEWEST = 3  # with fewer figures than this, "all of them doubled" is chance
_ENOUGH = 6  # figures of one measure, and rows of one segment, that do not go all at once by chance
_WHOLE_DAYS = 9  # figures of days multiplied as a whole that are no chance
_SAMPLE = 1_000  # compared rows that are looked at for a common factor
_NOTHING: Values = (0,) * len(MEASURES)

_TENS = tuple(Fraction(10) ** n for n in (1, 2, 3, -1, -2, -3))
_MULTIPLES = (Fraction(2), Fraction(1, 2), Fraction(3), Fraction(1, 3))


class Pair(msgspec.Struct, frozen=True, gc=False):
    """A row of a settled day as it stands and as the report has it; zeros where the report has no such row."""

    before: Values
    after: Values
    day: date
    tag: str


class Judge:
    """Whether a report can be believed, shown slice by slice what stands of its days.

    `settled` holds the days of its window that were over at an earlier sync.
    """

    def __init__(self, report: Report, rows: Sequence[RevenueRow], settled: AbstractSet[date]) -> None:
        self._settled = settled
        self._fault = report.damage or contradiction(report, rows)
        self._is_empty = not rows
        self._says = frozenset(map(MEASURES.index, measures_not_zero(rows)))
        self._rows_standing = 0
        self._settled_rows = 0
        self._gone = 0
        self._figures = [0] * len(MEASURES)  # how many of a measure stand
        self._nonzero = [0] * len(MEASURES)  # how many of those are not zero now
        self._rows_by_tag: Counter[str] = Counter()  # rows that say more than visits
        self._gone_by_tag: Counter[str] = Counter()  # those of them that the report no longer has
        self._rows = rows
        self._sums: dict[date, Values] = {}  # of days of which more than a row in ten changed, as they stand
        self._rows_with_money = 0
        self._rows_with_counts = 0
        self._pairs: list[Pair] = []
        self._stride = 1

    def add(self, standing: Mapping[Key, Values], rows: Mapping[Key, RevenueRow]) -> None:
        """Compare figures that stand with the report's rows of the same days."""
        stated = [(key, before) for key, before in standing.items() if any(before)]
        self._rows_standing += len(stated)
        pairs = [
            Pair(before, _NOTHING if (row := rows.get(key)) is None else values_of(row.figures), key[0], key[1])
            for key, before in stated
            if key[0] in self._settled
        ]
        self._count(pairs)
        self._sample(pairs)
        if sum(pair.before != pair.after for pair in pairs) * 10 > len(pairs):
            self._sums |= _sums_of_days(
                [(key[0], before) for key, before in standing.items() if key[0] in self._settled]
            )

    def suspicion(self) -> str | None:
        """Why the report is held until a member confirms or discards it; None if it is sound."""
        if self._fault:
            return self._fault
        if not self._says:
            empty = "it is empty" if self._is_empty else "all of its figures are zero"
            return f"{empty}, where {self._rows_standing} rows with figures stood" if self._rows_standing else None
        return (
            self._vanished() or self._zeroed() or _multiplied(_ComparedFigures(self._pairs))
            or _days_multiplied(self._pairs) or self._moved()
        )  # fmt: skip

    def _count(self, pairs: Sequence[Pair]) -> None:
        """Count what stood in settled rows and what of it is gone, a measure at a time since rows are many."""
        befores, afters = (
            zip(*(pair.before for pair in pairs), strict=True),
            zip(*(pair.after for pair in pairs), strict=True),
        )
        for i, (before, after) in enumerate(zip(befores, afters, strict=True)):
            figures_now = list(compress(after, before))
            self._figures[i] += len(figures_now)
            self._nonzero[i] += sum(map(bool, figures_now))
        for pair in pairs:
            is_gone = not any(pair.after)
            has_counts, has_money = any(pair.before[1:COUNTS]), any(pair.before[COUNTS:])
            self._gone += is_gone
            self._rows_with_counts += has_counts
            self._rows_with_money += has_money
            if has_counts or has_money:
                self._rows_by_tag[pair.tag] += 1
                self._gone_by_tag[pair.tag] += is_gone

    def _sample(self, pairs: Sequence[Pair]) -> None:
        """Keep about `_SAMPLE` of the pairs, evenly spread."""
        for pair in pairs:
            self._settled_rows += 1
            if self._settled_rows % self._stride == 0:
                self._pairs.append(pair)
            if len(self._pairs) > _SAMPLE:
                self._pairs, self._stride = self._pairs[::2], self._stride * 2

    def _vanished(self) -> str | None:
        missing, rows = self._gone, self._settled_rows
        if (missing >= _FEWEST and missing * 2 > rows) or (missing == rows and missing > 1):
            return f"{missing} of {rows} rows of settled days are gone from it"
        for tag, gone in self._gone_by_tag.items():
            if gone == self._rows_by_tag[tag] >= _ENOUGH:
                return f"all {gone} rows of settled days of {tag or 'rows without a segment'} are gone from it"
        return None

    def _zeroed(self) -> str | None:
        """Whole kinds of figures that stood and are zero in every row, while others stand."""
        money, events = self._standing(_MONEY), self._standing(_EVENTS)
        if self._says.isdisjoint(_MONEY) and self._says.isdisjoint(_EVENTS):
            rows = max(self._rows_with_money, self._rows_with_counts)
            if money + events >= _FEWEST and rows > 1:
                return f"all of its figures but visits are zero, where {money + events} stood"
        elif self._says.isdisjoint(_MONEY):
            if money >= _FEWEST and (self._rows_with_money > 1 or self._deposits_lost_their_amount()):
                return f"all of its money is zero, where {money} amounts stood, while its counts stand"
        elif self._says.isdisjoint(_EVENTS) and events > _FEWEST and self._rows_with_counts >= _FEWEST:
            return f"all of its counts are zero, where {events} stood, while its money stands"
        for name, stood, kept in zip(MEASURES, self._figures, self._nonzero, strict=True):
            if stood >= _ENOUGH and not kept:
                return f"{name} of all settled days is zero, where {stood} figures stood"
        return None

    def _moved(self) -> str | None:
        """Whether days stand where others stood, or two measures have changed places."""
        if len(self._sums) < _FEWEST:
            return None
        now = _sums_of_days((row.day, values_of(row.figures)) for row in self._rows)
        for off, words in ((1, "a day later"), (-1, "a day earlier")):
            apart = timedelta(days=off)
            shifted = [
                now.get(day + apart, _NOTHING)[i] == value
                for day, values in self._sums.items()
                if day + apart in self._sums
                for i, value in enumerate(values)
                if value and self._sums[day + apart][i] != value
            ]
            if _are_many(shifted, _WHOLE_DAYS):
                return f"figures of most days stand {words} than they did"
        for i, j in combinations(range(len(MEASURES)), 2):
            swapped = [
                day in now and (now[day][i], now[day][j]) == (values[j], values[i])
                for day, values in self._sums.items()
                if values[i] != values[j]
            ]
            if _are_many(swapped, _FEWEST):
                return f"{MEASURES[i]} and {MEASURES[j]} of most days have changed places"
        return None

    def _deposits_lost_their_amount(self) -> bool:
        return bool(self._figures[_DEPOSIT_AMOUNT]) and bool(self._says & {_DEPOSITS, _FIRST_DEPOSITS})

    def _standing(self, measures: Iterable[int]) -> int:
        """How many figures of these measures stand in settled rows."""
        return sum(self._figures[i] for i in measures)


def _sums_of_days(rows: Iterable[tuple[date, Values]]) -> dict[date, Values]:
    """The sums of each day's figures, what is not reported being 0."""
    by_day: dict[date, list[Values]] = {}
    for day, values in rows:
        by_day.setdefault(day, []).append(values)
    return {
        day: tuple([sum(filter(None, column)) for column in zip(*values, strict=True)])
        for day, values in by_day.items()
    }


def _are_many(matches: Sequence[bool], least: int) -> bool:
    """Whether so many match that it is no chance, some of the others being restated beside."""
    return sum(matches) >= least and sum(matches) * 5 >= len(matches) * 2


def contradiction(report: Report, rows: Sequence[RevenueRow]) -> str | None:
    """How the totals that the report states contradict its rows; None if they agree or none are stated."""
    if report.totals is None:
        return None
    one_currency = len(_currencies(report.rows)) <= 1
    totals, sums = values_of(report.totals), _sums(report.rows, rows)
    for i in range(len(MEASURES) if one_currency else COUNTS):
        total = totals[i]
        if total is None:
            continue
        of_all, of_distinct = sums(i)
        if of_all is None or of_distinct is None:
            continue
        slack = 0 if i < COUNTS else _ROUNDING * (len(report.rows) + 2)
        if min(abs(of_all - total), abs(of_distinct - total)) > slack:
            return f"its rows sum to {_worded(of_all, i)} {MEASURES[i]}, its total says {_worded(total, i)}"
    return None


def _currencies(rows: Sequence[RevenueRow]) -> AbstractSet[str]:
    return rows.currencies if isinstance(rows, PackedRows) else {row.currency for row in rows}


def _sums(
    every: Sequence[RevenueRow], distinct: Sequence[RevenueRow]
) -> Callable[[int], tuple[int | None, int | None]]:
    """The sum of a measure over all rows, and over those that are distinct."""
    of_packed = every.sums() if isinstance(every, PackedRows) else None

    def sums(i: int) -> tuple[int | None, int | None]:
        of_every = _sum(every, i) if of_packed is None else of_packed.get(MEASURES[i])
        return of_every, of_every if every is distinct else _sum(distinct, i)

    return sums


def _sum(rows: Sequence[RevenueRow], i: int) -> int | None:
    """The sum of a measure; None if rows there are do not report it."""
    values = [value for row in rows if (value := getattr(row.figures, MEASURES[i])) is not None]
    return sum(values) if values or not rows else None


def _worded(value: int, i: int) -> str:
    return str(value) if i < COUNTS else f"{value / 1_000_000:.2f}"


class _Scaling(msgspec.Struct, frozen=True):
    """How many figures are a factor of what they were, of how many that could show it."""

    factor: Fraction
    matches: int
    figures: int
    rows: int
    counted: int  # sum of the counts among the matches

    @property
    def is_most(self) -> bool:
        return self.matches * 2 > self.figures

    @property
    def is_evidence(self) -> bool:
        """A row or two of counts such as 1 → 2 prove nothing."""
        return self.matches >= _FEWEST and (self.rows >= _FEWEST or self.counted >= 5 or self.matches > _FEWEST)


class _ComparedFigures:
    """The figures of some pairs, measure by measure: those that changed, and the sizes of those that did not."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.changed: list[list[tuple[int, int, int]]] = [[] for _ in MEASURES]  # number of the pair, before, after
        self.unchanged: list[list[int]] = [[] for _ in MEASURES]
        for number, pair in enumerate(pairs):
            for i, (before, after) in enumerate(zip(pair.before, pair.after, strict=True)):
                if before and before == after:
                    self.unchanged[i].append(abs(before))
                elif before:
                    self.changed[i].append((number, before, after or 0))
        for sizes in self.unchanged:
            sizes.sort()


def _multiplied(figures: _ComparedFigures) -> str | None:
    """Most settled figures multiplied alike, or money or counts of most rows by ten, a hundred or a thousand.

    Amounts alone may be restated by any factor: a platform's monthly fee is one.
    """
    for factor in _candidates(figures):
        scaling = _scaling(figures, factor, range(len(MEASURES)))
        if not (scaling.is_most and scaling.is_evidence):
            continue
        counts, amounts = (_scaling(figures, factor, kind) for kind in _KINDS)
        is_fee = not counts.figures and factor not in (*_TENS, *_MULTIPLES)
        if all(scaling.is_most for scaling in (counts, amounts) if scaling.figures) and not is_fee:
            return f"{scaling.matches} of its {scaling.figures} settled figures are {_times(factor)} what they were"
    for factor in (*_TENS, *_MULTIPLES, Fraction(-1)):
        for kind in _KINDS:
            scaling = _scaling(figures, factor, kind)
            enough = (
                scaling.is_most
                if factor in _TENS
                else scaling.matches * 5 >= scaling.figures * 4 and scaling.matches >= 6
            )
            if enough and scaling.is_evidence:
                return f"{_kind_name(kind)} of most rows are {_times(factor)} what they were"
    for i, name in enumerate(MEASURES):
        for factor in _TENS:
            scaling = _scaling(figures, factor, (i,))
            if scaling.is_most and scaling.rows >= _FEWEST:
                return f"{name} of most rows is {_times(factor)} what it was"
    return None


def _days_multiplied(pairs: Sequence[Pair]) -> str | None:
    """Some days of which every figure is the same multiple of what it was, while the others stand."""
    by_day: dict[date, list[Pair]] = {}
    for pair in pairs:
        by_day.setdefault(pair.day, []).append(pair)
    changed = {
        day: _ComparedFigures(of_day)
        for day, of_day in by_day.items()
        if all(pair.before != pair.after for pair in of_day)
    }
    for factor in (*_MULTIPLES, *_TENS, Fraction(-1)):
        scalings = {day: _scaling(of_day, factor, range(len(MEASURES))) for day, of_day in changed.items()}
        whole = {day: of_day for day, of_day in scalings.items() if of_day.figures and of_day.matches == of_day.figures}
        rows, figures = (sum(getattr(of_day, name) for of_day in whole.values()) for name in ("rows", "figures"))
        if rows >= _FEWEST and figures >= _WHOLE_DAYS:
            days = " and ".join(f"{day}" for day in sorted(whole)[:3]) + (" and more" if len(whole) > 3 else "")
            return f"all {figures} figures of {days} are {_times(factor)} what they were"
    return None


def _kind_name(kind: Collection[int]) -> str:
    return "amounts" if COUNTS in kind else "counts"


def _times(factor: Fraction) -> str:
    return f"{factor.numerator / factor.denominator:.4g} times"


def _candidates(figures: _ComparedFigures) -> list[Fraction]:
    """Factors worth trying: the usual ones, and the middle one of each kind of figure."""
    middles = []
    for kind in _KINDS:
        ratios = [Fraction(after, before) for i in kind for _, before, after in figures.changed[i] if after]
        if len(ratios) >= _FEWEST:
            middles.append(sorted(ratios)[len(ratios) // 2])
    return list(dict.fromkeys((*_MULTIPLES, *_TENS, *middles)))


def _scaling(figures: _ComparedFigures, factor: Fraction, measures: Collection[int]) -> _Scaling:
    matches = compared = counted = 0
    rows: set[int] = set()
    for i in measures:
        least = _smallest(factor, i)
        compared += len(figures.unchanged[i]) - bisect_left(figures.unchanged[i], least)
        for row, before, after in figures.changed[i]:
            if abs(before) < least:
                continue
            compared += 1
            if after and _is_multiple(before, after, factor, i):
                matches += 1
                rows.add(row)
                counted += before if i < COUNTS else 0
    return _Scaling(factor, matches, compared, len(rows), counted)


def _smallest(factor: Fraction, measure: int) -> int:
    """The smallest figure that can be distinguished from a rounding once it is divided by the factor's denominator."""
    if factor.denominator == 1:
        return 0
    least = 1 if measure < COUNTS else _TOO_SMALL
    return -(-least * factor.denominator // abs(factor.numerator))


def _is_multiple(old: int, new: int, factor: Fraction, measure: int) -> bool:
    """Whether `new` is `old` times the factor, rounded to a whole count or a cent."""
    off = abs(new * factor.denominator - old * factor.numerator)
    if measure < COUNTS or abs(new) < _TOO_SMALL:
        return off < factor.denominator
    return off < _CENT * factor.denominator

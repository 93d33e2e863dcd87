"""Which reports are held: faults of every kind on every grain, and hardly ever an ordinary restatement."""

import os
from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from random import Random
from typing import Any

import msgspec
import pytest

from storage.ledger.facts import Figures, Report, RevenueRow
from storage.ledger.revenue.sanity import Key, Values, key_of
from storage.ledger.revenue.suspect import Judge
from tests.storage.ledger.revenue.months import COUNTS, FIRST, GRAINS, MONEY, Month, judged, record

Rows = list[RevenueRow]
MONTHS = int(os.environ.get("ORDINARY_MONTHS", "120"))  # 1,000 take six minutes
SCALES = (0.1, 0.4, 2, 12, 60)


def held_syncs(months: int, seed: int) -> tuple[int, int, list[str]]:
    """Syncs of that many ordinary months, how many were held, and why."""
    syncs, reasons = 0, []
    for n in range(months):
        chance = Random(f"{seed}-{n}")
        grain = list(GRAINS.values())[n % len(GRAINS)]
        standing: dict[Key, Values] = {}
        settled: set[date] = set()
        for today, rows in Month(chance, grain, SCALES[n % len(SCALES)]).mornings():
            if why := judged(rows, standing, today, settled):
                reasons.append(f"{n} {today} {why}")
            record(rows, standing, today)
            settled |= {today - timedelta(days=back) for back in range(1, 8)}
            syncs += 1
    return syncs, len(reasons), reasons


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_of_ordinary_restatements_one_sync_in_a_thousand_is_held_at_most() -> None:
    syncs, held, reasons = held_syncs(MONTHS, seed=2)
    assert syncs == MONTHS * 30
    assert held * 1_000 <= syncs, reasons


def scaled(names: tuple[str, ...], top: int, bottom: int = 1) -> Callable[[RevenueRow], RevenueRow]:
    """The row with those figures multiplied, rounded as a platform rounds: whole counts, cents."""

    def change(row: RevenueRow) -> RevenueRow:
        values = msgspec.structs.asdict(row.figures)
        for name in names:
            if values[name]:
                unit = 10_000 if name in MONEY else 1
                values[name] = values[name] * top // (bottom * unit) * unit
        return msgspec.structs.replace(row, figures=Figures(**values))

    return change


def zeroed(names: tuple[str, ...]) -> Callable[[RevenueRow], RevenueRow]:
    return scaled(names, 0)


EVERYTHING = (*COUNTS, *MONEY)
FAULTS: dict[str, Callable[[RevenueRow], RevenueRow]] = {
    "doubled": scaled(EVERYTHING, 2), "halved": scaled(EVERYTHING, 1, 2), "three times": scaled(EVERYTHING, 3),
    "money zero": zeroed(MONEY), "all but visits zero": zeroed(EVERYTHING[1:]),
    **{f"money × {n}": scaled(MONEY, n) for n in (10, 100, 1000)},
    **{f"money ÷ {n}": scaled(MONEY, 1, n) for n in (10, 100, 1000)},
    **{f"counts × {n}": scaled(COUNTS, n) for n in (10, 100)},
}  # fmt: skip


def can_show(fault: str, grain: str) -> bool:
    """Whether the fault changes anything there: a grain without counts cannot lose money while its counts stand."""
    measures = set(GRAINS[grain].measures)
    if fault == "money zero" or fault.startswith("counts"):
        return bool(measures & set(COUNTS))
    return "visits" in measures if fault == "all but visits zero" else True


@cache
def next_morning(grain: str, seed: int) -> tuple[dict[Key, Values], set[date], date, Rows]:
    """What stands after a sync at noon of the ninth day, and the true answer one day later: today taken over."""
    mornings = list(Month(Random(seed), GRAINS[grain], 12).mornings())[:10]
    standing: dict[Key, Values] = {}
    for today, rows in mornings[:-1]:
        record(rows, standing, today)
    today, rows = mornings[-1]
    return standing, {FIRST + timedelta(days=n) for n in range(8)}, today, rows


SEEDS = range(3)


@pytest.mark.parametrize("grain", GRAINS)
def test_the_same_morning_without_a_fault_is_not_held(grain: str) -> None:
    for seed in SEEDS:
        standing, settled, today, rows = next_morning(grain, seed)
        assert judged(rows, standing, today, settled) is None


@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_whole_report_is_held_a_day_later(fault: str, grain: str) -> None:
    if not can_show(fault, grain):
        return
    for seed in SEEDS:
        standing, settled, today, rows = next_morning(grain, seed)
        assert judged([FAULTS[fault](row) for row in rows], standing, today, settled) is not None


@pytest.mark.parametrize("grain", GRAINS)
def test_a_fault_of_settled_days_alone_is_held_too(grain: str) -> None:
    for fault in ("doubled", "halved", "money × 100"):
        standing, settled, today, rows = next_morning(grain, 7)
        broken = [FAULTS[fault](row) if row.day in settled else row for row in rows]
        assert judged(broken, standing, today, settled) is not None


def without(fault: str, rows: Rows, settled: set[date]) -> Rows:
    """The rows with a fault of a part of them: of a segment, of some days, of one measure."""
    days = sorted(settled)
    if fault == "a segment is gone":
        return [row for row in rows if row.tag != "t0"]
    if fault == "three days doubled":
        return [FAULTS["doubled"](row) if row.day in days[2:5] else row for row in rows]
    if fault == "CPA is zero":
        return [zeroed(("commission_cpa",))(row) for row in rows]
    if fault == "another currency":
        return [msgspec.structs.replace(row, currency="USD") for row in rows]
    if fault == "FTDs and registrations swapped":
        return [
            msgspec.structs.replace(row, figures=msgspec.structs.replace(
                row.figures, registrations=row.figures.first_deposits, first_deposits=row.figures.registrations,
            )) for row in rows
        ]  # fmt: skip
    off = timedelta(days=1 if fault == "a day later" else -1)
    return [msgspec.structs.replace(row, day=row.day + off) for row in rows]


@pytest.mark.parametrize(
    ("fault", "why"),
    [("a segment is gone", "rows of settled days of t0 are gone"), ("three days doubled", "are 2 times"),
     ("CPA is zero", "commission_cpa of all settled days is zero"), ("another currency", "are gone"),
     ("FTDs and registrations swapped", "registrations and first_deposits of most days have changed places"),
     ("a day later", "a day later"), ("a day earlier", "a day earlier")],
)  # fmt: skip
def test_a_fault_of_a_part_of_the_report_is_held(fault: str, why: str) -> None:
    for grain in ("affilka", "smartico by click id"):
        for seed in SEEDS:
            standing, settled, today, rows = next_morning(grain, seed)
            assert why in (judged(without(fault, rows, settled), standing, today, settled) or ""), (grain, seed)


@pytest.mark.parametrize("grain", GRAINS)
def test_most_rows_gone_or_none_left_are_held(grain: str) -> None:
    standing, settled, today, rows = next_morning(grain, 3)
    assert "gone" in (judged(rows[-len(rows) // 4 :], standing, today, settled) or "")
    assert "it is empty" in (judged([], standing, today, settled) or "")
    nothing = [FAULTS["doubled"](msgspec.structs.replace(row, figures=Figures(visits=0))) for row in rows]
    assert "all of its figures are zero" in (judged(nothing, standing, today, settled) or "")


@pytest.mark.parametrize("grain", GRAINS)
def test_one_row_restated_or_withdrawn_is_not_held(grain: str) -> None:
    standing, settled, today, rows = next_morning(grain, 4)
    at = next(n for n, row in enumerate(rows) if row.day in settled)
    assert judged(rows[:at] + rows[at + 1 :], standing, today, settled) is None
    assert judged([*rows[:at], FAULTS["doubled"](rows[at]), *rows[at + 1 :]], standing, today, settled) is None


DAY, NEXT = FIRST, FIRST + timedelta(days=1)


def small(day: date, **figures: int) -> RevenueRow:
    return RevenueRow(day=day, tag="main", currency="EUR", figures=Figures(**figures))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([small(DAY, first_deposits=1, commission_cpa=100)], [small(DAY, first_deposits=2, commission_cpa=200)]),
        ([small(DAY, first_deposits=1, commission_cpa=100)], [small(NEXT, visits=3)]),
        ([small(DAY, visits=9, first_deposits=1, commission_cpa=100)], [small(DAY, visits=9, first_deposits=0)]),
        ([small(DAY, visits=9, ngr=5_000_000)], [small(DAY, visits=9, ngr=50_000_000)]),
        ([small(DAY, visits=9), small(NEXT, visits=2)], [small(DAY, visits=9), small(NEXT, visits=4)]),
    ],
)
def test_a_single_figure_more_or_less_is_chance(before: Rows, after: Rows) -> None:
    standing: dict[Key, Values] = {}
    record(before, standing, NEXT)
    assert judged(after, standing, NEXT, {DAY}) is None


def report(rows: Rows, **more: Any) -> Report:
    return Report(first=DAY, last=NEXT, rows=tuple(rows), raw=b"", **more)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (report([small(DAY, registrations=3)], damage="it is cut off"), "cut off"),
        (report([small(DAY, registrations=3)], totals=Figures(registrations=4)), "rows sum to 3 registrations"),
        (report([], totals=Figures(first_deposits=4)), "rows sum to 0 first_deposits"),
        (report([small(DAY, ngr=1_000_000)], totals=Figures(ngr=1_010_000)), None),
        (report([small(DAY, ngr=1_000_000)], totals=Figures(ngr=1_050_000)), "1.05"),
    ],
)
def test_an_answer_that_contradicts_itself_is_held_without_any_past(answer: Report, why: str | None) -> None:
    judge = Judge(answer, answer.rows, set())
    judge.add({}, {key_of(row): row for row in answer.rows})
    result = judge.suspicion()
    assert (why in (result or "")) if why else result is None

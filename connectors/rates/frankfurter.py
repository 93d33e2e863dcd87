"""Frankfurter: the ECB's reference rates by HTTP, for the days after the bundled history. No key.

`GET /v1/2026-10-01..2026-10-31?base=EUR` gives `{"base": "EUR", "rates": {"2026-10-01": {"USD": 1.1, …}}}`; the key
`amount` (1.0) is inferred, so another amount is refused rather than guessed at.
"""

from datetime import date
from decimal import Decimal

import msgspec

from connectors.http import Http
from storage.ledger.errors import ConnectorError

URL = "https://api.frankfurter.dev/v1"


class _Answer(msgspec.Struct):
    base: str
    rates: dict[date, dict[str, Decimal]]
    amount: Decimal | None = None


_decoder = msgspec.json.Decoder(_Answer)


async def fetch(http: Http, first: date, last: date, *, url: str = URL) -> list[tuple[date, str, Decimal]]:
    """(day, currency, what one euro is worth in it) for working days of the range. Raises ConnectorError."""
    answer = await http.get(f"{url}/{first}..{last}?base=EUR")
    return read(answer.body)


def read(body: bytes) -> list[tuple[date, str, Decimal]]:
    """The rates of an answer. Raises ConnectorError saying what was expected."""
    try:
        answer = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise ConnectorError(f"Frankfurter: expected rates by day, got something else ({error})", raw=body) from None
    if answer.base != "EUR" or answer.amount not in {None, 1}:
        raise ConnectorError("Frankfurter: expected rates of one euro", raw=body)
    return [
        (day, currency, rate)
        for day, rates in sorted(answer.rates.items())
        for currency, rate in rates.items()
        if rate > 0
    ]

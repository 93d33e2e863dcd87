"""Amounts in the report's currency: with the day's rate, or not at all."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from connectors.rates import ecb, frankfurter
from storage.ledger.errors import ConnectorError
from storage.ledger.money import Quote, Rates, convert, to_micro
from storage.reports import rates
from storage.reports.rates import EVERYBODY, StoredRate

FRIDAY, MONDAY = date(2026, 10, 2), date(2026, 10, 5)


def test_rounding_is_half_even_to_the_micro_unit() -> None:
    assert [convert(n, Decimal("0.5")) for n in (1, 3, 5, -1, -3)] == [0, 2, 2, 0, -2]
    assert to_micro(Decimal("0.0000005")) == 0


def test_a_weekend_takes_the_last_published_rate() -> None:
    existing = Rates("EUR", [Quote(FRIDAY, "EUR", "USD", Decimal("1.25"))])
    assert existing.rate("USD", date(2026, 10, 4)) == Decimal("0.8")
    assert existing.rate("USD", date(2026, 10, 1)) is None
    assert existing.rate("USD", date(2026, 12, 1)) is None


def test_two_published_rates_make_a_cross_rate() -> None:
    quotes = [Quote(FRIDAY, "EUR", "USD", Decimal("1.25")), Quote(FRIDAY, "EUR", "BRL", Decimal("5"))]
    assert Rates("USD", quotes).rate("BRL", FRIDAY) == Decimal("0.25")
    assert Rates("USD", quotes).rate("EUR", FRIDAY) == Decimal("1.25")


def test_the_teams_own_rate_goes_first_and_stands_for_its_day_alone() -> None:
    quotes = [Quote(FRIDAY, "EUR", "USD", Decimal("1.25")), Quote(MONDAY, "USD", "EUR", Decimal("0.9"), own=True)]
    existing = Rates("EUR", [*quotes, Quote(FRIDAY, "USDT", "EUR", Decimal("0.9"), own=True)])
    assert existing.rate("USD", MONDAY) == Decimal("0.9")
    assert existing.rate("USD", date(2026, 10, 6)) == Decimal("0.8")
    assert (existing.rate("USDT", FRIDAY), existing.rate("USDT", MONDAY)) == (Decimal("0.9"), None)


async def test_rates_are_kept_exactly_and_replaced(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        ecb_rate = StoredRate(day=FRIDAY, currency="EUR", base="USD", rate=Decimal("1.2345"), origin="ecb")
        await rates.store(tx, EVERYBODY, [ecb_rate])
        await rates.store(
            tx, EVERYBODY, [StoredRate(day=FRIDAY, currency="EUR", base="USD", rate=Decimal("1.25"), origin="ecb")]
        )
        own = StoredRate(day=FRIDAY, currency="USDT", base="EUR", rate=Decimal("0.123456789012345678"), origin="team")
        await rates.store(tx, 1, [own])
        existing = await rates.load_rates(tx, 1, "EUR", ["USD", "USDT", "EUR"], FRIDAY, MONDAY)
        assert existing.rate("USD", MONDAY) == Decimal("0.8")
        assert existing.rate("USDT", FRIDAY) == own.rate
        assert (await rates.load_rates(tx, 2, "EUR", ["USDT"], FRIDAY, MONDAY)).rate("USDT", FRIDAY) is None
        assert await rates.last_published(tx) == FRIDAY


def test_the_bundled_history_has_the_major_currencies() -> None:
    result = ecb.bundled(date(2026, 10, 1))
    assert {"USD", "GBP", "BRL", "PLN"} <= {currency for _, currency, _ in result}
    assert min(day for day, _, _ in result) == date(2026, 10, 1)


def test_frankfurters_answer_is_read_and_another_one_refused() -> None:
    body = b'{"amount":1.0,"base":"EUR","start_date":"2026-10-01","rates":{"2026-10-02":{"USD":1.1172,"BRL":6}}}'
    assert frankfurter.read(body) == [(FRIDAY, "USD", Decimal("1.1172")), (FRIDAY, "BRL", Decimal(6))]
    with pytest.raises(ConnectorError, match="expected rates"):
        frankfurter.read(b"<html>")
    with pytest.raises(ConnectorError, match="one euro"):
        frankfurter.read(b'{"base":"USD","rates":{}}')

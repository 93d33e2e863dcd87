"""What a source says its traffic cost, and how its answers are read: an answer that cannot be read is an error, never a
zero."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from connectors.http import Answer
from storage.ledger.dates import days_between, read_day
from storage.ledger.errors import ConnectorError
from storage.ledger.numbers import read_micro

MOST_PAGES = 1_000  # of one report: more of them is a loop


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a source's own campaign cost on a day, in micro-units."""

    day: date
    campaign: str  # the source's id of it
    amount: int
    currency: str
    name: str = ""  # what the source calls it, where the report says


class CostQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which days are asked for, both included; `zone` is that of our report days."""

    first: date
    last: date
    zone: ZoneInfo

    @property
    def days(self) -> list[date]:
        return days_between(self.first, self.last)


class CostReport(msgspec.Struct, frozen=True, kw_only=True):
    """All rows of the days asked for. `zone`: whose days they are, where the source says."""

    rows: list[CostRow]
    zone: str = ""


def decoded(title: str, answer: Answer, *, named: str = "cost_token") -> Any:
    """The JSON of an answer, numbers as text. Raises ConnectorError, permanent where the setting `named` is refused."""
    if answer.status in {401, 403}:
        raise ConnectorError(f"{title} answered {answer.status}: check {named}", permanent=True, raw=answer.body)
    if answer.status != 200:
        raise ConnectorError(
            f"{title} answered {answer.status}", raw=answer.body, retry_after=answer.retry_after
        )  # fmt: skip
    try:
        return msgspec.json.Decoder(Any, float_hook=str).decode(answer.body)
    except msgspec.DecodeError as error:
        raise ConnectorError(f"{title}: expected JSON: {error}", raw=answer.body, cut_off=True) from None


def rows_in(title: str, content: Any, *names: str) -> list[Mapping[str, Any]]:
    """The rows under the first of the names there is. Raises ConnectorError."""
    held = next((content[name] for name in names if name in content), None) if isinstance(content, dict) else content
    rows = list(held.values()) if isinstance(held, dict) else held
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConnectorError(f"{title}: expected a list of rows under {' or '.join(names)}, got {str(content)[:120]}")
    return rows


def field(title: str, row: Mapping[str, Any], *names: str) -> Any:
    """A row's value under the first of the names there is. Raises ConnectorError."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise ConnectorError(f"{title}: a row lacks {' or '.join(names)}: it has {', '.join(sorted(row)[:8])}")


def micros(title: str, campaign: str, cost: Any, currency: str) -> int:
    """A cost in micro-units. Raises ConnectorError where it is no number, or of another currency."""
    try:
        amount, written = read_micro(cost, own=currency)
    except ValueError as error:
        raise ConnectorError(f"{title}: the cost of campaign {campaign}: {error}") from None
    if amount is None:
        raise ConnectorError(f"{title}: the cost of campaign {campaign} is empty")
    if written not in {"", currency}:
        raise ConnectorError(f"{title}: the cost of campaign {campaign} is in {written}, not {currency}")
    return amount


def day_of(title: str, text: Any) -> date:
    """The day a row is about: `2026-10-01`, with a time or without. Raises ConnectorError."""
    try:
        return read_day(str(text))
    except ValueError:
        raise ConnectorError(f"{title}: {text!r} is no day") from None


def summed(rows: Iterable[CostRow]) -> list[CostRow]:
    """One row for each campaign, day and currency."""
    sums: dict[tuple[date, str, str], CostRow] = {}
    for row in rows:
        key = (row.day, row.campaign, row.currency)
        amount = row.amount + (sums[key].amount if key in sums else 0)
        sums[key] = msgspec.structs.replace(row, amount=amount)
    return list(sums.values())


def inside(title: str, query: CostQuery, rows: Iterable[CostRow]) -> list[CostRow]:
    """The rows, summed. Raises ConnectorError where one is of a day that was not asked for."""
    report = summed(rows)
    strange = next((row.day for row in report if not query.first <= row.day <= query.last), None)
    if strange is not None:
        raise ConnectorError(f"{title}: a row of {strange}, asked for {query.first} to {query.last}")
    return report

"""Column types: how facts are stored, the same on both databases."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = EPOCH.date()
_FIRST = EPOCH_DAY.toordinal()

#: A key the database counts up by itself; SQLite only does so for INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as whole microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Day(TypeDecorator[date]):
    """A calendar day, kept as whole days since 1970-01-01."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: date | None, dialect: Dialect) -> int | None:
        return None if value is None else days(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> date | None:
        return None if value is None else EPOCH_DAY + timedelta(days=value)


class Json(TypeDecorator[Any]):
    """Plain JSON values (lists, dicts, strings, numbers), kept as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else msgspec.json.decode(value)


def micros(instant: datetime) -> int:
    """Whole microseconds since 1970 of an aware datetime."""
    passed = instant - EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def days(day: date) -> int:
    """Whole days since 1970-01-01."""
    return day.toordinal() - _FIRST


def day_of_hour(hour: int) -> date:
    """The report day of a report hour (days since 1970 * 24 + hour of the day)."""
    return EPOCH_DAY + timedelta(days=hour // 24)


def stored_type(column: Column[Any]) -> Any:
    """The type of a column as the database has it."""
    return getattr(column.type, "impl_instance", column.type)

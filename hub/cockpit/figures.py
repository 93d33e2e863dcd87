"""Figures on pages: numbers, money, ratios and days in the reader's language, "–" where nothing is measured."""

from datetime import date, datetime
from functools import lru_cache
from typing import Any

import msgspec
from babel import Locale, UnknownLocaleError, negotiate_locale
from babel.numbers import format_currency, format_decimal, format_percent

from bot.core.context import Deployment
from bot.render.figures import change
from storage.ledger.money import ratio, units

NONE = "–"
LOCALES = [
    "en",
    "en_GB",
    "de",
    "es",
    "pt",
    "fi",
    "sv",
    "ru",
    "uk",
    "pl",
    "fr",
    "it",
    "nl",
    "da",
    "nb",
    "cs",
    "ro",
    "el",
    "tr",
    "he",
    "ar",
    "ja",
]


class Show(msgspec.Struct, frozen=True):
    """How one reader sees figures: language from the browser, days and money from the deployment."""

    locale: str
    currency: str
    timezone: str

    @staticmethod
    def for_request(accept_language: str, deployment: Deployment) -> "Show":
        return Show(locale=_locale(accept_language[:200]), currency=deployment.currency, timezone=deployment.timezone)

    def count(self, number: float | None) -> str:
        return NONE if number is None else _count(number, self.locale)

    def decimal(self, number: float | None) -> str:
        """A number of unknown size: two decimals, more where it is small."""
        if number is None:
            return NONE
        digits = 2 if abs(number) >= 0.1 or number == 0 else 4
        return str(format_decimal(round(number, digits), format="#,##0." + "0" * digits, locale=self.locale))

    def money(self, micros: int | None, currency: str = "", *, missing: str = NONE) -> str:
        """Micro-units as an amount of the report currency, or of another one."""
        if micros is None:
            return missing
        return _money(micros, currency or self.currency, self.locale)

    def each(self, micros: int | None, number: int | None) -> str:
        """Money per piece: EPC, CPA."""
        return NONE if micros is None or not number else self.money(round(micros / number))

    def percent(self, part: int | None, whole: int | None, *, digits: int = 1) -> str:
        if part is None or not whole:
            return NONE
        return _percent(part, whole, digits, self.locale)

    def share(self, part: float | None, *, digits: int = 1) -> str:
        """A fraction of one as a percentage."""
        return NONE if part is None else self.percent(round(part * 1_000_000), 1_000_000, digits=digits)

    def change(self, now: float | None, before: float | None) -> str:
        """+12 % against another figure; empty where that says nothing."""
        return change(now, before, gap="\u00a0").replace("-", "−")

    def day(self, day: date | str | None) -> str:
        if day is None:
            return NONE
        return _day(date.fromisoformat(day) if isinstance(day, str) else day, self.locale)

    def time(self, instant: datetime | None) -> str:
        """An instant in the reporting time zone."""
        if instant is None:
            return NONE
        from babel.dates import format_datetime

        return str(format_datetime(instant.astimezone(_zone(self.timezone)), "medium", locale=self.locale))

    def clock(self, instant: datetime | None) -> str:
        return NONE if instant is None else f"{instant.astimezone(_zone(self.timezone)):%H:%M:%S}"

    def text(self, value: Any) -> str:
        """Any field of a result as a person reads it."""
        if value is None or (not value and not isinstance(value, bool | int | float)):
            return NONE
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, datetime):
            return self.time(value)
        if isinstance(value, date):
            return self.day(value)
        if isinstance(value, list | tuple | set):
            return ", ".join(self.text(part) for part in value)
        if isinstance(value, dict | msgspec.Struct):
            return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
        return str(value)


# Babel takes a tenth of a millisecond for each; a page has thousands, and the next page the same again.
@lru_cache(maxsize=20_000)
def _count(number: float, locale: str) -> str:
    return str(format_decimal(number, locale=locale))


@lru_cache(maxsize=20_000)
def _money(micros: int, currency: str, locale: str) -> str:
    return str(format_currency(units(micros), currency, locale=locale))


@lru_cache(maxsize=20_000)
def _percent(part: int, whole: int, digits: int, locale: str) -> str:
    pattern = "#,##0." + "0" * digits + " %" if digits else "#,##0 %"
    return str(format_percent(ratio(part, whole), pattern, locale=locale)).replace(" %", "\u00a0%")


@lru_cache(maxsize=2_000)
def _day(day: date, locale: str) -> str:
    from babel.dates import format_date  # 2 MB with its calendars, for who looks at pages only

    return str(format_date(day, "medium", locale=locale))


@lru_cache(maxsize=256)
def _locale(accept_language: str) -> str:
    preferred = [part.split(";")[0].strip().replace("-", "_") for part in accept_language.split(",") if part.strip()]
    try:
        locale = negotiate_locale(preferred, LOCALES) or "en"
        Locale.parse(locale)
    except (ValueError, UnknownLocaleError):
        return "en"
    return locale


@lru_cache(maxsize=16)
def _zone(name: str) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)

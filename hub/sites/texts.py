"""Texts of pages: one JSON per language in templates/locales, English where a language lacks something."""

from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from babel import Locale, UnknownLocaleError

FOLDER = Path(__file__).parent / "templates" / "locales"
RIGHT_TO_LEFT = {"ar", "fa", "he", "ur"}


@cache
def texts(language: str) -> dict[str, Any]:
    """All texts of a language (`de`), English where there is none."""
    path = FOLDER / f"{language}.json"
    if not path.is_file():
        return {} if language == "en" else texts("en")
    own: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return own if language == "en" else {**texts("en"), **own}


def language_of(locale: str) -> str:
    return locale.partition("-")[0].lower()


def written_in(locale: str) -> str:
    """The language the texts really are in: what the page's `lang` must say."""
    return locale if (FOLDER / f"{language_of(locale)}.json").is_file() else "en"


def country(market: str, locale: str) -> str:
    """A country's name in a page's language."""
    return str(_babel(written_in(locale)).territories.get(market, market))


def month(day: date, locale: str) -> str:
    from babel.dates import format_date  # with its calendars 2 MB, for pages only

    return format_date(day, "LLLL y", locale=_babel(written_in(locale)))


def _babel(locale: str) -> Locale:
    try:
        return Locale.parse(locale.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return Locale.parse(language_of(locale))

"""Countries as trackers and spreadsheets write them: a code, or a name in one of the languages of `tables`."""

from functools import cache

from babel import Locale

_OTHERS = {"usa": "US", "uk": "GB", "russian federation": "RU", "czech republic": "CZ", "turkey": "TR",
           "korea, republic of": "KR", "viet nam": "VN", "moldova, republic of": "MD", "сша": "US",
           "англия": "GB", "великобритания": "GB", "чехия": "CZ", "tschechische republik": "CZ"}  # fmt: skip
LANGUAGES = ("en", "de", "ru", "es", "pt", "pl", "fr", "tr", "it")


@cache
def _codes() -> dict[str, str]:
    named = {
        name.casefold(): code
        for language in LANGUAGES
        for code, name in Locale(language).territories.items()
        if len(code) == 2 and code != "ZZ"
    }
    return named | _OTHERS


def country_code(text: object) -> str:
    """The ISO code of a country; empty for what is none."""
    word = str(text or "").strip()
    if len(word) == 2 and word.isascii() and word.isalpha():
        return word.upper()
    return _codes().get(word.casefold(), "")

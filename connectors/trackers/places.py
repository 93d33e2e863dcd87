"""Countries as trackers write them: a code, or an English name."""

from functools import cache

from babel import Locale

_OTHERS = {"usa": "US", "uk": "GB", "russian federation": "RU", "czech republic": "CZ", "turkey": "TR",
           "korea, republic of": "KR", "viet nam": "VN", "moldova, republic of": "MD"}  # fmt: skip


@cache
def _codes() -> dict[str, str]:
    named = {
        name.casefold(): code for code, name in Locale("en").territories.items() if len(code) == 2 and code != "ZZ"
    }
    return named | _OTHERS


def country_code(text: object) -> str:
    """The ISO code of a country; empty for what is none."""
    word = str(text or "").strip()
    if len(word) == 2 and word.isascii() and word.isalpha():
        return word.upper()
    return _codes().get(word.casefold(), "")

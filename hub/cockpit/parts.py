"""Pieces of pages that stand in them a hundred times: made by functions, which cost a tenth of a template's macro."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from markupsafe import Markup, escape

_TONES = {
    "good": ("active", "published", "live", "settled", "idle", "accepted", "sent", "delivered", "reviewed", "ok",
             "running", "approved", "done"),
    "warn": ("paused", "draft", "provisional", "partial", "suspect", "queued", "pending", "unmatched", "unmapped",
             "verifying"),
    "bad": ("failed", "stopped", "rejected", "dead", "reversed", "down"),
}  # fmt: skip
_TONE_OF = {word: tone for tone, words in _TONES.items() for word in words}


@lru_cache(maxsize=20_000)
def safe(text: str) -> str:
    """A text as it may stand in HTML, and between quotes in it. Most texts of a page are those of the page before."""
    return str(escape(text))


@lru_cache(maxsize=1_000)
def state(value: str) -> Markup:
    """A state as a coloured word."""
    return Markup('<span class="state {}">{}</span>\n').format(_TONE_OF.get(value, ""), value)


def options(labels: Mapping[str, str]) -> Markup:
    """The choices of a list of suggestions: codes with their names."""
    return joined(f'<option value="{safe(code)}">{safe(name)}</option>' for code, name in labels.items())


def joined(pieces: Iterable[str]) -> Markup:
    """Pieces of HTML as one; every text in them has been through `safe`."""
    return Markup("".join(pieces))  # noqa: S704

"""Parameters of a tracking link, read so that nothing a traffic source sends can break a click."""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import unquote_plus

import msgspec

from storage.clicks.plans import OURS
from storage.ledger.clicks.macros import unreplaced
from storage.ledger.numbers import read_micro

LONGEST_QUERY = 8192  # bytes; of longer ones the parameters we do not know are cut
LONGEST_VALUE = 2048  # characters
_LAST_SHORT = OURS.index("sub2")
_LONGEST_COST = 40  # characters
_HIGHEST_COST = 1_000_000_000 * 1_000_000


class Query(msgspec.Struct):
    """What a link carried, under our own names; else empty. `macros`: parameters that came with an unreplaced one."""

    click_id: str = ""
    cost: str = ""
    currency: str = ""
    subs: tuple[str, ...] = ("",) * 10
    extra: dict[str, str | list[str]] | None = None
    macros: list[str] = []
    cut: bool = False
    wide: bool = False  # whether there is more than a click's short row holds


EMPTY = Query()
_MACRO_STARTS = "{$[#_"


def read_query(raw: bytes, places: Mapping[str, int]) -> Query:
    """Read a query string; `places` says where in `OURS` a parameter's value belongs. The first value stands."""
    if not raw:
        return EMPTY
    values = [""] * len(OURS)
    query = Query()
    text = raw.decode("utf-8", "replace")
    coded = "%" in text or "+" in text or "\x00" in text
    large, room = len(raw) > LONGEST_VALUE, LONGEST_QUERY
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if coded:
            name, value = _decoded(name), _decoded(value)
        if not value:
            continue
        known = places.get(name)
        place = places.get(name.lower(), -1) if known is None else known
        if large:
            room -= len(pair) + 1
            if (
                room < 0 and place < 0 and len(raw) > LONGEST_QUERY
            ):  # what we do not know is cut from where it is too long
                query.cut = True
                continue
            if len(value) > LONGEST_VALUE:
                value, query.cut = value[:LONGEST_VALUE], True
        if value[0] in _MACRO_STARTS and unreplaced(value):
            query.macros.append(name[:100])
        elif place < 0:
            _keep(query, name[:100], value)
        elif not values[place]:
            values[place] = value
            if place > _LAST_SHORT:
                query.wide = True
    query.click_id, query.cost, query.currency = values[:3]
    query.subs = tuple(values[3:])
    return query


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="replace").replace("\x00", "")


def _keep(query: Query, name: str, value: str) -> None:
    """Unknown parameters are kept; one that comes again becomes a list."""
    if not name:
        return
    if query.extra is None:
        query.extra = {}
        query.wide = True
    before = query.extra.get(name)
    if before is None:
        query.extra[name] = value
    elif isinstance(before, list):
        before.append(value)
    elif before != value:
        query.extra[name] = [before, value]


def read_cost(text: str, own: str) -> tuple[int, str]:
    """A cost per click in micro-units, -1 for what is no possible one, and the currency beside it, empty where none is.

    `own` is the currency of the link: a sign of several currencies means it where it can.
    """
    return _read_cost(text, own) if len(text) <= _LONGEST_COST else (-1, "")


@lru_cache(maxsize=4096)
def _read_cost(text: str, own: str) -> tuple[int, str]:
    try:
        micro, currency = read_micro(text, own=own)
    except ValueError:
        return -1, ""
    return (micro, currency) if micro is not None and 0 <= micro < _HIGHEST_COST else (-1, "")


def read_currency(text: str, default: str) -> str:
    """Three to five letters, upper case; else the default."""
    if 3 <= len(text) <= 5 and text.isascii() and text.isalpha():
        return text.upper()
    return default

"""Parameters of a tracking link, read so that nothing a traffic source sends can break a click."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from urllib.parse import unquote_plus

import msgspec

from storage.ledger.macros import SUBS, unreplaced

LONGEST_QUERY = 8192  # bytes; of longer ones the parameters we do not know are cut
LONGEST_VALUE = 2048  # characters
_HIGHEST_COST = Decimal(1_000_000_000)


class Query(msgspec.Struct):
    """What a link carried, under our own names. `macros`: parameters that came with an unreplaced macro."""

    click_id: str | None = None
    cost: str | None = None
    currency: str | None = None
    subs: tuple[str | None, ...] = ()
    extra: dict[str, str | list[str]] | None = None
    macros: tuple[str, ...] = ()
    cut: bool = False


EMPTY = Query()


def read_query(raw: bytes, names: Mapping[str, str]) -> Query:
    """Read a query string; `names` maps parameter names to ours. The first value of a parameter stands."""
    if not raw:
        return EMPTY
    found: dict[str, str] = {}
    extra: dict[str, str | list[str]] = {}
    macros: list[str] = []
    query = Query()
    room = LONGEST_QUERY
    for pair in raw.decode("utf-8", "replace").split("&"):
        name, _, value = pair.partition("=")
        if "%" in pair or "+" in pair or "\x00" in pair:
            name, value = _decoded(name), _decoded(value)
        ours = names.get(name) or names.get(name.lower())
        room -= len(pair) + 1
        if not value or (ours is None and room < 0):
            query.cut = query.cut or room < 0
            continue
        if len(value) > LONGEST_VALUE:
            value, query.cut = value[:LONGEST_VALUE], True
        if unreplaced(value):
            macros.append(name[:100])
        elif ours is None:
            _keep(extra, name[:100], value)
        else:
            found.setdefault(ours, value)
    return _fill(query, found, extra, macros)


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="replace").replace("\x00", "")


def _keep(extra: dict[str, str | list[str]], name: str, value: str) -> None:
    """Unknown parameters are kept; one that comes again becomes a list."""
    if not name:
        return
    before = extra.get(name)
    if before is None:
        extra[name] = value
    elif isinstance(before, list):
        before.append(value)
    elif before != value:
        extra[name] = [before, value]


def _fill(query: Query, found: dict[str, str], extra: dict[str, str | list[str]], macros: list[str]) -> Query:
    query.macros = tuple(macros)
    if found:
        query.click_id = found.pop("click_id", None)
        query.cost = found.pop("cost", None)
        query.currency = found.pop("currency", None)
    if found:
        query.subs = tuple(found.pop(name, None) for name in SUBS)
        extra.update(found)  # what a source maps to a name that is none of ours
    query.extra = extra or None
    return query


def read_cost(text: str | None) -> int | None:
    """A cost per click in micro-units; None for what is no amount, or no possible one."""
    if not text:
        return None
    if "," in text and "." not in text:
        text = text.replace(",", ".")
    try:
        amount = Decimal(text.strip())
        return round(amount * 1_000_000) if 0 <= amount < _HIGHEST_COST else None
    except (InvalidOperation, ValueError):
        return None


def read_currency(text: str | None, default: str | None) -> str | None:
    """Three to five letters, upper case; else the default."""
    if text and 3 <= len(text) <= 5 and text.isascii() and text.isalpha():
        return text.upper()
    return default

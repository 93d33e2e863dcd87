"""Limits of size, declared with the arguments: checked before work that grows with them, shown in help."""

from datetime import date
from typing import Any

import msgspec
from msgspec import Meta

from bot.core.arguments import bare_kinds, fields_of, meta
from bot.core.tokenizer import MAX_ARGUMENT, period
from storage.ledger.errors import Refused

MAX_ITEMS = 500  # of a list that says nothing else
MAX_DEPTH = 16  # of JSON that says nothing else
MAX_FILE = 20_000_000  # bytes of an upload
MAX_ROWS = 200_000  # rows of one import: what a file of 20 MB holds
MAX_DAYS = 1_100  # of a range: three years


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """How much a field may hold; None where its kind has no such measure."""

    text: int | None = None  # characters
    items: int | None = None  # of a list, or fields of an object
    depth: int | None = None  # of JSON
    days: int | None = None  # of a range
    file: int | None = None  # bytes

    def __str__(self) -> str:
        """As help says it; what every text and list shares is not repeated."""
        parts = []
        if self.text not in {None, MAX_ARGUMENT}:
            parts.append(f"{self.text:,} characters")
        if self.items not in {None, MAX_ITEMS}:
            parts.append(f"{self.items:,} entries")
        if self.depth not in {None, MAX_DEPTH}:
            parts.append(f"{self.depth} levels deep")
        if self.days is not None:
            parts.append(f"{self.days:,} days")
        if self.file is not None:
            parts.append(f"{self.file // 1_000_000} MB")
        return f"at most {', '.join(parts)}" if parts else ""


def limited(description: str, *, items: int | None = None, text: int | None = None, depth: int | None = None) -> Meta:
    """Marks a field that may hold so many entries or characters, and JSON so deep."""
    limits = {"items": items, "text": text, "depth": depth}
    return Meta(description=description, extra={name: value for name, value in limits.items() if value is not None})


def day_range(description: str) -> Meta:
    """Marks a range of days, or the first day of one that ends with the field `to`."""
    return Meta(description=description, extra={"days": MAX_DAYS})


def limits_of(parameters: type[msgspec.Struct]) -> dict[str, Limit]:
    """The limits of each field, by the name it has outside."""
    return {field.encode_name: _limit(field.type) for field in msgspec.structs.fields(parameters)}


def _limit(annotation: Any) -> Limit:
    kinds, extra = bare_kinds(annotation), meta(annotation)[2]
    if bytes in kinds:
        return Limit(file=MAX_FILE)
    if kinds & {list, tuple, dict}:
        return Limit(text=MAX_ARGUMENT, items=extra.get("items", MAX_ITEMS), depth=extra.get("depth", MAX_DEPTH))
    return Limit(text=extra.get("text", MAX_ARGUMENT), days=extra.get("days"))


def schema(limit: Limit) -> dict[str, int]:
    """The limit in the words of JSON Schema, which for an object would be `maxProperties`: lists and texts only."""
    if limit.items is not None:
        return {"maxItems": limit.items}
    return {} if limit.text is None else {"maxLength": limit.text}


def in_words(limit: Limit) -> str:
    """What of the limit JSON Schema has no words for: days, depth, the size of a file."""
    return str(msgspec.structs.replace(limit, text=None, items=None))


def check_number(limits: dict[str, Limit], name: str, number: int, *, counted: bool = True) -> None:
    """Raises Refused where a field may not hold so many entries; not `counted`: it holds at least as many."""
    most = limits[name].items if name in limits else None
    if most is not None and number > most:
        entries = f"{number:,} entries" if counted else f"{number:,} entries and more"
        raise Refused(f"{name}: {entries}, at most {most:,} may be given", field=name)


def check(limits: dict[str, Limit], arguments: dict[str, Any]) -> None:
    """Raises Refused at the first field that holds too much. Work is bounded by the limits, not by what came."""
    for name, value in arguments.items():
        if name in limits:
            _check(name, limits[name], value)


def _check(name: str, limit: Limit, value: Any) -> None:
    if isinstance(value, str | bytes):
        if limit.file is not None and len(value) > limit.file * 4 // 3 + 1_000:
            raise Refused(f"{name}: a file has {limit.file // 1_000_000} MB at most", field=name)
        if limit.file is None and len(value) > (limit.text or MAX_ARGUMENT):
            raise Refused(f"{name} may have {limit.text or MAX_ARGUMENT:,} characters at most", field=name)
    elif isinstance(value, list | dict):
        check_number({name: limit}, name, len(value))
        if deeper_than(value, limit.depth or MAX_DEPTH):
            raise Refused(f"{name}: nested more than {limit.depth or MAX_DEPTH} deep", field=name)


def deeper_than(value: Any, depth: int) -> bool:
    """Whether JSON is nested deeper than that; level by level, so that it stops as soon as that is certain."""
    level = [value]
    for _ in range(depth):
        level = [inner for container in level for inner in _inside(container)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    values = value.values() if isinstance(value, dict) else value
    return [element for element in values if isinstance(element, list | dict)]


def check_days(limits: dict[str, Limit], new: msgspec.Struct, today: date) -> None:
    """Raises Refused for a range with more days than declared; what is no range is for the command to refuse."""
    for name, field in fields_of(type(new)).items():
        most = limits[name].days
        value = getattr(new, field.name)
        if most is None or value is None:
            continue
        try:
            first, last = (
                (value, getattr(new, "to", None) or today) if isinstance(value, date) else period(value, today)
            )
        except (ValueError, Refused):
            continue
        if (last - first).days >= most:
            raise Refused(f"{field.encode_name}: {(last - first).days + 1:,} days, at most {most:,} may be asked for",
                          field=field.encode_name)  # fmt: skip

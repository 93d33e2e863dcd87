"""A report URL pasted from a panel: only its two dates are replaced, everything else stays as it was copied."""

import re
from datetime import date
from urllib.parse import quote, unquote

from storage.ledger.errors import Refused

_WRITTEN = (
    (re.compile(r"\d{4}-\d{2}-\d{2}"), "%Y-%m-%d"),
    (re.compile(r"\d{4}/\d{2}/\d{2}"), "%Y/%m/%d"),
    (re.compile(r"\d{2}\.\d{2}\.\d{4}"), "%d.%m.%Y"),
    (re.compile(r"\d{2}/\d{2}/\d{4}"), "%m/%d/%Y"),
    (re.compile(r"\d{8}"), "%Y%m%d"),
)


def redated(url: str, dates: dict[str, date]) -> str:
    """The URL with each named parameter's day replaced in the way it is written there, time of day untouched.

    Raises Refused at `report_url` when a parameter is missing or holds no date.
    """
    return replaced(url, {name: lambda text, to=day: _dated(text, to) for name, day in dates.items()})


def paged(url: str, parameter: str, page: int) -> str:
    """The URL with its page number set."""
    bare, _, query = url.partition("?")
    if re.search(rf"(^|&){re.escape(parameter)}=", query):
        return replaced(url, {parameter: lambda _text: str(page)})
    return f"{bare}?{query}&{parameter}={page}" if query else f"{bare}?{parameter}={page}"


def replaced(url: str, changes: dict[str, object]) -> str:
    """The URL with the values of some parameters changed, the rest byte for byte."""
    bare, _, query = url.partition("?")
    parts, unused = query.split("&"), set(changes)
    for at, part in enumerate(parts):
        name, _, value = part.partition("=")
        change = changes.get(unquote(name))
        if callable(change):
            new = change(unquote(value))
            parts[at] = f"{name}={quote(str(new), safe=_unencoded(value))}"
            unused.discard(unquote(name))
    if unused:
        raise Refused(
            f"report_url has no {' and no '.join(repr(name) for name in sorted(unused))}: choose a custom date range "
            "in the panel before you copy the URL",
            field="report_url",
        )
    return f"{bare}?{'&'.join(parts)}"


def _unencoded(value: str) -> str:
    """Characters the panel itself left unencoded."""
    return "".join(mark for mark in "/:+,[]" if mark in value) + "/"


def _dated(text: str, day: date) -> str:
    for pattern, form in _WRITTEN:
        if pattern.search(text):
            return pattern.sub(day.strftime(form), text, count=1)
    raise Refused(f"report_url has {text!r} where a date should stand", field="report_url")

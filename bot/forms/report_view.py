"""A report as its address says it: range, groups, filters, columns, order. Saved views keep the address."""

from collections.abc import Iterable
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from bot.core.command import parse
from bot.core.tokenizer import period
from storage.ledger.errors import Refused
from storage.ledger.facts import SUBS
from storage.ledger.reports.arrange import check_sort
from storage.ledger.reports.formula import read_formula
from storage.ledger.reports.report_rows import DIMENSIONS

FILTERS = ("campaign", "site", "offer", "casino", "account", "source", "group", "tag", "country", "device",
           *SUBS)  # fmt: skip
MOST_GROUPS = 3
MOST_OWN = 5
DEFAULT_RANGE = "7d"
VERSUS = ("previous", "year")


class OwnColumn(msgspec.Struct, frozen=True):
    """A column by formula."""

    name: str
    formula: str


class ReportView(msgspec.Struct, frozen=True, kw_only=True):
    """What a report's address asks for; `range` in words, `columns` by their keys (none: the usual ones)."""

    range: str = DEFAULT_RANGE
    by: tuple[str, ...] = ("campaign",)
    filters: dict[str, str] = {}
    columns: tuple[str, ...] = ()
    own: tuple[OwnColumn, ...] = ()
    sort: str = ""
    clock: str = "event"
    as_of: str = ""
    versus: str = ""

    def days(self, today: date) -> tuple[date, date]:
        """First and last day. Raises Refused at `range`."""
        try:
            return period(self.range, today)
        except ValueError as error:
            raise Refused(f"range: {error}", field="range") from None

    def arguments(self, first: date, last: date) -> dict[str, Any]:
        """What `report merged` is asked for."""
        values: dict[str, Any] = {"from": first.isoformat(), "to": last.isoformat(), "by": list(self.by),
                                 "clock": self.clock, **self.filters}  # fmt: skip
        return values | ({"as_of": self.as_of} if self.as_of else {})

    def address(self, **changes: Any) -> str:
        """The query of its address, without what is usual."""
        query = {
            "range": self.range, "by": ",".join(self.by), "columns": ",".join(self.columns),
            "own": ",".join(f"{column.name}={column.formula}" for column in self.own), "sort": self.sort,
            "clock": "" if self.clock == "event" else self.clock, "as_of": self.as_of, "vs": self.versus,
            **self.filters,
        }  # fmt: skip
        return urlencode({name: value for name, value in (query | changes).items() if value})

    def stats(self) -> str:
        """The same as a chat command; columns are what a chat shows."""
        words = [f"stats {self.range} by {','.join(self.by)}"]
        named = (*self.filters.items(), ("sort", self.sort), ("as_of", self.as_of))
        words += [f'{name}="{text}"' if " " in text else f"{name}={text}" for name, text in named if text]
        words += [f'own="{", ".join(f"{column.name} = {column.formula}" for column in self.own)}"'] if self.own else []
        words += ["clock=visit"] if self.clock == "visit" else []
        words += ["vs previous"] if self.versus == "previous" else []
        return " ".join(words)


def read_view(query: dict[str, str], today: date) -> ReportView:
    """The view of an address. Raises Refused naming the parameter at fault."""
    by = tuple(dict.fromkeys(_parts(query.get("by", ""))))
    if wrong := [name for name in by if name not in DIMENSIONS]:
        raise Refused(f"by: no dimension {wrong[0]!r}: there is {', '.join(DIMENSIONS)}", field="by")
    view = ReportView(
        range=query.get("range", "").strip() or DEFAULT_RANGE, by=by[:MOST_GROUPS] or ("campaign",),
        filters={name: query[name].strip() for name in FILTERS if query.get(name, "").strip()},
        columns=tuple(dict.fromkeys(_parts(query.get("columns", "")))), own=read_own(_parts(query.get("own", ""))),
        sort=query.get("sort", "").strip(), clock="visit" if query.get("clock") == "visit" else "event",
        as_of=query.get("as_of", "").strip(), versus=query.get("vs", "") if query.get("vs") in VERSUS else "",
    )  # fmt: skip
    view.days(today)
    formula_names = {column.name for column in view.own}
    if view.sort.removeprefix("-") not in formula_names:
        check_sort(view.sort or None)
    return view


def saved_report(query: str, today: date) -> ReportView:
    """The view of a saved report's query."""
    return read_view(dict(parse_qsl(query)), today)


def read_saved(text: str, today: date) -> str:
    """The address' query of a view to save, from itself or from a `stats` command. Raises Refused at `query`."""
    try:
        return read_view(_query_of_stats(text) if text.strip().startswith("stats") else _query(text), today).address()
    except Refused as fault:
        raise Refused(f"query: {fault}", field="query") from None


def _query(text: str) -> dict[str, str]:
    query = dict(parse_qsl(text.strip().lstrip("?"), max_num_fields=100))
    parameters = {"range", "by", "columns", "own", "sort", "clock", "as_of", "vs", *FILTERS}
    if not query or set(query) - parameters:
        raise Refused("write a stats command, such as: stats 7d by campaign", field="query")
    return query


def _query_of_stats(text: str) -> dict[str, str]:
    command, arguments = parse(text)
    if command.name != "stats":
        raise Refused("write a stats command, such as: stats 7d by campaign", field="query")
    words = {name: ",".join(value) if isinstance(value, list) else str(value) for name, value in arguments.items()}
    return {"range": "today", **words}


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def read_own(parts: Iterable[str]) -> tuple[OwnColumn, ...]:
    """`Margin=profit / commission`, `Net=commission - spend`. Raises Refused at `own`."""
    columns: list[OwnColumn] = []
    for part in parts:
        name, equals, formula = (piece.strip() for piece in part.partition("="))
        if not equals or not name or len(name) > 40:
            raise Refused("own: write a name of at most 40 characters and a formula: Margin = profit / commission",
                          field="own")  # fmt: skip
        read_formula(formula)
        if name.lower() in {column.name.lower() for column in columns}:
            raise Refused(f"own: two columns are called {name}: give one another name", field="own")
        columns.append(OwnColumn(name, formula))
    if len(columns) > MOST_OWN:
        raise Refused(f"own: at most {MOST_OWN} columns", field="own")
    return tuple(columns)

"""From a platform's records to revenue rows: which column is which figure, and every fault named by its column."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, NoReturn

import msgspec

from connectors.base import Connection, Window
from connectors.numbers import day as read_day
from connectors.numbers import micro, whole
from connectors.reading import Record, plain_name
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Figures, Report, RevenueRow

COUNTS = ("visits", "registrations", "first_deposits", "deposits", "qualified")
AMOUNTS = ("deposit_amount", "ngr", "commission_cpa", "commission_revshare", "commission_other")
#: What a platform may give beside: the whole commission, and its part for leads.
EXTRAS = ("commission", "commission_cpl")

#: Measure -> the platform's column names for it, the preferred first; "A + B" is the sum of two.
Measures = Mapping[str, tuple[str, ...]]
Read = Callable[[Any], int | None]


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Where a report says what. Names are compared without case, blanks and punctuation."""

    measures: Measures
    day: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    tag_name: tuple[str, ...] = ()
    sub: tuple[str, ...] = ()
    part: tuple[str, ...] = ()  # all of them together keep rows apart
    currency: tuple[str, ...] = ()
    day_order: str = ""

    def over(self, connection: Connection) -> "Columns":
        """With the account's own `columns` option (measure -> column name) laid over."""
        own = connection.option("columns", {})
        if not isinstance(own, Mapping):
            return self
        measures = dict(self.measures) | {name: (str(c),) for name, c in own.items() if name in self.known()}
        ends = {name: (str(own[name]),) for name in ("day", "tag", "sub", "currency") if name in own}
        return msgspec.structs.replace(self, measures=measures, **ends)

    @staticmethod
    def known() -> tuple[str, ...]:
        return (*COUNTS, *AMOUNTS, *EXTRAS)


class Sheet:
    """Revenue rows gathered from records. Raises ConnectorError for what would make a figure doubtful."""

    def __init__(self, columns: Columns, connection: Connection, window: Window, raw: bytes) -> None:
        self.columns = columns.over(connection)
        self.connection = connection
        self.window = window
        self.raw = raw
        self.rows: dict[tuple[object, ...], RevenueRow] = {}
        self.outside = 0
        self.repeated = 0
        self.seen: set[str] = set()
        self._names: dict[tuple[str, ...], dict[str, str]] = {}

    def add(self, record: Record, fixed: Mapping[str, str] | None = None, *, day: date | None = None) -> None:
        """Add a record; `day` where it has no such column, `fixed` for tag, sub, part, currency known already."""
        fixed = fixed or {}
        names = self._known(record)
        when = day or self._day(record, names)
        if not self.window.holds(when):
            self.outside += 1
            return
        self.keep(
            RevenueRow(
                day=when,
                tag=fixed["tag"] if "tag" in fixed else self._tag(record, names),
                tag_name=fixed.get("tag_name", self._text(record, names, self.columns.tag_name)),
                sub=fixed.get("sub", self._text(record, names, self.columns.sub)),
                part=fixed.get("part", self._part(record, names)),
                currency=currency(
                    fixed.get("currency") or self._text(record, names, self.columns.currency), self.connection.currency
                ),
                figures=self.figures(record),
            )
        )

    def keep(self, row: RevenueRow) -> None:
        """Keep a row. The very same again is one; the same with other figures makes the report doubtful."""
        key = (row.day, row.tag.lower(), row.sub, row.part, row.currency)
        before = self.rows.get(key)
        if before is None:
            self.rows[key] = row
        elif before.tag != row.tag:
            self.rows[key] = msgspec.structs.replace(before, figures=added(before.figures, row.figures))
        elif before.figures == row.figures:
            self.repeated += 1
        else:
            where = " ".join(part for part in (row.tag, row.sub, row.part) if part)
            self.fail(f"{row.day} stands twice with different figures{f' ({where})' if where else ''}")

    def figures(self, record: Record) -> Figures:
        """The figures of a record; what it does not hold stays None."""
        names = self._known(record)
        found: dict[str, int | None] = {}
        for measure, aliases in self.columns.measures.items():
            read = whole if measure in COUNTS else micro
            found[measure] = self._measure(record, names, aliases, read, measure)
        return figures_of(found)

    def summed(self, totals: Iterable[Record]) -> Figures | None:
        """What the report's own total lines say, taken together; None without one."""
        found: Figures | None = None
        for record in totals:
            said = self.figures(record)
            found = said if found is None else added(found, said)
        return found

    def report(self, *, totals: Figures | None = None, warnings: Iterable[str] = ()) -> Report:
        """The report of what was gathered."""
        told = list(warnings)
        if self.outside:
            told.append(f"{self.outside} rows outside {self.window.first}..{self.window.last} were left out")
        if self.repeated:
            told.append(f"{self.repeated} repeated lines were counted once")
        if self.rows:
            told += [f"no column for {name}" for name in self._unseen()]
        return Report(
            first=self.window.first,
            last=self.window.last,
            rows=tuple(self.rows.values()),
            raw=self.raw,
            totals=None if self.outside or totals is None else comparable(totals, self.rows.values()),
            warnings=tuple(told),
        )

    def _unseen(self) -> list[str]:
        seen = self.seen | ({"commission"} if any(part in self.seen for part in _PARTS) else set())
        return [name for name in self.columns.measures if name in _TOLD and name not in seen]

    def fail(self, text: str) -> NoReturn:
        raise ConnectorError(f"the report cannot be read: {text}", raw=self.raw)

    def _known(self, record: Record) -> dict[str, str]:
        shape = tuple(record)
        if shape not in self._names:
            self._names[shape] = {plain_name(name): name for name in reversed(shape)}
            self._check(self._names[shape], shape)
        return self._names[shape]

    def _check(self, names: dict[str, str], shape: tuple[str, ...]) -> None:
        """At least one figure must be there, or this is no report of ours."""
        aliases = [alias for group in self.columns.measures.values() for alias in group]
        if not any(plain_name(part) in names for alias in aliases for part in alias.split(" + ")):
            wanted = ", ".join(group[0] for group in self.columns.measures.values() if group)
            self.fail(f"none of its columns is known: expected {wanted}; got {', '.join(shape)[:300]}")

    def _measure(
        self, record: Record, names: dict[str, str], aliases: tuple[str, ...], read: Read, measure: str
    ) -> int | None:
        for alias in aliases:
            parts = [names.get(plain_name(part)) for part in alias.split(" + ")]
            present = [part for part in parts if part is not None]
            if not present:
                continue
            self.seen.add(measure)
            values = [self._number(part, record[part], read) for part in present]
            known = [value for value in values if value is not None]
            return sum(known) if known else None
        return None

    def _number(self, name: str, value: Any, read: Read) -> int | None:
        try:
            return read(value)
        except ValueError as error:
            self.fail(f"column {name!r}: {error}")

    def _tag(self, record: Record, names: dict[str, str]) -> str:
        return self._required(record, names, "tag") if self.columns.tag else ""

    def _day(self, record: Record, names: dict[str, str]) -> date:
        text = self._required(record, names, "day")
        try:
            return read_day(text, self.columns.day_order)
        except ValueError as error:
            self.fail(f"column {self.columns.day[0]!r}: {error}")

    def _required(self, record: Record, names: dict[str, str], what: str) -> str:
        aliases: tuple[str, ...] = getattr(self.columns, what)
        if not any(plain_name(alias) in names for alias in aliases):
            self.fail(f"column {aliases[0]!r} is missing: it has {', '.join(record)[:300]}")
        return self._text(record, names, aliases)

    def _text(self, record: Record, names: dict[str, str], aliases: tuple[str, ...]) -> str:
        for alias in aliases:
            name = names.get(plain_name(alias))
            if name is not None and record[name] not in (None, ""):
                return str(record[name]).strip()
        return ""

    def _part(self, record: Record, names: dict[str, str]) -> str:
        return "/".join(filter(None, (self._text(record, names, (alias,)) for alias in self.columns.part)))


_TOLD = ("registrations", "first_deposits", "commission")


def figures_of(found: Mapping[str, int | None]) -> Figures:
    """Figures from measures; what the whole commission has beyond its named parts is `other`."""
    cpa, revshare = found.get("commission_cpa"), found.get("commission_revshare")
    other, total = _sum(found.get("commission_other"), found.get("commission_cpl")), found.get("commission")
    if total is not None:
        other = total - (cpa or 0) - (revshare or 0)
    plain = {name: found.get(name) for name in (*COUNTS, "deposit_amount", "ngr")}
    return Figures(commission_cpa=cpa, commission_revshare=revshare, commission_other=other, **plain)


_PARTS = ("commission_cpa", "commission_revshare", "commission_other")


def comparable(totals: Figures, rows: Iterable[RevenueRow]) -> Figures:
    """Totals without the parts of the commission, where rows split it otherwise than the totals do."""
    given = {part for row in rows for part in _PARTS if getattr(row.figures, part) is not None}
    if given == {part for part in _PARTS if getattr(totals, part) is not None}:
        return totals
    return msgspec.structs.replace(totals, commission_cpa=None, commission_revshare=None, commission_other=None)


def added(one: Figures, other: Figures) -> Figures:
    """Two rows' figures as one; None only where neither says anything."""
    names = Figures.__struct_fields__
    return Figures(**{name: _sum(getattr(one, name), getattr(other, name)) for name in names})


def _sum(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


_SIGNS = {"€": "EUR", "$": "USD", "£": "GBP", "₺": "TRY", "₽": "RUB", "₹": "INR", "R$": "BRL", "zł": "PLN", "¥": "JPY"}


def currency(text: str, default: str) -> str:
    """A currency code from a code or a sign; the account's own where nothing usable is said."""
    bare = text.strip()
    code = _SIGNS.get(bare, bare.upper())
    return code if 3 <= len(code) <= 5 and code.isalnum() else default

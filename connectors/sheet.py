"""From a platform's records to revenue rows, every fault named by its column."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, NoReturn

import msgspec

from connectors.base import Connection, Window
from connectors.columns import COUNTS, PARTS, Columns, added, comparable, currency, figures_of
from connectors.reading import Record, plain_name
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Figures, Report, RevenueRow
from storage.ledger.numbers import day as read_day
from storage.ledger.numbers import micro, whole

Read = Callable[[Any], int | None]

#: Measures whose absence is told: without them a report says little.
_TOLD = ("registrations", "first_deposits", "commission")
_NONE: Mapping[str, str] = {}


class Layout:
    """Records of one shape: which of their columns is what."""

    __slots__ = ("currency", "day", "measures", "part", "sub", "tag", "tag_name")

    def __init__(self, columns: Columns, shape: tuple[str, ...]) -> None:
        names = {plain_name(name): name for name in reversed(shape)}

        def known(aliases: Iterable[str]) -> tuple[str, ...]:
            return tuple(names[plain_name(alias)] for alias in aliases if plain_name(alias) in names)

        self.day = known(columns.day)
        self.tag = known(columns.tag)
        self.tag_name = known(columns.tag_name)
        self.sub = known(columns.sub)
        self.part = known(columns.part)
        self.currency = known(columns.currency)
        self.measures: list[tuple[str, tuple[str, ...], Read]] = []
        for measure, aliases in columns.measures.items():
            found = next((parts for alias in aliases if (parts := known(alias.split(" + ")))), None)
            if found:
                self.measures.append((measure, found, whole if measure in COUNTS else micro))


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
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._known: dict[str, str] = {}  # texts that many rows share are in memory once

    def add(self, record: Record, fixed: Mapping[str, str] = _NONE, *, day: date | None = None) -> None:
        """Add a record; `day` where it has no such column, `fixed` for tag, sub, part, currency known already."""
        layout = self._layout(record)
        when = day or self._day(record, layout)
        if not self.window.first <= when <= self.window.last:
            self.outside += 1
            return
        said = fixed.get("currency") or _text(record, layout.currency)
        self.keep(RevenueRow(
            day=when,
            tag=fixed["tag"] if "tag" in fixed else self._shared(self._tag(record, layout)),
            tag_name=fixed["tag_name"] if "tag_name" in fixed else self._shared(_text(record, layout.tag_name)),
            sub=fixed["sub"] if "sub" in fixed else _text(record, layout.sub),
            part=fixed["part"] if "part" in fixed else self._shared(_part(record, layout.part)),
            currency=currency(said, self.connection.currency) if said else self.connection.currency,
            figures=self._figures(record, layout),
        ))  # fmt: skip

    def keep(self, row: RevenueRow) -> None:
        """Keep a row. The very same again is one; the same with other figures makes the report doubtful."""
        key = (row.day, row.tag.lower(), row.sub, row.part, row.currency)
        before = self.rows.setdefault(key, row)
        if before is row:
            return
        if before.tag != row.tag:
            self.rows[key] = msgspec.structs.replace(before, figures=added(before.figures, row.figures))
        elif before.figures == row.figures:
            self.repeated += 1
        else:
            where = " ".join(part for part in (row.tag, row.sub, row.part) if part)
            self.fail(f"{row.day} stands twice with different figures{f' ({where})' if where else ''}")

    def figures(self, record: Record) -> Figures:
        """The figures of a record; what it does not hold stays None."""
        return self._figures(record, self._layout(record))

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

    def fail(self, text: str) -> NoReturn:
        raise ConnectorError(f"the report cannot be read: {text}", raw=self.raw)

    def _unseen(self) -> list[str]:
        seen = {measure for layout in self._layouts.values() for measure, _, _ in layout.measures}
        if seen & set(PARTS):
            seen.add("commission")
        return [name for name in self.columns.measures if name in _TOLD and name not in seen]

    def _layout(self, record: Record) -> Layout:
        shape = tuple(record)
        found = self._layouts.get(shape)
        if found is None:
            found = self._layouts[shape] = Layout(self.columns, shape)
            if not found.measures:
                wanted = ", ".join(group[0] for group in self.columns.measures.values() if group)
                self.fail(f"none of its columns is known: expected {wanted}; got {', '.join(shape)[:300]}")
        return found

    def _figures(self, record: Record, layout: Layout) -> Figures:
        found: dict[str, int | None] = {}
        for measure, names, read in layout.measures:
            try:
                found[measure] = read(record[names[0]]) if len(names) == 1 else _summed(record, names, read)
            except ValueError as error:
                self.fail(f"column {' + '.join(names)!r}: {error}")
        return figures_of(found)

    def _day(self, record: Record, layout: Layout) -> date:
        text = self._required(record, layout.day, self.columns.day)
        try:
            return read_day(text, self.columns.day_order)
        except ValueError as error:
            self.fail(f"column {self.columns.day[0]!r}: {error}")

    def _tag(self, record: Record, layout: Layout) -> str:
        return self._required(record, layout.tag, self.columns.tag) if self.columns.tag else ""

    def _shared(self, text: str) -> str:
        return self._known.setdefault(text, text)

    def _required(self, record: Record, names: tuple[str, ...], aliases: tuple[str, ...]) -> str:
        if not names:
            self.fail(f"column {aliases[0]!r} is missing: it has {', '.join(record)[:300]}")
        return _text(record, names)


def _text(record: Record, names: tuple[str, ...]) -> str:
    for name in names:
        value = record[name]
        if value is not None and value != "":
            return value.strip() if isinstance(value, str) else str(value)
    return ""


def _part(record: Record, names: tuple[str, ...]) -> str:
    return "/".join(filter(None, [_text(record, (name,)) for name in names]))


def _summed(record: Record, names: tuple[str, ...], read: Read) -> int | None:
    known = [value for value in (read(record[name]) for name in names) if value is not None]
    return sum(known) if known else None

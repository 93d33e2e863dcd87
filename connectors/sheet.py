"""From a platform's records to revenue rows, every fault named by its line and column."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import date
from decimal import Decimal
from itertools import islice, repeat
from operator import mul, truediv
from typing import Any, NoReturn, TypeVar

import msgspec

from connectors.base import Connection, Platform, Window
from connectors.columns import Columns, added, comparable, figure_columns, figures_of
from connectors.reading import RawRecords, Record, RecordColumns, columns_of
from storage.ledger.currencies import currency_of
from storage.ledger.dates import Order, read_day
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import COMMISSION_PARTS, PLATFORM_COUNTS, Figures, Report, RevenueRow
from storage.ledger.money import amount_text, to_micro
from storage.ledger.numbers import Mark, read_count, read_micro
from storage.ledger.revenue.packed_rows import PackedRows, RowColumns
from storage.ledger.revenue.report_parts import LARGE
from storage.ledger.tables import Block, Table, TableError, column_mark, column_order, is_total_name, plain_name

#: Measures whose absence is named: without them a report says little.
_EXPECTED = ("registrations", "first_deposits", "commission")
_MANY = 500  # records whose columns are read at once
_PART_BYTES = 150_000  # of JSON, the same
T = TypeVar("T")
_NONE: Mapping[str, str] = {}
_LARGE = 1 << 60  # with figures beyond this rows are looked at one by one: three of them are too large for databases

TOTALS_LINE = "a totals line"
TOTALS = "totals"
LINE_END = "a line end behind its last line"


class Layout:
    """Records of one shape: which of their columns is what, and by which convention it is written."""

    __slots__ = ("currency", "day", "marks", "measures", "order", "part", "sub", "tag", "tag_name")

    def __init__(self, columns: Columns, shape: tuple[str, ...], marks: dict[str, Mark]) -> None:
        names = {plain_name(name): name for name in reversed(shape)}

        def columns_named(aliases: Iterable[str]) -> tuple[str, ...]:
            return tuple(names[plain_name(alias)] for alias in aliases if plain_name(alias) in names)

        self.day = columns_named(columns.day)
        self.tag = columns_named(columns.tag)
        self.tag_name = columns_named(columns.tag_name)
        self.sub = columns_named(columns.sub)
        self.part = columns_named(columns.part)
        self.currency = columns_named(columns.currency)
        self.order: Order = columns.day_order
        self.marks = marks
        self.measures: list[tuple[str, tuple[str, ...], bool]] = []
        for measure, aliases in columns.measures.items():
            parts = next((parts for alias in aliases if (parts := columns_named(alias.split(" + ")))), None)
            if parts:
                self.measures.append((measure, parts, measure in PLATFORM_COUNTS))


class Sheet:
    """Revenue rows gathered from records. Raises ConnectorError for what would make a figure doubtful."""

    def __init__(
        self, platform: Platform, connection: Connection, window: Window, raw: bytes, columns: Columns | None = None
    ) -> None:
        self.columns = (columns or platform.columns(connection)).over(connection.options)
        self.connection = connection
        self.window = window
        self.raw = raw
        self._rows: dict[tuple[object, ...], RevenueRow] = {}
        self._packed = PackedRows()  # all rows, as long as nothing of them is odd; then they are in `_rows`
        self._keys: set[tuple[object, ...]] = set()  # of the packed ones
        self.detail = str(connection.option("lines", platform.rows)) == "detail"
        self._every_measure = platform.every_measure
        self.always = platform.always if connection.shape is None else connection.shape
        self.shape: list[str] = []
        self.damages: list[str] = []
        self.notes: list[str] = []
        self.assumed_days = False
        self._days_declared = platform.has_api and bool(self.columns.day_order)
        self.outside = 0
        self.latest = date.max  # a later day has not come yet
        self.repeated = 0
        self.line = 0  # of the record that is read, where it is one of a file
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._marks: dict[str, Mark] = {}  # column -> its decimal separator, where its cells decide
        self._orders: dict[str, Order] = {}  # column of days -> its order, by its cells or the setting
        self._known: dict[str, str] = {}  # texts that many rows share are in memory once

    def add(self, record: Record, fixed: Mapping[str, str] = _NONE, *, day: date | None = None) -> None:
        """Add a record; `day` where it has no such column, `fixed` for tag, sub, part, currency known already."""
        layout = self._layout(record)
        when = day or self._day(record, layout)
        if not self.window.first <= when <= self.window.last:
            self.outside += 1
            return
        currency, figures = self._read(record, layout, fixed.get("currency") or "")
        self.keep(RevenueRow(
            day=when,
            tag=fixed["tag"] if "tag" in fixed else self._shared(self._tag(record, layout)),
            tag_name=fixed["tag_name"] if "tag_name" in fixed else self._shared(_text(record, layout.tag_name)),
            sub=fixed["sub"] if "sub" in fixed else _text(record, layout.sub),
            part=fixed["part"] if "part" in fixed else self._shared(_part(record, layout.part)),
            currency=currency,
            figures=figures,
        ))  # fmt: skip

    def add_all(self, records: Iterable[Record]) -> int:
        """Add records, a column of many at a time where they are alike, one by one where something is odd.

        Returns how many they were.
        """
        if not isinstance(records, RawRecords):
            return self._add_lines((0, record) for record in records)
        count = 0
        for part, columns in records.parts(_PART_BYTES):
            if columns is not None and self._add_alike(columns):
                count += _length(columns)
            else:
                count += self._add_lines((0, record) for record in part)
        return count

    def _add_lines(self, lines: Iterable[tuple[int, Record]]) -> int:
        """The same of records and the lines of a file that they are, 0 for none."""
        remaining, added_lines = iter(lines), 0
        while part := list(islice(remaining, _MANY)):
            added_lines += len(part)
            columns = columns_of([record for _, record in part])
            if columns is None or not self._add_alike(columns, [line for line, _ in part]):
                for self.line, record in part:
                    self.add(record)
        self.line = 0
        return added_lines

    def _add_alike(self, columns: RecordColumns, lines: Iterable[int] = repeat(0)) -> bool:
        """Add records of one shape a column at a time; False, and nothing is added, where something is odd."""
        block = self._block_of(columns)
        if block is None:
            return False
        if not self._keep_block(block):
            for self.line, row in zip(lines, block.rows(), strict=False):
                if self.window.first <= row.day <= self.window.last:
                    self.keep(row)
                else:
                    self.outside += 1
        return True

    def _block_of(self, columns: RecordColumns) -> RowColumns | None:
        """The rows of records of one shape; None where `add` has to say what is wrong with one, or to look closer."""
        layout = self._layout(columns)
        if not layout.day or (self.columns.tag and not layout.tag):
            return None
        try:
            written = set(_texts(columns, layout.currency))
            if len(written) > 1:
                return None
            currency = self._currency(written.pop())
            days = _each_once(_texts(columns, layout.day), lambda text: read_day(text, layout.order).toordinal())
            figures = _figures(columns, layout, currency)
            texts = (_texts(columns, layout.tag), _texts(columns, layout.tag_name), _texts(columns, layout.sub))
            parts = _part_texts(columns, layout.part)
        except ValueError:
            return None
        if figures is None or max(days) > self.latest.toordinal():
            return None
        return RowColumns(currency, days, texts[0], texts[1], texts[2], parts, figures)

    def _keep_block(self, block: RowColumns) -> bool:
        """Keep rows if all of them are within the window and none of them repeats another."""
        days = set(block.days)
        if self._rows or min(days) < self.window.first.toordinal() or max(days) > self.window.last.toordinal():
            return False
        tag_keys = _each_once(block.tags, str.lower)
        keys_wanted = len(self._keys) + len(block.days)
        self._keys.update(zip(block.days, tag_keys, block.subs, block.parts, repeat(block.currency)))
        if len(self._keys) < keys_wanted:
            self._keys.clear()  # from now on rows are kept one by one
            return False
        self._packed.add(block)
        return True

    @property
    def rows(self) -> dict[tuple[object, ...], RevenueRow]:
        """The rows by what they are known by, which may be changed."""
        if self._packed:
            self._rows = {_key_of(row): row for row in self._packed}
            self._packed = PackedRows()
            self._keys.clear()
        return self._rows

    @property
    def days(self) -> set[date]:
        """The days of the rows."""
        if self._packed:
            return set(map(date.fromordinal, self._packed.days))
        return {row.day for row in self._rows.values()}

    def keep(self, row: RevenueRow) -> None:
        """Keep a row. Lines of detail are summed; a repeat of a grouped row is damage, whatever its figures."""
        key = _key_of(row)
        before = self.rows.setdefault(key, row)
        if before is row:
            return
        if before.tag != row.tag or self.detail:
            self.rows[key] = msgspec.structs.replace(before, figures=added(before.figures, row.figures))
            return
        self.repeated += 1
        if self.repeated == 1:
            where = " ".join(part for part in (row.tag, row.sub, row.part) if part)
            same = "the same" if before.figures == row.figures else "other"
            line = f", line {self.line}" if self.line else ""
            self.damages.append(
                f"{row.day}{f' of {where}' if where else ''} stands twice with {same} figures{line}: expected one row "
                "for each day and segment"
            )

    def add_table(self, table: Table) -> Figures | None:
        """Add the rows of a table; what its totals lines say together, None where one of its blocks has none."""
        self.see_table(table)
        totals: list[Figures] = []
        for number, block in enumerate(table.blocks, 1):
            rows, total = self._without_totals(block, self._layouts[block.names])
            self._add_lines(rows)
            if total is not None:
                totals.append(total)
                self.shape += [TOTALS_LINE] if len(totals) == 1 else [f"a totals line below header line {number}"]
        return _together(totals) if len(totals) == len(table.blocks) else None

    def see_table(self, table: Table) -> None:
        """Note what a table has beside its rows, and learn from whole columns how numbers and days are written."""
        self.notes += table.notes
        self.shape += [f"header line {number}" for number in range(1, len(table.blocks) + 1)]
        if table.ends_with_line_end:
            self.shape.append(LINE_END)
        for block in table.blocks:
            self.line = block.line
            layout = self._layout(dict.fromkeys(block.names))
            self.line = 0
            try:
                self._learn(block, layout)
            except TableError as error:
                self.fail(str(error))

    def _learn(self, block: Block, layout: Layout) -> None:
        for _, names, is_count in layout.measures:
            for name in names:
                if not is_count and (mark := column_mark(block, block.names.index(name))):
                    self._marks[name] = mark
        if not layout.day or not block.rows:
            return
        at = block.names.index(layout.day[0])
        layout.order, decided = column_order(block, at, self.columns.day_order)
        self._orders[layout.day[0]] = layout.order
        if not decided and not self._days_declared:
            self.assumed_days = True
            self.notes.append(
                f"column {layout.day[0]!r} does not decide between day first and month first: read "
                f"{'day first' if layout.order == 'dmy' else 'month first'}, by the account's day_order"
            )

    def _without_totals(self, block: Block, layout: Layout) -> tuple[list[tuple[int, dict[str, str]]], Figures | None]:
        """The rows of a block without its totals and subtotals, and what the last totals line says.

        A line with a day of its own is a subtotal if its key cells say so and its figures are the sum of rows before
        it that do not all say so themselves, else a row: a brand may be called Total. Without a day it is a totals
        line, and damage if it is wrong.
        """
        lines = list(block.records())
        total: Figures | None = None
        if not _may_have_totals(block, layout) or not any(self._says_total(record, layout) for _, record in lines):
            return lines, total
        rows: list[tuple[int, dict[str, str]]] = []
        figures: list[Figures] = []
        brands = 0  # rows at the end whose key cells say total and which are none
        currencies: set[str] = set()
        for self.line, record in lines:
            currency, values = self._read(record, layout, "")
            says_total = self._says_total(record, layout)
            if says_total:
                has_day = _is_day(record, layout)
                fits = _is_sum(values, figures, least=brands + 1 if has_day else 0, counts_only=len(currencies) > 1)
                if not has_day:
                    total = values
                    if not fits:
                        wrong = _contradiction(values, figures, counts_only=len(currencies) > 1)
                        self.damages.append(f"line {self.line}: the totals contradict the rows above them: {wrong}")
                if fits or not has_day:
                    continue
            brands = brands + 1 if says_total else 0
            currencies.add(currency)
            figures.append(values)
            rows.append((self.line, record))
        return rows, total

    def _says_total(self, record: Mapping[str, str], layout: Layout) -> bool:
        """Whether a key cell says total, or, where no day stands, the first cell that is filled."""
        keys = (*layout.tag, *layout.tag_name, *layout.part, *layout.day)
        if any(is_total_name(record[name]) for name in keys):
            return True
        return not _is_day(record, layout) and is_total_name(next(filter(None, record.values()), ""))

    def figures(self, record: Record) -> Figures:
        """The figures of a record; what it does not hold stays None."""
        return self._read(record, self._layout(record), "")[1]

    def note_totals(self, *stated: Record) -> Figures | None:
        """What the totals that an answer of objects states say together; None where it states none we know.

        They are part of the answer's shape: a later answer with rows must have them too.
        """
        with_measures = [record for record in stated if Layout(self.columns, tuple(record), self._marks).measures]
        if with_measures or not (self._packed or self._rows):
            self.shape.append(TOTALS)
        return _together([self._read(r, Layout(self.columns, tuple(r), self._marks), "")[1] for r in with_measures])

    def summed(self, totals: Iterable[Record]) -> Figures | None:
        """What the report's own total lines say, taken together; None without one."""
        return _together([self.figures(record) for record in totals])

    def report(self, *, totals: Figures | None = None, warnings: Iterable[str] = ()) -> Report:
        """The report of what was gathered."""
        notes = [*warnings, *self.notes]
        if self.outside:
            notes.append(f"{self.outside} rows outside {self.window.first}..{self.window.last} were left out")
        rows = self._all_rows()
        if rows:
            notes += [f"no column for {name}" for name in self._unseen()]
        if lacking := [name for name in self.always if name not in self.shape]:
            self.damages.append(f"the answer is cut off: it lacks {' and '.join(lacking)}")
        if self.repeated > 1:
            self.damages[0] += f" (and {self.repeated - 1} more)"
        return Report(
            first=self.window.first,
            last=self.window.last,
            rows=rows,
            raw=self.raw,
            totals=None if self.outside or totals is None else comparable(totals, rows),
            warnings=tuple(notes),
            measures=self._measures(),
            damage="; ".join(dict.fromkeys(self.damages)),
            shape=tuple(dict.fromkeys(self.shape)),
            assumed_days=self.assumed_days,
        )

    def _all_rows(self) -> Sequence[RevenueRow]:
        """The rows as a report has them: packed where they are many and nothing of them is odd."""
        if len(self._packed) <= LARGE:
            return tuple(self.rows.values())
        self._packed.distinct = not _has_nul(self.raw)
        return self._packed

    def count(self, stated: Any, rows_read: int, name: str) -> None:
        """Compare the number of rows that the answer states with those it has."""
        if stated is not None:
            self.shape.append(name)
            try:
                agrees = read_count(stated) == rows_read
            except ValueError:
                agrees = False
            if not agrees:
                self.damages.append(f"the answer is cut off: it states {name} {stated}, and has {rows_read} rows")

    def fail(self, text: str) -> NoReturn:
        where = f"line {self.line}, " if self.line else ""
        raise ConnectorError(f"the report cannot be read: {where}{text}", raw=self.raw)

    def _measures(self) -> tuple[str, ...]:
        """The figures that the platform reports of every row there is, by the columns that its answers have."""
        measures = {measure: ("",) for layout in self._layouts.values() for measure, _, _ in layout.measures}
        if not measures and self._every_measure:
            return tuple(sorted(self.columns.reported()))
        return tuple(sorted(Columns(measures=measures).reported()))

    def _unseen(self) -> list[str]:
        measures = {measure for layout in self._layouts.values() for measure, _, _ in layout.measures}
        if measures & set(COMMISSION_PARTS):
            measures.add("commission")
        return [name for name in self.columns.measures if name in _EXPECTED and name not in measures]

    def _layout(self, record: Mapping[str, Any]) -> Layout:
        shape = tuple(record)
        layout = self._layouts.get(shape)
        if layout is None:
            layout = self._layouts[shape] = Layout(self.columns, shape, self._marks)
            if layout.day:
                layout.order = self._orders.get(layout.day[0], layout.order)
            if not layout.measures:
                expected = ", ".join(group[0] for group in self.columns.measures.values() if group)
                self.fail(f"none of its columns is known: expected {expected}; got {', '.join(shape)[:300]}")
        return layout

    def _read(self, record: Record, layout: Layout, currency: str) -> tuple[str, Figures]:
        """The currency of a record and its figures; a currency beside an amount is that of the whole record."""
        own = self._currency(currency or _text(record, layout.currency))
        values: dict[str, int | None] = {}
        beside, at, bare = "", "", False
        for measure, names, is_count in layout.measures:
            total: int | None = None
            for name in names:
                try:
                    if is_count:
                        value = read_count(record[name])
                    else:
                        value, written = read_micro(record[name], layout.marks.get(name, ""), own)
                        if written and beside and written != beside:
                            self.fail(f"column {name!r}: {record[name]!r} beside an amount in {beside}")
                        beside, at = (beside, at) if beside else (written, name)
                        bare = bare or bool(value and not written)
                except ValueError as error:
                    self.fail(f"column {name!r}: {error}")
                if value is not None:
                    total = value if total is None else total + value
            values[measure] = total
        if beside and beside != own and (bare or currency or _text(record, layout.currency)):
            others = "other amounts are" if bare else "the row is"
            self.fail(
                f"column {at!r}: {record[at]!r} is in {beside} where {others} in {own}: write one currency in the row"
            )
        return beside or own, figures_of(values)

    def _currency(self, written: str) -> str:
        """The currency that a column says; the account's own where it says nothing."""
        own = self.connection.currency
        if not written or written == own:
            return own
        try:
            return currency_of(written, own)
        except ValueError as error:
            self.fail(f"column {(self.columns.currency or ('currency',))[0]!r}: {error}")

    def _day(self, record: Record, layout: Layout) -> date:
        text = self._required(record, layout.day, self.columns.day)
        try:
            day = read_day(text, layout.order)
        except ValueError as error:
            self.fail(f"column {layout.day[0]!r}: {error}")
        if day > self.latest:
            self.fail(f"column {layout.day[0]!r}: {text!r} ({day}) has not come yet: the last day may be {self.latest}")
        return day

    def _tag(self, record: Record, layout: Layout) -> str:
        return self._required(record, layout.tag, self.columns.tag) if self.columns.tag else ""

    def _shared(self, text: str) -> str:
        return self._known.setdefault(text, text)

    def _required(self, record: Record, names: tuple[str, ...], aliases: tuple[str, ...]) -> str:
        if not names:
            self.fail(f"column {aliases[0]!r} is missing: it has {', '.join(record)[:300]}")
        return _text(record, names)


def _key_of(row: RevenueRow) -> tuple[object, ...]:
    return row.day, row.tag.lower(), row.sub, row.part, row.currency


def _has_nul(raw: bytes) -> bool:
    """Whether an answer may hold the character that databases do not keep."""
    return b"\0" in raw or (b"\\" in raw and rb"\u0000" in raw)


def _texts(columns: RecordColumns, names: tuple[str, ...]) -> list[str]:
    """`_text` of many records."""
    if not names:
        return [""] * _length(columns)
    if len(names) == 1:
        kinds = set(map(type, columns[names[0]]))
        if kinds == {str}:
            return list(map(str.strip, columns[names[0]]))
        if kinds == {int}:
            return list(map(str, columns[names[0]]))
    return list(map(_first_text, _cells_of(columns, names)))


def _cells_of(columns: RecordColumns, names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """The cells of these columns, record by record."""
    return zip(*(columns[name] for name in names), strict=True)


def _length(columns: RecordColumns) -> int:
    """How many records they are."""
    return len(next(iter(columns.values())))


def _each_once(texts: Sequence[str], read: Callable[[str], T]) -> list[T]:
    """What each text is read as; equal ones are read once."""
    by_text = {text: read(text) for text in set(texts)}
    return [by_text[text] for text in texts]


def _figures(columns: RecordColumns, layout: Layout, own: str) -> dict[str, Sequence[int | None]] | None:
    """The figures of records by measure; None where a currency stands beside one. Raises ValueError."""
    measures: dict[str, Sequence[int | None]] = {}
    for measure, names, is_count in layout.measures:
        if len(names) > 1:
            return None
        cells = columns[names[0]]
        column = _counts(cells) if is_count else _amounts(cells, layout.marks.get(names[0], ""), own)
        if column is None:
            return None
        measures[measure] = column
    return figure_columns(measures, rows=_length(columns))


def _counts(cells: Sequence[Any]) -> Sequence[int | None]:
    """Counts; digits alone, as nearly all of them are, the quick way. Raises ValueError."""
    kinds = set(map(type, cells))
    if kinds == {int} and min(cells) > -_LARGE and max(cells) < _LARGE:
        return cells
    if kinds == {str} and all(cells) and max(map(len, cells)) < 19:
        digits = "".join(cells)
        if digits.isascii() and digits.isdigit():
            return list(map(int, cells))
    if float in kinds:
        raise ValueError("floats may not say what was written")
    return _none_large(list(map(read_count, cells)))


def _none_large(figures: list[int | None]) -> list[int | None]:
    """The same. Raises ValueError where one is so large that its row has to be looked at."""
    if max(map(abs, filter(None, figures)), default=0) >= _LARGE:
        raise ValueError("a figure that databases may not keep")
    return figures


def _amounts(cells: Sequence[Any], mark: Mark, own: str) -> Sequence[int | None] | None:
    """Amounts in micro-units; None where a currency stands beside one. Raises ValueError."""
    kinds = set(map(type, cells))
    if float in kinds:
        return _micros_of_floats(cells, kinds)
    if kinds == {int} and min(cells) > -_WHOLE and max(cells) < _WHOLE:
        return _micros_of_floats(cells, kinds)
    if kinds == {Decimal}:
        return _none_large(list(map(to_micro, cells)))
    amounts = [read_micro(cell, mark, own) for cell in cells]
    return None if any(currency for _, currency in amounts) else _none_large([micro for micro, _ in amounts])


def _micros_of_floats(cells: Sequence[Any], kinds: AbstractSet[type]) -> list[int | None]:
    """Micro-units of numbers of JSON. Raises ValueError where floats do not say exactly what was written.

    Below 1e9 they do if they are whole micro-units: every text of such a float is nearer to them than half of one.
    """
    if not kinds <= {int, float}:
        raise ValueError("other than numbers")
    with suppress(KeyError):
        return list(map(_known_micros.__getitem__, cells))
    numbers = list(set(cells))
    micros = dict(zip(numbers, _exact_micros(numbers), strict=True))
    if len(_known_micros) + len(micros) > _MANY_MICROS:
        _known_micros.clear()
    _known_micros.update(micros)
    return list(map(micros.__getitem__, cells))


_WHOLE = 1_000_000_000  # below this floats tell micro-units apart
_MANY_MICROS = 10_000
_known_micros: dict[float, int | None] = {}
"""Amounts of earlier parts of reports in micro-units: few are different."""


def _exact_micros(numbers: Sequence[float]) -> list[int | None]:
    if min(numbers) <= -_WHOLE or max(numbers) >= _WHOLE:
        raise ValueError("more than floats can say")
    micros: list[int | None] = list(map(round, map(mul, numbers, repeat(1e6))))
    if list(map(truediv, micros, repeat(1e6))) != list(numbers):
        raise ValueError("more digits than micro-units have")
    return micros


def _may_have_totals(block: Block, layout: Layout) -> bool:
    """Whether a key cell of the block says total or a row has no day; looked at a column at a time."""
    keys = (*layout.tag, *layout.tag_name, *layout.part, *layout.day)
    texts = {text for name in keys for text in block.column(block.names.index(name))}
    if not layout.day or any(map(is_total_name, texts)):
        return True
    days = set(block.column(block.names.index(layout.day[0])))
    return not all(_is_day({layout.day[0]: text}, layout) for text in days)


def _is_day(record: Mapping[str, str], layout: Layout) -> bool:
    try:
        return bool(layout.day) and bool(read_day(record[layout.day[0]], layout.order))
    except ValueError:
        return False


def _together(figures: Sequence[Figures]) -> Figures | None:
    total: Figures | None = None
    for figure in figures:
        total = figure if total is None else added(total, figure)
    return total


def _is_sum(total: Figures, rows: Sequence[Figures], *, least: int, counts_only: bool) -> bool:
    """Whether figures are the sum of the rows before, or of the last `least` of them or more: a total or a subtotal."""
    measures = PLATFORM_COUNTS if counts_only else Figures.__struct_fields__
    names = [name for name in measures if getattr(total, name) is not None]
    totals = [getattr(total, name) for name in names]
    sums = [0] * len(names)
    for number, row in enumerate(reversed(rows), 1):
        sums = [value + (getattr(row, name) or 0) for value, name in zip(sums, names, strict=True)]
        if number >= least and all(
            abs(a - b) <= _slack(name, len(rows)) for a, b, name in zip(sums, totals, names, strict=True)
        ):
            return True
    return not any(totals) and not rows and not least


def _contradiction(total: Figures, rows: Sequence[Figures], *, counts_only: bool) -> str:
    """Each figure of a totals line that is not the sum of all rows before it, and what they sum to."""

    def shown(name: str, value: int) -> str:
        return str(value) if name in PLATFORM_COUNTS else amount_text(value)

    stated = {
        name: (value, sum(getattr(row, name) or 0 for row in rows))
        for name in (PLATFORM_COUNTS if counts_only else Figures.__struct_fields__)
        if (value := getattr(total, name)) is not None
    }
    return ", ".join(
        f"{name.replace('_', ' ')} {shown(name, value)} where they sum to {shown(name, summed)}"
        for name, (value, summed) in stated.items()
        if abs(value - summed) > _slack(name, len(rows))
    )


def _slack(name: str, rows: int) -> int:
    """Rounding that a platform's own totals may show: half a cent a row."""
    return 0 if name in PLATFORM_COUNTS else 5_000 * (rows + 2)


def _text(record: Record, names: tuple[str, ...]) -> str:
    return _first_text([record[name] for name in names])


def _first_text(values: Iterable[Any]) -> str:
    """The first value that is not empty, as text. Raises ValueError for a float."""
    for value in values:
        if isinstance(value, float):
            raise ValueError("floats may not say what was written")
        if value is not None and value != "":
            return value.strip() if isinstance(value, str) else str(value)
    return ""


def _part_texts(columns: RecordColumns, names: tuple[str, ...]) -> list[str]:
    return _texts(columns, names) if len(names) < 2 else list(map(_joined, _cells_of(columns, names)))


def _part(record: Record, names: tuple[str, ...]) -> str:
    return _joined([record[name] for name in names])


def _joined(values: Iterable[Any]) -> str:
    """The values that are not empty, as one text."""
    return "/".join(filter(None, [_first_text((value,)) for value in values]))

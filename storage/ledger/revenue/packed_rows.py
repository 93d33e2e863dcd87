"""Rows of a long report a column at a time, as bytes: read, handed on and compared without an object for each.

A row as an object costs more than all else that is done with it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from functools import partial
from itertools import groupby, repeat
from operator import attrgetter, is_not
from typing import Any, Self, overload

import msgspec

from storage.ledger.facts import Figures, RevenueRow

_MANY = 500  # rows of a block
_MEASURES = Figures.__struct_fields__


class RowColumns(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Rows of one currency by column; `days` are ordinals (`date.toordinal`).

    Measures that none of the rows states are left out.
    """

    currency: str
    days: Sequence[int]
    tags: Sequence[str]
    tag_names: Sequence[str]
    subs: Sequence[str]
    parts: Sequence[str]
    figures: Mapping[str, Sequence[int | None]]

    def rows(self) -> Iterator[RevenueRow]:
        """The rows one by one."""
        dates = {number: date.fromordinal(number) for number in set(self.days)}
        nothing: Sequence[None] = (None,) * len(self.days)
        figures = map(Figures, *(self.figures.get(name, nothing) for name in _MEASURES))
        days = map(dates.__getitem__, self.days)
        return map(
            RevenueRow, days, self.tags, repeat(self.currency), figures, self.subs, self.parts, self.tag_names
        )  # fmt: skip


class PackedRows(Sequence[RevenueRow]):
    """The rows of a report in blocks, each of them a `RowColumns` as MessagePack.

    `stated` names the measures that some row states, `whole` those that every row states, `not_zero` those that are not
    zero in some. If they are `distinct`, no two of them are known by the same, all of them lie within the report's
    days, and databases keep all of them as they are: no text has blanks around it or a NUL, no figure is too large.
    """

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.stated: frozenset[str] = frozenset()
        self.whole: frozenset[str] = frozenset()
        self.not_zero: frozenset[str] = frozenset()
        self.currencies: frozenset[str] = frozenset()
        self.days: frozenset[int] = frozenset()
        self.named = False
        self.distinct = False
        self._count = 0

    @classmethod
    def of(cls, blocks: Iterable[RowColumns]) -> Self:
        """The rows of these blocks."""
        packed = cls()
        for block in blocks:
            packed.add(block)
        return packed

    def add(self, block: RowColumns) -> None:
        """Add a block of at least one row."""
        whole = {name for name, column in block.figures.items() if None not in column}
        self.whole = frozenset(whole) & self.whole if self.blocks else frozenset(whole)
        self.stated |= block.figures.keys()
        self.not_zero |= {name for name in block.figures.keys() - self.not_zero if any(block.figures[name])}
        self.currencies |= {block.currency}
        self.days |= set(block.days)
        self.named = self.named or any(block.tag_names)
        self._count += len(block.days)
        self.blocks.append(_encode(block))

    def columns(self) -> Iterator[RowColumns]:
        """The blocks, one after another."""
        return map(_decode, self.blocks)

    def sums(self) -> dict[str, int]:
        """The sum of every measure that some row states."""
        sums = dict.fromkeys(self.stated, 0)
        for block in self.columns():
            for name, column in block.figures.items():
                sums[name] += sum(filter(None, column))
        return sums

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[RevenueRow]:
        for block in self.columns():
            yield from block.rows()

    @overload
    def __getitem__(self, at: int) -> RevenueRow: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[RevenueRow, ...]: ...
    def __getitem__(self, at: int | slice) -> RevenueRow | tuple[RevenueRow, ...]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RowColumns).decode


def blocks_of(rows: Sequence[RevenueRow]) -> Iterator[RowColumns]:
    """Rows by column, in blocks of one currency."""
    for currency, alike in groupby(rows, attrgetter("currency")):
        of_currency = list(alike)
        for start in range(0, len(of_currency), _MANY):
            yield _block_of(currency, of_currency[start : start + _MANY])


def _block_of(currency: str, rows: Sequence[RevenueRow]) -> RowColumns:
    def column(name: str) -> list[Any]:
        return list(map(attrgetter(name), rows))

    return RowColumns(
        currency, [row.day.toordinal() for row in rows], column("tag"), column("tag_name"), column("sub"),
        column("part"), stated_columns({name: column(f"figures.{name}") for name in _MEASURES}),
    )  # fmt: skip


def stated_columns(columns: Mapping[str, Sequence[int | None]]) -> dict[str, Sequence[int | None]]:
    """Those of the measures that some row states."""
    return {name: column for name, column in columns.items() if any(map(_is_known, column))}


_is_known = partial(is_not, None)


def renamed(rows: Sequence[RevenueRow], names_by_tag: Mapping[str, str]) -> Sequence[RevenueRow]:
    """The rows with these names of their tags, none where there is none."""
    if not isinstance(rows, PackedRows):
        return tuple(msgspec.structs.replace(row, tag_name=names_by_tag.get(row.tag, "")) for row in rows)
    named = PackedRows.of(
        msgspec.structs.replace(block, tag_names=[names_by_tag.get(tag, "") for tag in block.tags])
        for block in rows.columns()
    )
    named.distinct = rows.distinct
    return named


def measures_of(rows: Sequence[RevenueRow]) -> AbstractSet[str]:
    """The measures that some row states."""
    if isinstance(rows, PackedRows):
        return rows.stated
    return {name for name in _MEASURES if any(map(_is_known, map(attrgetter(f"figures.{name}"), rows)))}

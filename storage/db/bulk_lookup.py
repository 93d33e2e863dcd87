"""Rows looked up by many values at once, without SQLAlchemy's work per statement where time counts."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.direct_sqlite import SyncConnection

_DIALECT = sqlite.dialect()


class Lookup:
    """A query for the rows whose columns are each among given values.

    On the straight way its text is kept for each number of values (powers of two; the last value is repeated), so that
    asking costs what SQLite costs; elsewhere it is an ordinary statement, few of which PostgreSQL then has to prepare.
    Rows are told by position, for they may be plain tuples.
    """

    def __init__(self, query: Select[Any], *columns: ColumnElement[Any]) -> None:
        self._query = query
        self._columns = columns
        self._texts: dict[tuple[int, ...], tuple[str, tuple[Any, ...]]] = {}
        found = ((n, _reading(column)) for n, column in enumerate(query.selected_columns))
        self._readings = [(n, reading) for n, reading in found if reading is not None]

    async def rows(self, tx: AsyncConnection, *values: Collection[Any]) -> Sequence[Sequence[Any]]:
        """Rows for which every column is among its values, in any order; none if any of them is empty."""
        if not all(values):
            return ()
        padded = [_padded(given) for given in values]
        if not isinstance(tx, SyncConnection):
            among = (column.in_(given) for column, given in zip(self._columns, padded, strict=True))
            return [tuple(row) for row in await tx.execute(self._query.where(*among))]
        text, constants = self._text(tuple(map(len, padded)))
        rows = tx.fetch(text, [*constants, *(value for given in padded for value in given)])
        return [self._read(row) for row in rows] if self._readings else rows

    def _text(self, sizes: tuple[int, ...]) -> tuple[str, tuple[Any, ...]]:
        known = self._texts.get(sizes)
        if known is None:
            known = self._texts[sizes] = self._compiled(sizes)
        return known

    def _compiled(self, sizes: tuple[int, ...]) -> tuple[str, tuple[Any, ...]]:
        """The query's own values come first, then ours in the order of the columns."""
        names = [[f"among_{n}_{i}" for i in range(size)] for n, size in enumerate(sizes)]
        among = (
            column.in_([bindparam(name, type_=column.type) for name in mine])
            for column, mine in zip(self._columns, names, strict=True)
        )
        compiled: Any = self._query.where(*among).compile(dialect=_DIALECT)
        ours = [name for mine in names for name in mine]
        constants = compiled.positiontup[: -len(ours)]
        assert compiled.positiontup[len(constants) :] == ours  # noqa: S101 - how SQLAlchemy orders a WHERE
        return str(compiled), tuple(compiled.params[name] for name in constants)

    def _read(self, row: Sequence[Any]) -> Sequence[Any]:
        values = list(row)
        for n, reading in self._readings:
            values[n] = reading(values[n])
        return values


def _padded(values: Collection[Any]) -> list[Any]:
    """Values as the driver takes them at once, as many as the next power of two."""
    plain = [str(value) if isinstance(value, str) else value for value in values]
    return plain + [plain[-1]] * ((1 << (len(plain) - 1).bit_length()) - len(plain))


def _reading(column: Any) -> Callable[[Any], Any] | None:
    """How a column's values are read, as SQLAlchemy does it."""
    reading: Callable[[Any], Any] | None = column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None)
    return reading

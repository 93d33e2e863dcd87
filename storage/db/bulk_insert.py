"""Tables as they lie on disk: instants and days as numbers, JSON as text, so that rows need no work on their way in."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec
from sqlalchemy import Boolean, Column, MetaData, Table, Text, TypeDecorator, Update, insert, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.direct_sqlite import SyncConnection

_IDS = text("SELECT nextval(pg_get_serial_sequence(:table, 'id')) FROM generate_series(1, :n)")
#: No number, in a column that may be null. Python's sqlite3 takes four times as long to bind None.
NO_NUMBER = -(1 << 63)
_MISSING = {"", NO_NUMBER}


class BulkTable:
    """A table that takes plain tuples, in the order of `names`.

    In columns that may be null, "" and NO_NUMBER stand for null. `identity_columns` names columns by which rows of one
    batch can be told apart, as far as they differ.
    """

    def __init__(self, table: Table, names: Sequence[str], *, identity_columns: Sequence[str] = ()) -> None:
        columns = [Column(column.name, _plain(column.type), primary_key=column.primary_key) for column in table.columns]
        self.table = Table(table.name, MetaData(), *columns)
        self.names = tuple(names)
        self._nullable = [n for n, name in enumerate(names) if table.c[name].nullable]
        self._flags = [n for n, name in enumerate(names) if isinstance(table.c[name].type, Boolean)]
        self._apart = tuple(names.index(name) for name in identity_columns)

    @cached_property
    def text(self) -> str:
        """SQLite's statement; the id comes first."""
        marks = ["?"] * len(self.names)
        for n in self._nullable:
            numeric = not isinstance(self.table.c[self.names[n]].type, Text)
            marks[n] = f"nullif(?, {NO_NUMBER})" if numeric else "nullif(?, '')"
        columns = ", ".join(self.names)
        return f"INSERT INTO {self.table.name} (id, {columns}) VALUES (?, {', '.join(marks)})"  # noqa: S608

    async def insert(self, tx: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        """Insert rows; their new ids, in order."""
        if isinstance(tx, SyncConnection):
            return tx.insert(self.table.name, self.text, rows)
        if tx.dialect.name == "postgresql":
            return await self._copied(tx, rows)
        return await self._match_returned_ids(tx, rows)

    async def _copied(self, tx: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        """By COPY, under ids taken from the table's sequence: a tenth of what inserting costs.

        The ids are asked for by SQLAlchemy, so that its transaction has begun on the connection that copies.
        """
        drawn = await tx.execute(_IDS, {"table": self.table.name, "n": len(rows)})
        ids = sorted(int(number) for number in drawn.scalars())
        await self._copy(tx, [(number, *self._typed(row)) for number, row in zip(ids, rows, strict=True)], "id")
        return ids

    async def append(self, tx: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows whose ids nobody needs to know, after another statement of the same transaction."""
        if isinstance(tx, SyncConnection) or tx.dialect.name != "postgresql":
            await self.insert(tx, rows)
        else:
            await self._copy(tx, [self._typed(row) for row in rows])

    async def _copy(self, tx: AsyncConnection, records: Sequence[Sequence[Any]], *first: str) -> None:
        connection = (await tx.get_raw_connection()).driver_connection
        assert connection is not None  # noqa: S101 - it has been asked before
        await connection.copy_records_to_table(self.table.name, records=records, columns=[*first, *self.names])

    def _typed(self, row: tuple[Any, ...]) -> list[Any]:
        values = self._nulled(row)
        for n in self._flags:
            values[n] = bool(values[n])
        return values

    async def _match_returned_ids(self, tx: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        """Databases do not promise the order of RETURNING, and asking SQLAlchemy to sort it costs a statement a row.

        So rows are recognised by what tells them apart; rows alike in all of it are alike, and get ascending ids.
        """
        nulled = [self._nulled(row) for row in rows]
        columns = (self.table.c.id, *(self.table.c[self.names[n]] for n in self._apart))
        waiting: dict[tuple[Any, ...], list[int]] = {}
        statement = insert(self.table).returning(*columns)
        for found in await tx.execute(statement, [dict(zip(self.names, row, strict=True)) for row in nulled]):
            waiting.setdefault(tuple(found[1:]), []).append(found.id)
        for ids in waiting.values():
            ids.sort(reverse=True)
        return [waiting[tuple(row[n] for n in self._apart)].pop() for row in nulled]

    def _nulled(self, row: tuple[Any, ...]) -> list[Any]:
        values = list(row)
        for n in self._nullable:
            if values[n] in _MISSING:
                values[n] = None
        return values

    def update(self, number: int, row: tuple[Any, ...]) -> Update:
        """The statement that gives the columns of row `number` these values."""
        values = dict(zip(self.names, self._nulled(row), strict=True))
        return update(self.table).where(self.table.c.id == number).values(**values)


def nullable(value: int | None) -> int:
    """A number for a column that may be null."""
    return NO_NUMBER if value is None else value


def as_json(value: Any) -> str:
    """Plain JSON as it lies on disk."""
    return msgspec.json.encode(value).decode()


def _plain(kind: Any) -> Any:
    return kind.impl_instance if isinstance(kind, TypeDecorator) else kind

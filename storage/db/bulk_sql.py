"""SQL for many rows at once, without SQLAlchemy's work per row: plain tuples in, plain tuples out.

Columns get what is stored: instants and days as numbers, JSON as text.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache, cached_property
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import (
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    TypeDecorator,
    Update,
    bindparam,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import Executable

from storage.db.deferred_transaction import DeferredTransaction
from storage.db.direct_sqlite import SyncConnection
from storage.db.postgres_connection import driver_of

_DIALECT = sqlite.dialect()
_IDS = text("SELECT nextval(pg_get_serial_sequence(:table, 'id')) FROM generate_series(1, :n)")
#: No number, in a column that may be null. Python's sqlite3 takes four times as long to bind None.
NO_NUMBER = -(1 << 63)
_MISSING = {"", NO_NUMBER}
_NO_CONSTANTS: Mapping[str, int] = {}
T = TypeVar("T")


class BulkTable:
    """A table that takes plain tuples, in the order of `names`.

    In columns that may be null, "" and NO_NUMBER stand for null, except in those that are `never_null` in these rows.
    `identity_columns` names columns that distinguish the rows of one batch, as far as they differ.
    """

    def __init__(
        self,
        table: Table,
        names: Sequence[str],
        *,
        identity_columns: Sequence[str] = (),
        never_null: Collection[str] = (),
    ) -> None:
        columns = [Column(column.name, _plain(column.type), primary_key=column.primary_key) for column in table.columns]
        self.table = Table(table.name, MetaData(), *columns)
        self.names = tuple(names)
        self._nullable = [n for n, name in enumerate(names) if table.c[name].nullable and name not in never_null]
        self._flags = [n for n, name in enumerate(names) if isinstance(table.c[name].type, Boolean)]
        self._identity = tuple(names.index(name) for name in identity_columns)

    @cached_property
    def text(self) -> str:
        """SQLite's statement; the id comes first."""
        return self._text(["?"], ["id"])

    def _text(self, first_marks: Iterable[str], first_names: Iterable[str]) -> str:
        columns, marks = ", ".join([*first_names, *self.names]), ", ".join([*first_marks, *self._marks])
        return f"INSERT INTO {self.table.name} ({columns}) VALUES ({marks})"  # noqa: S608

    @cached_property
    def _marks(self) -> list[str]:
        marks = ["?"] * len(self.names)
        for n in self._nullable:
            numeric = not isinstance(self.table.c[self.names[n]].type, Text)
            marks[n] = f"nullif(?, {NO_NUMBER})" if numeric else "nullif(?, '')"
        return marks

    async def insert(self, tx: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        """Insert rows; their new ids, in order."""
        if isinstance(tx, SyncConnection):
            return tx.insert(self.table.name, self.text, rows)
        if tx.dialect.name == "postgresql":
            return await self._copied(tx, rows)
        return await self._match_returned_ids(tx, rows)

    async def _copied(self, tx: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        """By COPY, under ids taken from the table's sequence: a tenth of what inserting costs.

        SQLAlchemy fetches the ids, so that its transaction has begun on the connection that copies.
        """
        ids = await self.new_ids(tx, len(rows))
        await self._copy(tx, [(number, *self._typed(row)) for number, row in zip(ids, rows, strict=True)], "id")
        return ids

    async def new_ids(self, tx: AsyncConnection, n: int) -> list[int]:
        """So many ids of PostgreSQL's sequence, in order."""
        fetched = await tx.execute(_IDS, {"table": self.table.name, "n": n})
        return sorted(int(number) for number in fetched.scalars())

    def as_json(self, ids: Sequence[int], rows: Sequence[tuple[Any, ...]]) -> str:
        """Rows as a parameter of `json_insert`, under ids of their own if any are given."""
        record = self._record
        if ids:
            return as_json([record(*row, n) for n, row in zip(ids, rows, strict=True)])
        return as_json([record(*row) for row in rows])

    @cached_property
    def _record(self) -> Callable[..., msgspec.Struct]:
        """A row as JSON has it: what stands for null is left out, which msgspec knows by identity."""
        fields: list[tuple[str, Any, Any]] = [(name, Any, None) for name in (*self.names, "id")]
        for n in self._nullable:
            name = self.names[n]
            fields[n] = (name, Any, "" if isinstance(self.table.c[name].type, Text) else NO_NUMBER)
        return msgspec.defstruct(self.table.name, fields, omit_defaults=True)

    async def append(
        self, tx: AsyncConnection, rows: Iterable[tuple[Any, ...]], constants: Mapping[str, int] = _NO_CONSTANTS
    ) -> None:
        """Insert rows whose ids are not needed, after another statement of the same transaction.

        `constants` are columns beside `names`, with one number each for all rows.
        """
        if isinstance(tx, SyncConnection):
            tx.raw.executemany(self._text([str(int(value)) for value in constants.values()], constants), rows)
        elif tx.dialect.name == "postgresql":
            await self._copy(tx, [(*constants.values(), *self._typed(row)) for row in rows], *constants)
        else:
            named = [dict(zip(self.names, self._nulled(row), strict=True)) for row in rows]
            await tx.execute(insert(self.table), [{**constants, **row} for row in named])

    async def change(
        self, tx: AsyncConnection, ids: Sequence[int], rows: Iterable[tuple[Any, ...]], constants: Mapping[str, int]
    ) -> None:
        """Give rows of these ids other values. `constants` are columns beside `names`, with one number each for all."""
        if isinstance(tx, SyncConnection):
            values = [f"{name} = {int(value)}" for name, value in constants.items()]
            values += [f"{name} = {mark}" for name, mark in zip(self.names, self._marks, strict=True)]
            tx.raw.executemany(
                f"UPDATE {self.table.name} SET {', '.join(values)} WHERE id = ?",  # noqa: S608 - names of ours
                [(*row, number) for number, row in zip(ids, rows, strict=True)],
            )
            return
        given: dict[str, BindParameter[Any]] = {name: bindparam(f"new_{name}") for name in (*constants, *self.names)}
        await tx.execute(update(self.table).where(self.table.c.id == bindparam("key")).values(given), [
            {"key": number, **dict(zip((one.key for one in given.values()), values, strict=True))}
            for number, values in zip(ids, ((*constants.values(), *self._typed(row)) for row in rows), strict=True)
        ])  # fmt: skip

    async def _copy(self, tx: AsyncConnection, records: Sequence[Sequence[Any]], *first: str) -> None:
        connection = (await tx.get_raw_connection()).driver_connection
        assert connection is not None  # noqa: S101 - it has executed a statement before
        await connection.copy_records_to_table(self.table.name, records=records, columns=[*first, *self.names])

    def _typed(self, row: tuple[Any, ...]) -> list[Any]:
        values = self._nulled(row)
        for n in self._flags:
            values[n] = bool(values[n])
        return values

    async def _match_returned_ids(self, tx: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        """Databases do not promise the order of RETURNING, and sorting by SQLAlchemy costs a statement a row.

        So rows are matched by the identity columns; rows equal in all of them get ascending ids.
        """
        nulled = [self._nulled(row) for row in rows]
        columns = (self.table.c.id, *(self.table.c[self.names[n]] for n in self._identity))
        waiting: dict[tuple[Any, ...], list[int]] = {}
        statement = insert(self.table).returning(*columns)
        for returned in await tx.execute(statement, [dict(zip(self.names, row, strict=True)) for row in nulled]):
            waiting.setdefault(tuple(returned[1:]), []).append(returned.id)
        for ids in waiting.values():
            ids.sort(reverse=True)
        return [waiting[tuple(row[n] for n in self._identity)].pop() for row in nulled]

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


class PlainStatement:
    """A statement whose parameters get what is stored; on SQLite's direct connection it is its text alone."""

    def __init__(self, statement: Executable) -> None:
        self._statement = statement

    @cached_property
    def _compiled(self) -> "Compiled":
        return Compiled(self._statement, _DIALECT)

    async def run(self, tx: AsyncConnection, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Run it once for each of some parameters."""
        if not parameters:
            return
        if isinstance(tx, SyncConnection):
            tx.raw.executemany(self._compiled.text, list(map(self._compiled.values, parameters)))
        else:
            await tx.execute(self._statement, parameters)


class Condition(NamedTuple):
    """What must hold for rows to be stored on PostgreSQL: `part` of a WITH, and a `result` that divides by zero if it
    does not hold; in both {0}, {1} … stand for parameters, which have these `values`."""

    part: str
    result: str
    values: tuple[list[int], ...]

    def statement(self) -> str:
        """A statement without parameters that divides by zero if it does not hold."""
        values = [array(numbers) for numbers in self.values]
        return f"WITH {self.part.format(*values)} SELECT {self.result.format(*values)}"


class RowBatch:
    """New rows of one transaction: inserted at once, on PostgreSQL by one statement for all tables in `store`.

    If a transaction is `deferred` that statement is all of it, unless `begin` is called because others are to follow;
    nothing is stored where the `condition` does not hold.
    """

    def __init__(
        self, tx: AsyncConnection, ids: Mapping[str, list[int]] | None, *,
        deferred: DeferredTransaction | None = None, condition: Condition | None = None,
    ) -> None:  # fmt: skip
        """`ids`: new ones of PostgreSQL's sequences, by table, in order; None inserts at once everywhere."""
        self._tx = tx
        self._ids = ids
        self._deferred = deferred
        self._condition = condition
        self._ones: dict[BulkTable, tuple[list[int], list[tuple[Any, ...]]]] = {}

    async def insert(self, table: BulkTable, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        """Insert rows; their new ids, in order."""
        if self._ids is None:
            return await table.insert(self._tx, rows)
        held = self._ids.get(table.table.name, [])
        taken = held[: len(rows)]
        del held[: len(rows)]
        if len(taken) < len(rows):
            taken += await table.new_ids(self._tx, len(rows) - len(taken))
        ids, waiting = self._ones.setdefault(table, ([], []))
        ids += taken
        waiting += rows
        return taken

    async def append(self, table: BulkTable, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows whose ids are not needed, after another statement of the same transaction."""
        if self._ids is None:
            await table.append(self._tx, rows)
        else:
            self._ones.setdefault(table, ([], []))[1].extend(rows)

    async def begin(self) -> None:
        """Begin the transaction if it is deferred, before anything else is written. Raises StoredMeanwhile."""
        if self._deferred is not None and self._condition is not None and not self._deferred.begun:
            await self._deferred.begin(self._condition.statement())

    async def store(self) -> None:
        """Have all of them in the tables. Raises StoredMeanwhile if the transaction is deferred."""
        if not self._ones:
            return
        ones, self._ones = self._ones, {}
        tables = tuple((table, bool(ids)) for table, (ids, _) in ones.items())
        values = [table.as_json(*columns) for table, columns in ones.items()]
        condition = self._condition
        if self._deferred is None:
            await driver_fetch(self._tx, _insert_all(tables), *values)
        elif condition is None or self._deferred.begun:
            await self._deferred.write(_insert_all(tables), *values)
        else:
            statement = _insert_all(tables, condition.part, condition.result, len(condition.values))
            await self._deferred.write(statement, *condition.values, *values)


@cache
def _insert_all(
    tables: tuple[tuple[BulkTable, bool], ...], part: str = "", result: str = "1", parameters: int = 0
) -> str:
    """One statement for the rows of several tables, each a parameter; foreign keys are looked at when it ends.

    What a condition consists of comes first, with so many parameters.
    """
    marks = [f"${n}" for n in range(1, parameters + 1)]
    inserts = [
        f"t{n} AS ({json_insert(n, table.table, ('id', *table.names) if numbered else table.names)})"
        for n, (table, numbered) in enumerate(tables, parameters + 1)
    ]
    parts = [part.format(*marks), *inserts] if part else inserts
    return f"WITH {', '.join(parts)} SELECT {result.format(*marks)}"


def array(numbers: Iterable[int]) -> str:
    """Numbers as an array for a statement of PostgreSQL without parameters."""
    return f"'{{{','.join(map(str, numbers))}}}'"


def json_insert(number: int, table: Table, names: Sequence[str]) -> str:
    """PostgreSQL's INSERT of the rows in a parameter, a JSON array of objects; bytes are base64 in it."""
    columns = [table.c[name] for name in names]
    values = (f"decode({one.name}, 'base64')" if isinstance(one.type, LargeBinary) else one.name for one in columns)
    kinds = ", ".join(f"{one.name} {_json_type(one)}" for one in columns)
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(values)} "  # noqa: S608 - names of ours
        f"FROM json_to_recordset(${number}::json) AS new({kinds})"
    )


def _json_type(column: Column[Any]) -> str:
    name = column.type.compile(postgresql.dialect())  # type: ignore[no-untyped-call]
    return "TEXT" if name == "BYTEA" else str(name)


async def driver_fetch(tx: AsyncConnection, text: str, *values: Any) -> Sequence[Sequence[Any]]:
    """Rows of a statement in PostgreSQL's own words, in a transaction that has executed another one before."""
    rows: Sequence[Sequence[Any]] = await driver_of(tx).fetch(text, *values)
    return rows


@asynccontextmanager
async def under_way(statement: Coroutine[Any, Any, T]) -> AsyncIterator["asyncio.Task[T]"]:
    """Have PostgreSQL work on a statement while the block reckons; it is done when the block has ended."""
    task = asyncio.create_task(statement)
    try:
        for _ in range(2):  # the task begins; the event loop sends what it wrote
            await asyncio.sleep(0)
        yield task
    finally:
        await task


class ColumnQuery:
    """A query for many rows of numbers and texts, read by column.

    SQLite writes each column as JSON: a value costs half of what Python's sqlite3 takes to make it.
    """

    def __init__(self, query: Select[Any]) -> None:
        self._query = query

    @cached_property
    def _arrays(self) -> Select[*tuple[Any, ...]]:
        return select(*(func.json_group_array(column, type_=Text) for column in self._query.subquery().c))

    async def read(self, tx: AsyncConnection, **values: Any) -> "ReadColumns":
        """The columns for these values of its parameters, as they are stored."""
        if tx.dialect.name != "sqlite":
            rows = (await tx.execute(self._query, values)).all()
            columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in self._query.selected_columns]
            return ReadColumns(columns, [None not in column for column in columns])
        arrays = (await tx.execute(self._arrays, values)).one()
        return ReadColumns([*map(_column.decode, arrays)], ["null" not in array for array in arrays])


class ReadColumns(NamedTuple):
    """Columns in the order of the rows, and of each whether all of it is certainly no null."""

    values: list[list[Any]]
    whole: list[bool]


_column: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[Any])


def nullable(value: int | None) -> int:
    """A number for a column that may be null."""
    return NO_NUMBER if value is None else value


def as_json(value: Any) -> str:
    """Plain JSON as it is stored."""
    return msgspec.json.encode(value).decode()


def _plain(kind: Any) -> Any:
    return kind.impl_instance if isinstance(kind, TypeDecorator) else kind


class Compiled:
    """A statement's text for one dialect; its positional parameters are in the order of `names`."""

    __slots__ = ("_constants", "names", "text")

    def __init__(self, statement: Executable, dialect: Dialect, columns: list[str] | None = None) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
        self.text = str(compiled)
        self.names: tuple[str, ...] = tuple(compiled.positiontup)
        self._constants: Mapping[str, Any] = compiled.params

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """The values of its parameters in their order; those that are not given are the statement's own."""
        return [given[name] if name in given else self._constants[name] for name in self.names]


async def fetch(tx: AsyncConnection, statement: Compiled, given: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """Rows of a reading statement on PostgreSQL; in a lookup, which is no transaction, by the driver itself: that takes
    half of the processor time."""
    values = statement.values(given)
    connection = tx.sync_connection
    if connection is None or connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        return (await tx.exec_driver_sql(statement.text, tuple(values))).all()
    driver: Any = (await tx.get_raw_connection()).driver_connection
    rows: Sequence[Sequence[Any]] = await driver.fetch(statement.text, *values)
    return rows


class Lookup:
    """A query for the rows whose columns are each among some values.

    In a direct SQLite transaction its text is kept for each number of values (powers of two; the last value is
    repeated); elsewhere it is an ordinary statement, few of which PostgreSQL then has to prepare. Columns are read by
    position, for rows may be plain tuples.
    """

    def __init__(self, query: Select[Any], *columns: ColumnElement[Any]) -> None:
        self._query = query
        self._columns = columns
        self._texts: dict[tuple[int, ...], tuple[str, tuple[Any, ...]]] = {}
        readers = ((n, _reader(column)) for n, column in enumerate(query.selected_columns))
        self._readers = [(n, reader) for n, reader in readers if reader is not None]

    async def rows(self, tx: AsyncConnection, *values: Collection[Any]) -> Sequence[Sequence[Any]]:
        """Rows for which every column is among its values, in any order; none if any of them is empty."""
        if not all(values):
            return ()
        padded = [_padded(column) for column in values]
        if not isinstance(tx, SyncConnection):
            among = (column.in_(among_values) for column, among_values in zip(self._columns, padded, strict=True))
            return [tuple(row) for row in await tx.execute(self._query.where(*among))]
        text, constants = self._text(tuple(map(len, padded)))
        rows = tx.fetch(text, [*constants, *(value for column in padded for value in column)])
        return [self.read(row) for row in rows] if self._readers else rows

    def _text(self, sizes: tuple[int, ...]) -> tuple[str, tuple[Any, ...]]:
        compiled = self._texts.get(sizes)
        if compiled is None:
            compiled = self._texts[sizes] = self._compiled(sizes)
        return compiled

    def _compiled(self, sizes: tuple[int, ...]) -> tuple[str, tuple[Any, ...]]:
        """The query's own values come first, then ours in the order of the columns."""
        names = [[f"among_{n}_{i}" for i in range(size)] for n, size in enumerate(sizes)]
        among = (
            column.in_([bindparam(name, type_=column.type) for name in parameters])
            for column, parameters in zip(self._columns, names, strict=True)
        )
        compiled: Any = self._query.where(*among).compile(dialect=_DIALECT)
        ours = [name for parameters in names for name in parameters]
        constants = compiled.positiontup[: -len(ours)]
        assert compiled.positiontup[len(constants) :] == ours  # noqa: S101 - how SQLAlchemy orders a WHERE
        return str(compiled), tuple(compiled.params[name] for name in constants)

    def read(self, row: Sequence[Any]) -> Sequence[Any]:
        """A row's values, of those that are stored."""
        values = list(row)
        for n, reader in self._readers:
            values[n] = reader(values[n])
        return values


def _padded(values: Collection[Any]) -> list[Any]:
    """Values as the driver takes them, as many as the next power of two."""
    plain = [str(value) if isinstance(value, str) else value for value in values]
    return plain + [plain[-1]] * ((1 << (len(plain) - 1).bit_length()) - len(plain))


def _reader(column: Any) -> Callable[[Any], Any] | None:
    """How a column's values are read, as SQLAlchemy does it."""
    reader: Callable[[Any], Any] | None = column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None)
    return reader

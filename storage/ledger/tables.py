"""The one reader of tables of text: uploads, imports, CSV of platforms.

UTF-8 with or without mark, UTF-16 with mark, a Windows encoding where it is declared or certain; comma, semicolon, tab
or bar between cells, a `sep=` line, any line ends, quoted fields. Empty rows and empty last columns are left out, lines
above the header and below the last row are named. What is damaged is refused with its line: an unclosed quote, a row
with other cells than its header, a last line that is cut off.
"""

import codecs
import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache

import msgspec

from storage.ledger.dates import Order, day_order, read_day
from storage.ledger.numbers import Mark, decimal_mark, is_missing, read_amount

SEPARATORS = ",;\t|"
LONGEST_FIELD = 1_000_000  # characters
BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NO_TABLES = (
    (b"PK\x03\x04", "an Excel workbook, or another ZIP file"), (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"%PDF-", "a PDF"), (b"\x89PNG", "a picture"), (b"\xff\xd8\xff", "a picture"), (b"\x1f\x8b", "a packed file"),
)  # fmt: skip
WINDOWS = ("cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1257")
_SEP_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*\s*\n', re.IGNORECASE)
_TOTALS = (
    "totals?", "totale", "totali", "total geral", "total (?:for|of) [^,;]{1,40}", "suma total", "eindtotaal", "totaal",
    "totalt", "totaux", "sum", "sums", "suma", "summa", "summe", "soma", "somma", "somme", "gesamt", "gesamtsumme",
    "gesamtergebnis", "insgesamt", "razem", "ogółem", "łącznie", "celkem", "celkom", "spolu", "összesen", "yhteensä",
    "toplam", "i alt", "ukupno", "skupaj", "kokku", "viso", "kopā", "jumlah", "tổng(?: cộng)?", "σύνολο", "итог",
    "общий итог", "итого", "всего", "всичко", "всього", "разом", "общо", "合計", "合计", "总计", "總計", "小計", "小计",
    "المجموع", "الإجمالي", "סה\"כ", "รวม",
)  # fmt: skip
_TOTAL = re.compile(
    rf"(?:(?:sub|grand|sous|zwischen|genel|iš)[ -]?)?(?:{'|'.join(_TOTALS)})(?: g[eé]n[eé]ral[e]?)?"
    r"(?: ?\([^()]{1,20}\))?[:. ]*",
    re.IGNORECASE,
)

csv.field_size_limit(LONGEST_FIELD)


class TableError(ValueError):
    """What is wrong with a table of text. `line` is counted from 1; 0 where the whole file is meant."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {text}" if line else text)
        self.line = line


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row under its header: the line of the file it begins at, and its cells, as many as the header has names."""

    line: int
    cells: tuple[str, ...]


class Block(msgspec.Struct, frozen=True):
    """Rows under one header line. Totals lines are among its rows."""

    names: tuple[str, ...]
    line: int
    rows: list[Row]

    def column(self, at: int) -> list[str]:
        return [row.cells[at] for row in self.rows]

    def records(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Each row by the names of its header, with its line."""
        for row in self.rows:
            yield row.line, dict(zip(self.names, row.cells, strict=True))


class Table(msgspec.Struct, frozen=True):
    """What a text holds: one block for each header line, the lines outside them, and whether its last line ends."""

    blocks: list[Block]
    outside: list[Row]
    ends_with_line_end: bool

    @property
    def notes(self) -> list[str]:
        """The lines left out, named."""
        return [
            f"line {row.line} was left out: {' '.join(filter(None, row.cells))[:80]!r}" for row in self.outside[:10]
        ] + ([f"and {len(self.outside) - 10} more lines"] if len(self.outside) > 10 else [])


def is_value(cell: str) -> bool:
    """Whether a cell is a number or a day, as no name of a column is."""
    if not cell[:1].isdecimal() and cell[:1] not in "-+(":
        return False
    for read in (read_amount, read_day):
        try:
            return read(cell) is not None
        except ValueError:
            continue
    return False


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """A column's name without case, blanks and punctuation, as columns are compared."""
    return re.sub(r"[^\w%]|_", "", name.casefold())


def decode_text(body: bytes, encoding: str = "", *, names: Collection[str] = ()) -> str:
    """The text of a file. Raises TableError naming the encoding where it is none that is declared or certain.

    `encoding` is what the account says. A Windows encoding is certain where every one of them reads the same, or only
    one shows a column name of `known` that has letters beyond ASCII.
    """
    if kind := next((kind for begins, kind in _NO_TABLES if body.startswith(begins)), ""):
        raise TableError(f"this is {kind}: save the table as CSV in UTF-8, and send that")
    for mark, marked in BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return _decoded(body[len(mark) :], marked)
    if encoding:
        return _decoded(body, encoding)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        return _certain(body, line, {name for name in names if not name.isascii()})
    if "\x00" in text:
        raise TableError("this is no text, or UTF-16 without a mark: save the table as CSV in UTF-8")
    return text


def _decoded(body: bytes, encoding: str) -> str:
    try:
        text = body.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise TableError(f"this is no {encoding} ({error}): save the table as CSV in UTF-8") from None
    if "\x00" in text:
        raise TableError(f"this is no {encoding}: save the table as CSV in UTF-8")
    return text


def _certain(body: bytes, line: int, names: Collection[str]) -> str:
    """The one text that Windows encodings make of the bytes: non-breaking spaces, quotation marks, known words."""
    readings: dict[str, str] = {}
    for encoding in WINDOWS:
        try:
            readings.setdefault(body.decode(encoding), encoding)
        except UnicodeDecodeError:
            readings.setdefault("", encoding)
    if len(readings) == 1 and "" not in readings:
        return readings.popitem()[0]
    shown = {text: sum(name in text[:20_000] for name in names) for text in readings}
    best = [text for text, names in shown.items() if names and names == max(shown.values())]
    if len(best) == 1:
        return best[0]
    raise TableError(
        "not UTF-8, and which Windows encoding it is (windows-1252, windows-1251 …) cannot be known: save the table "
        "as CSV in UTF-8, or say the encoding",
        line,
    )


def read_table(
    text: str,
    is_header: Callable[[Sequence[str]], bool],
    *,
    looked_at: Collection[str] | None = None,
    own_names: Collection[str] = (),
) -> Table:
    """The blocks of a text. `is_header` tells a header line by its cells; the separator is the one that shows it.

    A second column of one name is called `Name (2)`. It is refused if the name is `looked_at` (None: all are), unless
    one of `own_names`, a mapping, says which: `Name (1)`. Raises TableError.
    """
    whole = text.endswith("\n") or (text.endswith("\r") and "\n" not in text)
    chosen = {plain_name(name) for name in own_names}
    columns = None if looked_at is None else {plain_name(name) for name in looked_at}
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    skipped = 0
    if match := _SEP_LINE.match(text):
        separator, text, skipped = match[1], text[match.end() :], 1
    else:
        separator = _separator(text, is_header)
    rows = list(_rows(text, separator, skipped))
    blocks: list[Block] = []
    outside: list[Row] = []
    after_gap = False
    for at, row in enumerate(rows):
        if not any(row.cells):
            after_gap = True
            continue
        if is_header(row.cells):
            blocks.append(_block(row, columns, chosen))
        elif not blocks:
            outside.append(row)
        elif after_gap and _is_note(row, rows[at + 1 :], whole):
            outside.append(row)
            continue
        else:
            blocks[-1].rows.append(_fitted(row, blocks[-1], last=at == len(rows) - 1 and not whole))
        after_gap = False
    return Table(blocks, outside, whole)


def _is_note(row: Row, rest: Sequence[Row], whole: bool) -> bool:
    """Whether a line below the last row is no row: one filled cell behind an empty line, and only such after it."""
    alone = [sum(map(bool, line.cells)) <= 1 for line in (row, *rest)]
    return whole and all(alone)


def _rows(text: str, separator: str, skipped: int) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    line = 1 + skipped
    may_be_guarded = "'" in text
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            yield Row(line, tuple(map(_unguarded, stripped) if may_be_guarded else stripped))
            line = reader.line_num + 1 + skipped
    except csv.Error as error:
        message = str(error)
        if "unexpected end" in message:
            raise TableError("a quote is opened and never closed: the file is cut off or damaged", line) from None
        if "field larger" in message:
            raise TableError(f"a field has more than {LONGEST_FIELD:,} characters", line) from None
        raise TableError(f"its quotes are damaged ({message})", line) from None


def _separator(text: str, is_header: Callable[[Sequence[str]], bool]) -> str:
    """The mark between cells: the one by which the header shows, else the most frequent of the first line."""
    start = text[:200_000]
    lines = [line for line in start.split("\n")[:200] if line.strip()]
    for line in lines:
        marks = [mark for mark in SEPARATORS if mark in line and is_header(_split(line, mark))]
        if marks:
            return max(marks, key=line.count)
    first = lines[0] if lines else ""
    return max(SEPARATORS, key=first.count) if first else ","


def _split(line: str, mark: str) -> list[str]:
    return [cell.strip(' "') for cell in line.split(mark)]


def _block(row: Row, looked_at: Collection[str] | None, chosen: Collection[str]) -> Block:
    cells = list(row.cells)
    while cells and not cells[-1]:
        cells.pop()
    compared = [plain_name(name) for name in cells]
    names = []
    for at, name in enumerate(cells):
        copies = compared.count(compared[at])
        if copies == 1 or not name:
            names.append(name or f"column {at + 1}")
            continue
        is_chosen = any(plain_name(f"{name} ({n})") in chosen for n in range(1, copies + 1))
        if not is_chosen and (looked_at is None or compared[at] in looked_at):
            raise TableError(
                f"{copies} columns are called {name!r}: rename one, or say which in `columns`, e.g. {name + ' (2)'!r}",
                row.line,
            )
        names.append(f"{name} ({compared[: at + 1].count(compared[at])})")
    return Block(tuple(names), row.line, [])


def _fitted(row: Row, block: Block, *, last: bool) -> Row:
    """The row with as many cells as its header has names. Raises TableError for another number of them."""
    width = len(block.names)
    cells = row.cells
    if len(cells) == width:
        return row
    if len(cells) < width and not is_total_name(next(filter(None, cells), "")):
        why = "the answer or file is cut off" if last else "a cell is missing, or the line is damaged"
        raise TableError(f"{len(cells)} cells where the header (line {block.line}) has {width}: {why}", row.line)
    if any(cells[width:]):
        raise TableError(
            f"{len(cells)} cells where the header (line {block.line}) has {width}: a cell holds a separator, or a "
            "column has no name",
            row.line,
        )
    return Row(row.line, (*cells[:width], *[""] * (width - len(cells))))


def write_table(rows: Iterable[Iterable[str]]) -> str:
    """Rows as CSV, commas between the cells; the one writer of it.

    A text that a spreadsheet would take for a formula is guarded by an apostrophe before its `=`, `+`, `-`, `@`, tab or
    line end, also behind a `;` or tab at which a spreadsheet of another country parts cells (OWASP, "CSV Injection").
    Numbers stand as they are. `read_table` takes the apostrophes away again.
    """
    lines = []
    for row in rows:
        cells = list(row)
        if _MARKED.search("\0".join(cells)):
            cells = [_quoted(_guarded(cell)) for cell in cells]
        lines.append((",".join(cells) if cells != [""] else '""') + "\n")
    return "".join(lines)


def _guarded(text: str) -> str:
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(lambda found: "'" + found[0], text)


def _unguarded(text: str) -> str:
    """The text that `write_table` was given."""
    return _FORMULA.sub(lambda found: found[0][1:], text) if "'" in text else text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _APART.search(text) else text


_FORMULA = re.compile(r"(?:^|(?<=[;\t\r\n]))'*(?=[=+@＝＋－＠-])|^'*(?=[\t\r\n])")
_NUMBER = re.compile(r"[+-]?(?:[$£¥\u20a0-\u20cf]?[0-9][0-9., ]*(?: ?(?:%|[A-Z]{3}))?)?")
_APART = re.compile(r'[,;\t|"\r\n]')
_MARKED = re.compile(r"""[,;\t|"\r\n]|(?:^|\0)['=+@＝＋－＠-]""")


@lru_cache(maxsize=4096)
def is_total_name(text: str) -> bool:
    """Whether a key cell says that its line is a total, and names nothing else: `Total Casino` is a brand."""
    return bool(text) and _TOTAL.fullmatch(text) is not None


def column_mark(block: Block, at: int) -> Mark:
    """The decimal separator of a column. Raises TableError naming the column and the lines."""
    try:
        return decimal_mark(block.column(at))
    except ValueError as error:
        raise column_error(block, at, str(error)) from None


def column_order(block: Block, at: int, setting: Order) -> tuple[Order, bool]:
    """The order of day and month in a column, and whether its cells decide it. Raises TableError."""
    try:
        order = day_order([cell for cell in block.column(at) if not is_missing(cell)], setting)
    except ValueError as error:
        raise column_error(block, at, str(error)) from None
    return order.order, order.decided


def column_error(block: Block, at: int, text: str) -> TableError:
    """What is wrong with a column, with the lines of the cells that the text quotes."""
    quoted: dict[str, int] = {}
    for row in block.rows:
        if row.cells[at] and repr(row.cells[at]) in text:
            quoted.setdefault(row.cells[at], row.line)
    lines = f"line{'s' if len(quoted) > 1 else ''} {' and '.join(map(str, quoted.values()))}, " if quoted else ""
    return TableError(f"{lines}column {block.names[at]!r}: {text}")

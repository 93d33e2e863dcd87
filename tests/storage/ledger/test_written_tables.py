"""CSV that people open in a spreadsheet: texts of strangers are no formulas there, and come back as they were."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.tables import TableError, decode_text, read_table, write_table

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
HOSTILE = (
    "=HYPERLINK(\"http://evil.example\",\"x\")", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "-A1", "\t=1", "'=1",
    "''@x", "＝1+1", "a;=1+1", "a\t=1", "a\n-1+1", "x;'=1", "Total; -", "it's; 'quoted'", 'say "=1"', "a\rb",
)  # fmt: skip


def read(text: str) -> list[tuple[str, ...]]:
    """What our own reader makes of it; the first line is the header."""
    (block,) = read_table(text, lambda cells: cells[0] == "k").blocks
    return [row.cells for row in block.rows]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("between", ",;\t")
def test_a_strangers_text_is_no_formula_wherever_a_spreadsheet_parts_the_cells(text: str, between: str) -> None:
    written = write_table([["k", "name", "amount"], ["x", text, "1"]])
    for row in csv.reader(io.StringIO(written, newline=""), delimiter=between):
        assert not [cell for cell in row if len(cell) > 1 and cell.startswith(FORMULAS)], row
    assert read(written) == [("x", text.replace("\r", "\n"), "1")]


@pytest.mark.parametrize("number", ["-12.50", "+3", "-1,234.50", "-5%", "-12.5 EUR", "-€12.50", "-", "–", "0", ""])
def test_numbers_stand_as_they_are(number: str) -> None:
    written = write_table([["k", "amount", "end"], ["x", number, "1"]])
    assert next(csv.reader(io.StringIO(written.splitlines()[1]))) == ["x", number, "1"]
    assert read(written) == [("x", number, "1")]


@given(st.lists(st.text(st.sampled_from("=+-@'; \t\n\",ab1＝"), max_size=8).map(str.strip), min_size=2, max_size=4))
def test_whatever_is_written_is_read_again(cells: list[str]) -> None:
    assert read(write_table([["k", *map(str, range(len(cells)))], ["x", *cells]])) == [("x", *cells)]


@pytest.mark.parametrize(
    ("begins", "kind"),
    [(b"PK\x03\x04\x14", "an Excel workbook"), (b"\xd0\xcf\x11\xe0\xa1", "an Excel workbook"), (b"%PDF-1.7", "a PDF")],
)
def test_a_file_that_is_no_table_is_called_by_its_kind(begins: bytes, kind: str) -> None:
    with pytest.raises(TableError, match=rf"this is {kind}.*save the table as CSV in UTF-8, and send that"):
        decode_text(begins + bytes(range(256)), "windows-1252")

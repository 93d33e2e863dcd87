"""StatsDrone: the table of its bulk connect, one affiliate program a line, without a header.

`Program,username,password[,tags][,currency]`, for programs with an API `Program,api_key,api_id[,tags][,currency]`;
tags are joined by `+` (help.statsdrone.com/en/articles/11593381). Passwords and keys are not kept: no platform here
logs in by username and password, and which key is for what only the platform's own form says.
"""

from connectors.trackers.tables import unended
from storage.ledger.errors import Refused
from storage.ledger.imports.tracker import Part, Problem, Setup, TrackerAccount
from storage.ledger.tables import TableError, decode_text, plain_name, read_table

TITLE = "StatsDrone"
_MOST_CELLS = 5


def read_file(raw: bytes, encoding: str = "") -> list[Part]:
    """Accounts of the programs. Raises Refused at `file`, naming the line and no cell of it."""
    try:
        rows = _rows(raw, encoding)
    except TableError as error:
        raise Refused(f"file: {error}", field="file") from None
    accounts: dict[str, TrackerAccount] = {}
    problems = []
    for line, cells in rows:
        if not 3 <= len(cells) <= _MOST_CELLS or not cells[0]:
            raise Refused(
                f"file: line {line}: {len(cells)} values: Program,username,password[,tags][,currency] is expected; the "
                "file is cut off, or is another one", field="file",
            )  # fmt: skip
        program, login = cells[0], cells[1]
        more = [cell for cell in cells[3:] if cell]
        currency = next((cell.upper() for cell in more if len(cell) == 3 and cell.isalpha() and cell == more[-1]), "")
        tags = [tag.strip() for cell in more if cell.upper() != currency for tag in cell.split("+") if tag.strip()]
        name = program if plain_name(program) not in {plain_name(a.name) for a in accounts.values()} else (
            f"{program} {login}")  # fmt: skip
        key = f"{plain_name(program)}:{login.casefold()}"
        if key in accounts:
            problems.append(Problem(kind="account", name=program, why=f"line {line} has the same login again"))
            continue
        accounts[key] = TrackerAccount(
            key=key, name=name, currency=currency, tags=tuple(tags),
            note="From StatsDrone, without its password: account edit gives it the login of its API.",
        )  # fmt: skip
    if rows and not raw.rstrip(b"\x00").endswith((b"\n", b"\r")):
        problems.append(unended(rows[-1][0]))
    return [Setup(accounts=tuple(accounts.values()), problems=tuple(problems))]


def _rows(raw: bytes, encoding: str) -> list[tuple[int, list[str]]]:
    """The lines with their numbers: a header of our own is put before them, for the file has none."""
    text = decode_text(raw, encoding)
    if not text.strip():
        raise TableError("it is empty")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    mark = max(",;\t", key=lines[0].count)
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        header = mark.join(f"column {n}" for n in range(1, _MOST_CELLS + 1))
        padded = read_table(f"{header}\n{line}{mark * (_MOST_CELLS - 1 - line.count(mark))}\n", _is_our_header)
        cells = list(padded.blocks[0].rows[0].cells)
        while cells and not cells[-1]:
            cells.pop()
        if number == 1 and plain_name(cells[0]) in {"program", "affiliateprogram"}:
            continue
        rows.append((number, cells))
    return rows


def _is_our_header(cells: object) -> bool:
    return isinstance(cells, list | tuple) and list(cells)[:1] == ["column 1"]

"""The rows of a report in the order asked for, and as many of them as asked for."""

import difflib
from collections.abc import Callable, Mapping
from fractions import Fraction

import msgspec

from storage.ledger.errors import Refused
from storage.ledger.reports.groups import PLAIN
from storage.ledger.reports.report_rows import LAYERED, Layers, MergedReport, ReportRow

Measure = Callable[[ReportRow], int | Fraction | None]

_LAYERS = Layers.__struct_fields__


def _ratio(part: str, whole: str) -> Measure:
    part_of, whole_of = measure(part), measure(whole)

    def read(row: ReportRow) -> Fraction | None:
        above, below = part_of(row), whole_of(row)
        return None if above is None or not below else Fraction(above) / below

    return read


#: What people call measures.
_SPOKEN = {
    "ftd": "first_deposits", "ftds": "first_deposits", "regs": "registrations", "reg": "registrations",
    "revenue": "commission", "cost": "spend", "costs": "spend", "registration": "registrations", "profits": "profit",
    "deposit": "deposits", "click": "clicks", "earnings": "commission",
}  # fmt: skip


def measure_named(word: str) -> str:
    """A measure's own name, of the word people have for it."""
    return _SPOKEN.get(word.lower(), word)


def measure(name: str) -> Measure:
    """How a measure is read off a row: of a layered one what is merged, or `registrations.platform`.

    Raises Refused at `sort` for a measure there is not.
    """
    name = measure_named(name)
    if name == "roi":  # empty while commission is pending
        return lambda row: None if row.commission is None else _ratio("profit", "spend")(row)
    if name in _RATIOS:
        return _ratio(*_RATIOS[name])
    if name in (*PLAIN, "profit"):
        return lambda row: getattr(row, name)
    plain, dot, layer = name.partition(".")
    if plain in LAYERED and (not dot or layer in _LAYERS):
        return lambda row: getattr(getattr(row, plain), layer or "merged")
    names = (*PLAIN, "profit", *LAYERED, *_RATIOS)
    near = tuple(difflib.get_close_matches(plain, [*names, *_SPOKEN], n=1))
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(names)}"
    raise Refused(f"sort: no measure {name!r}: {hint}", field="sort", word=name, near=near)


_RATIOS = {
    "cr": ("registrations", "clicks"), "reg2dep": ("first_deposits", "registrations"), "epc": ("commission", "clicks"),
    "ctr": ("outgoing", "site_visits"), "cpa": ("spend", "first_deposits"), "roi": ("profit", "spend"),
}  # fmt: skip


def check_sort(sort: str | None) -> None:
    """Raises Refused at `sort` for a measure there is not."""
    if not sort:
        return
    sign = "-" if sort.startswith("-") else ""
    try:
        measure(sort.removeprefix("-"))
    except Refused as fault:
        near = tuple(sign + name for name in fault.near)
        raise Refused(str(fault), field="sort", word=sort, near=near) from None


def arrange(
    report: MergedReport,
    *,
    sort: str | None = None,
    top: int | None = None,
    limit: int | None = None,
    after: str | None = None,
    pending_last: bool = False,
    own: Mapping[str, Measure] = {},
) -> MergedReport:
    """The report with its rows sorted (`-` for descending, what is not measured last) and cut; totals stay whole.

    `top` keeps the first rows, without `sort` those of the highest commission. `limit` keeps a page of them after the
    cursor `after`; `next` is the cursor that follows. `pending_last`: by profit, rows whose commission is pending come
    after those that are known, as people read them. `own`: columns by formula that it may be sorted by. Raises Refused
    at the field.
    """  # fmt: skip
    rows = _sorted(report.rows, sort or ("-commission" if top else None), own)
    if pending_last and sort and measure_named(sort.removeprefix("-")) == "profit":
        rows = sorted(rows, key=_is_pending)
    rows = rows if top is None else rows[:top]
    if limit is None and after is None:
        return msgspec.structs.replace(report, rows=rows)
    start = _start(after)
    end = len(rows) if limit is None else start + limit
    return msgspec.structs.replace(report, rows=rows[start:end], next=str(end) if end < len(rows) else None)


def _is_pending(row: ReportRow) -> bool:
    """Whether a row's commission is still to come, so that its profit is not known."""
    return row.commission is None and row.settlement != "settled"


def _sorted(rows: list[ReportRow], sort: str | None, own: Mapping[str, Measure]) -> list[ReportRow]:
    if not sort:
        return rows
    name, down = sort.removeprefix("-"), sort.startswith("-")
    read = own.get(name) or measure(name)
    valued = [row for row in rows if read(row) is not None]
    valued.sort(key=lambda row: read(row) or 0, reverse=down)
    return [*valued, *(row for row in rows if read(row) is None)]


def _start(after: str | None) -> int:
    if after is None:
        return 0
    if not (after.isascii() and after.isdecimal() and len(after) < 10):
        raise Refused(f"after: {after!r} is no cursor: give the 'next' of the page before", field="after")
    return int(after)

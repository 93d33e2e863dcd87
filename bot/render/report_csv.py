"""A merged report as CSV: every measure of both layers, amounts in whole units, empty where nothing is known."""

import asyncio
from collections.abc import Iterator, Sequence

from bot.core.message import File, Message, Table
from storage.ledger.money import units
from storage.ledger.reports.report_rows import LAYERED, Layers, MergedReport, ReportRow
from storage.ledger.tables import write_table

_TURN = 100  # rows written before other work has its turn
COUNTS = ("clicks", "unique_clicks", "bot_clicks", "site_visits", "outgoing", "visits")
MONEY = ("ngr", "commission", "commission_cpa", "commission_revshare", "commission_other", "spend", "profit")


async def report_file(report: MergedReport, by: Sequence[str], *, named: bool = False) -> File:
    """The report's rows and what no offer claims; a spreadsheet's sums over them are the totals.

    `named`: groups are named as people call them, not by code. Other work of the event loop runs in between.
    """
    groups = list(dict.fromkeys([*by, *(("account", "tag") if report.unassigned else ())]))
    own = tuple(report.totals.own) if isinstance(report.totals.own, dict) else ()
    layered = [f"{name}_{layer}" for name in LAYERED for layer in Layers.__struct_fields__]
    pieces = [write_table([[*groups, *COUNTS, *layered, *MONEY, *own, "currency", "settlement",
                           "allocated"]])]  # fmt: skip
    rows = [*report.rows, *report.unassigned]
    for start in range(0, len(rows), _TURN):
        pieces.append(write_table(_line(report, row, groups, named=named) for row in rows[start : start + _TURN]))
        await asyncio.sleep(0)
    return File(f"report-{report.from_}-{report.to}.csv", "".join(pieces))


def _line(report: MergedReport, row: ReportRow, groups: Sequence[str], *, named: bool) -> list[str]:
    names = report.names if named else {}
    codes = [(dimension, row.group.get(dimension) or "") for dimension in groups]
    labels = [names.get(dimension, {}).get(code, code) for dimension, code in codes]
    values = row.own.values() if isinstance(row.own, dict) else ()
    own = ("" if value is None else f"{value:.6f}" for value in values)
    return [*labels, *_figures(row), *own, report.currency, row.settlement, str(row.allocated).lower()]


def csv_of(message: Message) -> str | None:
    """The first file or table of a message as CSV; None if it has neither."""
    for block in message.blocks:
        if isinstance(block, File) and block.mime == "text/csv":
            return block.text
    for block in message.blocks:
        if isinstance(block, Table):
            return write_table([block.columns, *block.rows])
    return None


def _figures(row: ReportRow) -> Iterator[str]:
    for name in COUNTS:
        yield _count(getattr(row, name))
    for name in LAYERED:
        layers = getattr(row, name)
        for layer in Layers.__struct_fields__:
            value = getattr(layers, layer)
            yield _amount(value) if name == "deposit_amount" else _count(value)
    for name in MONEY:
        yield _amount(getattr(row, name))


def _count(value: int | None) -> str:
    return "" if value is None else str(value)


def _amount(micros: int | None) -> str:
    return "" if micros is None else f"{units(micros):f}"

"""A merged report as CSV: every measure of both layers, amounts in whole units, empty where nothing is known."""

import asyncio
import csv
import io
from collections.abc import Iterator, Sequence
from decimal import Decimal

from bot.core.message import File, Message, Table
from storage.ledger.reports.report_rows import Layers, MergedReport, ReportRow

_TURN = 100  # rows written before other work has its turn
COUNTS = ("clicks", "unique_clicks", "bot_clicks", "site_visits", "outgoing", "visits")
LAYERED = ("registrations", "first_deposits", "deposits", "qualified", "deposit_amount")
MONEY = ("ngr", "commission", "commission_cpa", "commission_revshare", "commission_other", "spend", "profit")


async def report_file(report: MergedReport, by: Sequence[str]) -> File:
    """The report's rows and what no offer claims; a spreadsheet's sums over them are the totals.

    Other work of the event loop runs in between.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    groups = list(dict.fromkeys([*by, *(("account", "tag") if report.unassigned else ())]))
    layered = [f"{name}_{layer}" for name in LAYERED for layer in Layers.__struct_fields__]
    writer.writerow([*groups, *COUNTS, *layered, *MONEY, "currency", "settlement", "allocated"])
    for number, row in enumerate((*report.rows, *report.unassigned)):
        if number % _TURN == _TURN - 1:
            await asyncio.sleep(0)
        labels = [safe_cell(row.group.get(name) or "") for name in groups]
        writer.writerow([*labels, *_figures(row), report.currency, row.settlement, str(row.allocated).lower()])
    return File(f"report-{report.from_}-{report.to}.csv", out.getvalue())


def csv_of(message: Message) -> str | None:
    """The first file or table of a message as CSV; None if it has neither."""
    for block in message.blocks:
        if isinstance(block, File) and block.mime == "text/csv":
            return block.content
    for block in message.blocks:
        if isinstance(block, Table):
            out = io.StringIO()
            csv.writer(out, lineterminator="\n").writerows(
                [block.columns, *([safe_cell(c) for c in r] for r in block.rows)]
            )
            return out.getvalue()
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
    return "" if micros is None else f"{Decimal(micros).scaleb(-6):f}"


def safe_cell(text: str) -> str:
    """A spreadsheet takes cells that start so for formulas; tags come from outside."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text

"""Figures uploaded as CSV, for platforms without an API: a preset of one that is known, or a mapping of one's own.

The file's own days are its window: what it does not say of them any more is withdrawn, like in any report.
Header words of NetRefer, EGO and Mexos were seen in working clients. PartnerMatrix, RavenTrack and Quintessence publish
no export: their presets know the words that programmes use, and the account's `columns` says others.
"""

from collections.abc import Mapping
from datetime import date
from typing import ClassVar

import msgspec

from connectors.base import Connection, Platform, Window
from connectors.columns import Columns
from connectors.http import Http
from connectors.reading import csv_of
from connectors.sheet import Sheet
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.facts import Report
from storage.ledger.tables import Table, plain_name

#: Header words that programmes use. `Deposits` alone is a count in some and money in others: it is taken as neither.
_IN_USE = Columns(
    day=("Date", "Day", "Activity Date", "Report Date"),
    tag=("Tracking Code", "Tracker", "Campaign", "Marketing Source", "Traffic Source", "Site", "Brand"),
    currency=("Currency",),
    measures={
        "visits": ("Clicks", "Visits", "Hits", "Unique Clicks", "Unique Visits"),
        "registrations": ("Registrations", "Signups", "Sign Ups", "New Registrations", "NRC"),
        "first_deposits": ("FTD", "FTDs", "First Time Deposits", "First Time Depositors", "First Deposits", "NDC"),
        "qualified": ("Qualified Players", "QFTD", "CPA Qualified", "CPA Count"),
        "deposits": ("Deposit Count", "Deposits Count", "Number of Deposits"),
        "deposit_amount": ("Deposit Amount", "Deposits Amount", "Total Deposits", "Deposit Value"),
        "ngr": ("NGR", "Net Gaming Revenue", "Net Revenue"),
        "commission_cpa": ("CPA Commission", "CPA Earnings", "CPA"),
        "commission_revshare": ("Revenue Share Commission", "RevShare Commission", "Revenue Share", "RevShare"),
        "commission": ("Total Commission", "Commission", "Total Earnings", "Earnings"),
    },
)
#: Presets that are platforms to people, by the name they may give as `platform`, and what they are called.
TITLES = {
    "ego": "EGO", "mexos": "Mexos", "partnermatrix": "PartnerMatrix", "raventrack": "RavenTrack",
    "quintessence": "Quintessence",
}  # fmt: skip

PRESETS: dict[str, Columns] = {
    "netrefer": Columns(
        day=("Date", "Day", "Month"), tag=("Marketing Source", "Campaign", "Tracker", "Brand"), currency=("Currency",),
        measures={
            "visits": ("Clicks", "Unique Clicks"), "registrations": ("Signups",),
            "first_deposits": ("First Time Depositing Customers", "NDC", "New Depositing Customers"),
            "deposit_amount": ("Deposits",), "ngr": ("Net Revenue",), "commission": ("Earnings", "Commission"),
        },
    ),
    "ego": Columns(
        day=("Date", "Day"), tag=("Website", "Campaign"), currency=("Currency",), day_order="dmy",
        measures={
            "visits": ("Clic",), "registrations": ("Sign.",), "first_deposits": ("First Qty Deposit",),
            "qualified": ("CPA BL",), "deposit_amount": ("Total Deposit",), "ngr": ("NGR",),
            "commission_cpa": ("Revenue CPA",), "commission": ("Earnings",),
        },
    ),
    "mexos": Columns(
        day=("Date",), tag=("Campaign", "Tracker", "Marketing Source"), currency=("Currency",),
        measures={
            "visits": ("Unique Clicks",), "registrations": ("Casino Signups Cnt + Sport Signups Cnt",),
            "first_deposits": ("Casino RFD Cnt + Sport RFD Cnt",), "deposits": ("Deposit Cnt",),
            "ngr": ("Net Gaming After Deduction",), "commission": ("Commission",),
        },
    ),
    "partnermatrix": _IN_USE,
    "raventrack": msgspec.structs.replace(_IN_USE, sub=("s1",)),
    "quintessence": msgspec.structs.replace(_IN_USE, sub=("anid",)),
    "custom": Columns(
        day=("day", "date"), tag=("tag", "campaign"), currency=("currency",), measures={
            name: (name, name.replace("_", " ")) for name in Columns.measure_names()
        },
    ),
}  # fmt: skip


class CsvUpload(Platform):
    name = "csv_upload"
    title = "CSV upload"
    has_api = False
    needs_base_url = False
    tag_from = ("", "*")
    click_id_from = ("", "*")
    rows = "detail"
    settings: ClassVar[Mapping[str, str]] = {
        "preset": f"{', '.join(PRESETS)} (default)",
        "columns": "measure, day, tag, sub or currency -> the file's column for it",
        "day_order": "how 01/02/2026 is meant where no line decides it: mdy (default) or dmy",
        "encoding": "encoding of the files, where they are not UTF-8: windows-1252, windows-1251 …",
        "lines": "`detail` (default): lines alike are summed, such as one per player; `grouped`: a repeat is refused",
    }

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        raise ConnectorError("this account has no API: upload its figures with `sync upload`", permanent=True)

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        sheet, table = self._opened(raw, connection, window)
        return sheet.report(totals=sheet.add_table(table))

    def read_upload(self, raw: bytes, connection: Connection, today: date = date.max) -> Report:
        """The report in a file, over the days it speaks of.

        Raises ConnectorError for a file without a line, and for a day after `today`.
        """
        sheet, table = self._opened(raw, connection, Window(first=date.min, last=date.max))
        sheet.latest = today
        totals = sheet.add_table(table)
        days = sheet.days
        if not days:
            raise ConnectorError("the file has a header and no line of figures", raw=raw)
        sheet.window = Window(first=min(days), last=max(days))
        return sheet.report(totals=totals)

    def columns(self, connection: Connection) -> Columns:
        name = str(connection.option("preset", "custom")).lower()
        if name not in PRESETS:
            raise Refused(f"options: no preset {name!r}: there is {', '.join(PRESETS)}", field="options")
        preset = PRESETS[name]
        order = str(connection.option("day_order", preset.day_order)).lower()
        if order not in {"", "dmy", "mdy"}:
            raise Refused(f"options: day_order is dmy or mdy, not {order!r}", field="options")
        tag, sub = self.tag_column(connection), self.sub_column(connection)
        return msgspec.structs.replace(
            preset,
            day_order=order,
            tag=(tag,) if tag else preset.tag,
            sub=(sub,) if sub else (*preset.sub, "sub", "click_id"),
        )

    def _opened(self, raw: bytes, connection: Connection, window: Window) -> tuple[Sheet, Table]:
        """A sheet for the file, and its table; a file may have no column for the segment."""
        columns = self.columns(connection)
        whole = columns.over(connection.options)
        table = csv_of(raw, connection, header=whole.day, columns=whole)
        names = {plain_name(name) for block in table.blocks for name in block.names}
        if not any(plain_name(name) in names for name in whole.tag):
            columns = msgspec.structs.replace(columns, tag=())
        return Sheet(self, connection, window, raw, columns), table


PLATFORM = CsvUpload()

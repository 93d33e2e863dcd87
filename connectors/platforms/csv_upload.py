"""Figures uploaded as CSV, for platforms without an API: presets for NetRefer, EGO, Mexos, or a mapping of one's own.

The file's own days are its window: what it does not say of them any more is withdrawn, like in any report.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from connectors.base import Connection, Platform, Window
from connectors.columns import Columns
from connectors.http import Http
from connectors.reading import Record, csv_of, plain_name
from connectors.sheet import Sheet
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.facts import Report
from storage.ledger.numbers import day as read_day

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
    "custom": Columns(
        day=("day", "date"), tag=("tag", "campaign"), currency=("currency",), measures={
            name: (name, name.replace("_", " ")) for name in Columns.known()
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
    settings: ClassVar[Mapping[str, str]] = {
        "preset": f"{', '.join(PRESETS)} (default)",
        "columns": "measure, day, tag, sub or currency -> the file's column for it",
        "day_order": "how 01/02/2026 is meant: mdy (default) or dmy",
    }

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        raise ConnectorError("this account has no API: upload its figures with `sync upload`", permanent=True)

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        sheet = Sheet(self._columns(connection), connection, window, raw)
        for record in self._records(raw, sheet.columns, connection):
            sheet.add(record, {} if self._has_tag(record, sheet.columns) else {"tag": ""})
        return sheet.report()

    def window(self, raw: bytes, connection: Connection) -> Window:
        """The days a file speaks of. Raises ConnectorError for a file without a line."""
        columns = self._columns(connection).over(connection)
        wanted = {plain_name(name) for name in columns.day}
        days = []
        for record in self._records(raw, columns, connection):
            text = next((value for name, value in record.items() if plain_name(name) in wanted), "")
            try:
                days.append(read_day(text, columns.day_order))
            except ValueError as error:
                raise ConnectorError(f"the file cannot be read: {error}", raw=raw) from None
        if not days:
            raise ConnectorError("the file has a header and no line of figures", raw=raw)
        return Window(first=min(days), last=max(days))

    def _columns(self, connection: Connection) -> Columns:
        name = str(connection.option("preset", "custom")).lower()
        if name not in PRESETS:
            raise Refused(f"options: no preset {name!r}: there is {', '.join(PRESETS)}", field="options")
        found = PRESETS[name]
        order = str(connection.option("day_order", found.day_order))
        tag, sub = self.tag_column(connection), self.sub_column(connection)
        return msgspec.structs.replace(
            found, day_order=order, tag=(tag,) if tag else found.tag, sub=(sub,) if sub else ("sub", "click_id")
        )

    def _records(self, raw: bytes, columns: Columns, connection: Connection) -> list[Record]:
        return csv_of(raw, connection, header=columns.over(connection).day)[0]

    def _has_tag(self, record: Record, columns: Columns) -> bool:
        known = {plain_name(name) for name in record}
        return any(plain_name(name) in known for name in columns.tag)


PLATFORM = CsvUpload()

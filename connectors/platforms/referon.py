"""ReferOn: a preset's API link copied from the panel, which holds its token and the two dates.

In the panel: Reports → General, groups Brand and Media item, split by day, a custom date range, Create preset, API
availability on, Copy link. The format of the answer is not documented: JSON and CSV are both read, columns by name.
"""

from collections.abc import Mapping
from typing import ClassVar

from connectors import pasted
from connectors.base import Connection, Platform, Window
from connectors.columns import Columns
from connectors.http import Http
from connectors.platforms.windows import last_requested_day
from connectors.reading import ask, sound
from connectors.records import add_answer
from connectors.sheet import Sheet
from storage.ledger.facts import Report

MEASURES = {
    "visits": ("clicks", "visits", "unique clicks"),
    "registrations": ("registrations", "signups", "registrations count"),
    "first_deposits": ("ftd", "ftds", "ftd count", "first deposits", "first deposits count"),
    "deposits": ("deposits count", "deposit count"),
    "qualified": ("qftd", "cpa count", "qualified players"),
    "deposit_amount": ("deposits", "deposits sum", "deposit amount", "total deposits"),
    "ngr": ("ngr", "net revenue", "net gaming revenue"),
    "commission_cpa": ("cpa commission", "commission cpa", "cpa income", "cpa"),
    "commission_revshare": ("revshare commission", "commission revshare", "rs commission", "revenue share"),
    "commission": ("commission", "total commission", "income", "reward", "total reward"),
}


class ReferOn(Platform):
    name = "referon"
    title = "ReferOn"
    needs_base_url = False
    takes_report_url = True
    url_dates = ("from", "to")
    tag_from = ("media item", "brand", "campaign", "*")
    click_id_from = ("", "*")
    settings: ClassVar[Mapping[str, str]] = {
        "to_is_exclusive": "whether the report's `to` is left out; by default a day more is asked for",
    }

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        dates = {"from": window.first, "to": last_requested_day(connection, window)}
        url = pasted.redated(connection.report_url or "", dates)
        answer = await ask(http, connection, "GET", url, per_second=self.requests_per_second)
        return await self.read_whole(sound(answer, connection), connection, window)

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        sheet = Sheet(self, connection, window, raw)
        totals = add_answer(sheet, raw, header=sheet.columns.day)
        return sheet.report(totals=totals)

    def columns(self, connection: Connection) -> Columns:
        tag, sub = self.tag_column(connection), self.sub_column(connection)
        return Columns(
            measures=MEASURES,
            day=("date", "day", "period"),
            tag=(tag, f"{tag} name", f"{tag} id"),
            sub=(sub,) if sub else (),
            part=("brand",) if tag != "brand" else (),
            currency=("currency",),
        )


PLATFORM = ReferOn()

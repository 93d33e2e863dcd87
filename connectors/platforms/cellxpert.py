"""Cellxpert: `?command=` on the programme's tracking host, with affiliate id and key in headers.

Errors are plain text with status 200, an empty body is no data. At most 31 days a request, none in the future. The
media report knows no sub ids: where `click_ids` is on, commissions (per player, with afp) are set apart by click id
and the rest of each day stays without one, so that the sum is the media report's.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from connectors.base import Connection, Platform, PostbackWords, Window
from connectors.columns import Columns, PlayerColumns, added
from connectors.http import Http
from connectors.pages import Page, bundle, unbundle
from connectors.players import player_report
from connectors.reading import Record, ask, decoded, sound
from connectors.records import add_answer, records_of
from connectors.sheet import Sheet
from connectors.urls import joined
from storage.ledger.dates import read_day
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Figures, PlayerReport, Report, RevenueRow
from storage.ledger.numbers import read_micro

COLUMNS = Columns(
    day=("Day", "Date"),
    tag=("Tracking_Code", "TrackingCode"),
    part=("Brand",),
    currency=("Currency",),
    measures={
        "visits": ("Visitors", "Unique_Visitors"),
        "registrations": ("Registrations", "Leads"),
        "first_deposits": ("FTD",),
        "qualified": ("QFTD",),
        "deposits": ("Deposit_Count",),
        "deposit_amount": ("Deposits",),
        "ngr": ("Net_PL",),
        "commission": ("Commission",),
    },
)
PLAYERS = PlayerColumns(
    player=("User_ID", "TraderId"),
    registered=("Registration_Date",),
    tag=("Tracking_Code",),
    sub=("sub",),
    country=("Country",),
    currency=("Currency",),
    deposits=("Deposit_Count",),
    deposit_amount=("Deposits",),
    ngr=("Net_PL",),
    commission=("Commission",),
)
_REFUSED = ("bad authentication", "ip not authorized", "not authorized", "bad command")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    affiliate_id: Annotated[str, msgspec.Meta(description="affiliate id")]
    api_key: Annotated[str, msgspec.Meta(description="API key; our address must be on its allow list")]


class Cellxpert(Platform):
    name = "cellxpert"
    title = "Cellxpert"
    credentials = Credentials
    every_measure = True
    tag_from = ("Tracking_Code", "Brand", "*")
    click_id_from = ("afp1", "afp", *(f"afp{n}" for n in range(2, 16)))
    max_days = 31
    player_columns = PLAYERS
    settings: ClassVar[Mapping[str, str]] = {
        "path": "path of the API, /api/ by default",
        "columns": "measure -> the report's column for it",
        "players": "true: ask for players too (registrations; one more request), for cohorts",
        "click_ids": "true: set commissions apart by the click id in afp (one more request)",
    }
    words = PostbackWords()

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        breakdown = [("Day", "1"), ("DateFormat", "day"), ("TrackingCode", "1"), ("Brand", "1")]
        pages = [Page("report", await self._ask(http, connection, window, "mediareport", breakdown))]
        if connection.option("click_ids", False):
            pages.append(Page("commissions", await self._ask(http, connection, window, "commissions", [])))
        return await self.read_whole(bundle(pages), connection, window)

    async def fetch_players(self, http: Http, connection: Connection, window: Window) -> PlayerReport:
        """Players who changed in the window, each with all that they have done."""
        more = [("daterange", "update"), ("json", "1")]
        body = await self._ask(http, connection, window, "registrations", more)
        sub = self.sub_column(connection)
        records = [
            record | {"sub": afp(str(record.get("afp") or ""), sub)}
            for record in (records_of(body, connection, header=("User_ID",), columns=COLUMNS) if body.strip() else [])
        ]
        return player_report([(0, record) for record in records], connection, PLAYERS, window=window, raw=body)

    async def _ask(
        self, http: Http, connection: Connection, window: Window, command: str, more: list[tuple[str, str]]
    ) -> bytes:
        url = joined(connection.base_url, str(connection.option("path", "/api/")))
        dates = [("fromdate", window.first.isoformat()), ("todate", window.last.isoformat())]
        login = connection.credentials
        headers = {"affiliateid": login.get("affiliate_id", ""), "x-api-key": login.get("api_key", "")}
        params = [("command", command), *dates, *more]
        answer = await ask(
            http, connection, "GET", url, headers=headers, params=params, per_second=self.requests_per_second
        )
        return _refused(sound(answer, connection))

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        pages = {page.name: page.body for page in unbundle(raw)}
        sheet = Sheet(self, connection, window, raw)
        report, totals = _refused(pages["report"]), None
        if report.strip():
            totals = add_answer(sheet, report, header=("Day",))
        if "commissions" in pages:
            _set_apart(sheet, _records(pages["commissions"], sheet), self.sub_column(connection))
        return sheet.report(totals=totals)

    def columns(self, connection: Connection) -> Columns:
        tag = self.tag_column(connection)
        return COLUMNS if tag == "Tracking_Code" else msgspec.structs.replace(COLUMNS, tag=(tag,))


def _records(body: bytes, sheet: Sheet) -> list[Record]:
    body = _refused(body)
    return records_of(body, sheet.connection, header=("Day",), columns=sheet.columns) if body.strip() else []


def _refused(body: bytes) -> bytes:
    """The body, unless it is one of the plain-text errors."""
    start = decoded(body[:200]).strip()
    if start.lower().startswith(_REFUSED):
        hint = ": have our address put on the allow list" if "authorized" in start.lower() else ""
        raise ConnectorError(f"the platform says {start[:100]!r}{hint}", permanent=True, raw=body)
    return body


def _set_apart(sheet: Sheet, commissions: list[Record], sub_name: str) -> None:
    """Commissions with a click id as rows of their own, taken off the day's row so that the sum stays."""
    for record in commissions:
        when = read_day(str(record.get("created", "")))
        sub = afp(str(record.get("afp") or ""), sub_name)
        amount = read_micro(record.get("Commission"), own=sheet.connection.currency)[0]
        tag = str(record.get("TrackingCode") or record.get("Tracking_Code") or "")
        rest = next((k for k, row in sheet.rows.items() if row.day == when and row.tag == tag and not row.sub), None)
        if not sub or amount is None or rest is None:
            continue
        row = sheet.rows[rest]
        sheet.rows[rest] = msgspec.structs.replace(row, figures=added(row.figures, Figures(commission_other=-amount)))
        kind = "commission_cpa" if "cpa" in str(record.get("CommissionType", "")).lower() else "commission_revshare"
        player_row = RevenueRow(
            day=when, tag=tag, currency=row.currency, sub=sub, part=row.part, figures=Figures(**{kind: amount})
        )
        key = (when, tag.lower(), sub, row.part, row.currency)
        before = sheet.rows.get(key)
        figures = player_row.figures if before is None else added(before.figures, player_row.figures)
        sheet.rows[key] = msgspec.structs.replace(player_row, figures=figures)


def afp(text: str, name: str) -> str:
    """A value out of `|afp1:CLICK|afp10:source`; `afp` alone is the whole text."""
    if name == "afp":
        return text
    parts = (part.partition(":") for part in text.split("|"))
    return next((value for key, _, value in parts if key == name), "")


PLATFORM = Cellxpert()

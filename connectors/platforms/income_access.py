"""Income Access (Paysafe): Betano, William Hill, 10bet, Rush … `affreporting.asp` with a report name.

Two ways in: host and key (Reports → API Reports), or the URL made by the panel. Reports differ in their columns and are
read by name: those with a day column are asked for at once, those without one day by day. Text may stand before the
header; `rowid` 2 marks totals; AccountReport has one line per player. Dates are month first.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, ClassVar
from urllib.parse import quote

import msgspec

from connectors import pasted
from connectors.base import Connection, Platform, PostbackWords, Window
from connectors.columns import Columns, PlayerColumns
from connectors.http import Http
from connectors.pages import Page, bundle, unbundle
from connectors.players import player_report
from connectors.reading import Record, ask, csv_of, decoded, snippet, sound, xml_of
from connectors.records import xml_records
from connectors.sheet import TOTALS_LINE, Sheet
from connectors.urls import joined
from storage.ledger.dates import read_day
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import PlayerReport, PlayerRow, Report
from storage.ledger.tables import plain_name

DAY = ("period", "date", "day", "statdate")
COLUMNS = Columns(
    day=DAY,
    tag=("siteid", "site id"),
    tag_name=("sitename",),
    day_order="mdy",
    part=("merchantname", "bannerid", "playerid"),
    currency=("currencysymbol", "currency"),
    measures={
        "visits": ("clicks",),
        "registrations": ("registered", "downloads", "registrations"),
        "first_deposits": ("firstdepositcount", "first_deposit_made"),
        "qualified": ("cpacommissioncount",),
        "deposit_amount": ("Deposits",),
        "ngr": ("Netrevenue",),
        "commission_cpa": ("CPACommission", "totalcpacommission"),
        "commission_revshare": ("%Commission", "Commission", "revsharecommission"),
        "commission": ("totalcommission",),
    },
)
PLAYERS = PlayerColumns(
    player=("playerid",),
    registered=("registrationdate",),
    ftd_day=("firstdeposit",),
    tag=("siteid", "site id"),
    sub=("acid", "c"),
    currency=("currencysymbol", "currency"),
    day_order="mdy",
    deposit_amount=("Deposits",),
    ngr=("Netrevenue",),
    commission=("totalcommission",),
)
#: Reports to try when none is named: the next one if a programme has switched one off.
REPORTS = ("Member Report - Detailed", "EarningsReport", "AccountReport")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    key: Annotated[str, msgspec.Meta(description="key (Reports → API Reports → URL tab → Generate key)")]


class IncomeAccess(Platform):
    name = "income_access"
    title = "Income Access"
    credentials = Credentials
    takes_report_url = True
    url_dates = ("reportstartdate", "reportenddate")
    tag_from = ("siteid", "bannerid", "sitename", "*")
    click_id_from = ("", "acid", "c", "*")
    requests_per_second = 2.0
    player_columns = PLAYERS
    settings: ClassVar[Mapping[str, str]] = {
        "report": f"report name; by default the first of {', '.join(REPORTS)} that is active",
        "players": "true: ask for players too (AccountReport, a request for each day), for cohorts",
        "merchant": "reportmerchantid, 0 (all) by default",
        "key_parameter": "`key` by default; one host takes `apipassword`",
        "columns": "measure -> the report's column for it",
    }
    words = PostbackWords()

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        named = connection.option("report", "")
        pages: list[Page] = []
        for report in (str(named),) if named else REPORTS:
            body = await self._ask(http, connection, report, window)
            if connection.report_url or named or "inactive report" not in decoded(body[:2000]).lower():
                break
        _refused(body, connection)
        if window.days == 1 or _empty(body) or _has_day(body, connection):
            pages.append(Page(_span(window), body))
        else:
            for chunk in window.chunks(1):
                pages.append(Page(_span(chunk), await self._ask(http, connection, report, chunk)))
        return await self.read_whole(_with_names(pages), connection, window)

    async def fetch_players(self, http: Http, connection: Connection, window: Window) -> PlayerReport:
        """What each player did on each day: AccountReport has a line per player, and no day."""
        rows: list[PlayerRow] = []
        for day in window.chunks(1):
            plain = msgspec.structs.replace(connection, report_url=None) if connection.credentials else connection
            body = await self._ask(http, plain, "AccountReport", day)
            _refused(body, connection)
            lines = [(line, record) for line, record in _lines(body, connection) if not _is_total(record, ("siteid",))]
            report = player_report(lines, connection, PLAYERS, window=day, raw=body, day=day.first)
            rows += report.rows
        return PlayerReport(first=window.first, last=window.last, rows=tuple(rows))

    async def _ask(self, http: Http, connection: Connection, report: str, window: Window) -> bytes:
        if connection.report_url:
            url = pasted.redated(connection.report_url, {"reportstartdate": window.first, "reportenddate": window.last})
        else:
            url = self._url(connection, report, window)
        return sound(await ask(http, connection, "GET", url, per_second=self.requests_per_second), connection)

    def _url(self, connection: Connection, report: str, window: Window) -> str:
        words = {
            str(connection.option("key_parameter", "key")): connection.credentials.get("key", ""),
            "reportname": report,
            "reportformat": "csv",
            "reportmerchantid": str(connection.option("merchant", "0")),
            "reportstartdate": f"{window.first:%Y/%m/%d}",
            "reportenddate": f"{window.last:%Y/%m/%d}",
            "reportdisplayby": "Site,Date",
        }
        query = "&".join(f"{name}={quote(value, safe='/,')}" for name, value in words.items())
        return joined(connection.base_url, f"/api/affreporting.asp?{query}")

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        sheet = Sheet(self, connection, window, raw)
        totals: list[Record] = []
        for page in unbundle(raw):
            _add_page(sheet, page.body, _day_of(page.name, window), totals)
        return sheet.report(totals=sheet.summed(totals))

    def columns(self, connection: Connection) -> Columns:
        tag, sub = self.tag_column(connection), self.sub_column(connection)
        own = COLUMNS if tag == "siteid" else msgspec.structs.replace(COLUMNS, tag=(tag,))
        return msgspec.structs.replace(own, sub=(sub,)) if sub else own


def _with_names(pages: list[Page]) -> bytes:
    """A lone page of several days needs no name; day by day, each page's name is its day."""
    return bundle(pages)


def _span(window: Window) -> str:
    return window.first.isoformat() if window.days == 1 else "report"


def _day_of(name: str, window: Window) -> date | None:
    if name != "report":
        return date.fromisoformat(name)
    return window.first if window.days == 1 else None


def _has_day(body: bytes, connection: Connection) -> bool:
    """Whether the report says the day of each line."""
    return any(_named(record, DAY) for _, record in _lines(body, connection)[:1])


def _named(record: Record, names: tuple[str, ...]) -> bool:
    record_names = {plain_name(name) for name in record}
    return any(plain_name(name) in record_names for name in names)


def _empty(body: bytes) -> bool:
    text = decoded(body).strip().lower()
    return not text or "no records" in text[:5000]


def _refused(body: bytes, connection: Connection) -> None:
    """Errors are texts with status 200."""
    start = decoded(body[:2000]).strip()
    lower = start.lower()
    faults = ("inactive report", "invalid key", "invalid password", "not authorized", "access denied", "ip address")
    if any(fault in lower for fault in faults):
        hint = "have the report and the key enabled by the affiliate manager, and our address allowed"
        raise ConnectorError(f"the platform says {snippet(body, connection)!r}: {hint}", permanent=True, raw=body)
    if "fault" in lower[:600] and "rowid" not in lower:
        raise ConnectorError(f"the platform has a fault: {snippet(body, connection)}", raw=body)


def _add_page(sheet: Sheet, body: bytes, day: date | None, totals: list[Record]) -> None:
    """Add the rows of one answer to a sheet and its totals rows to `totals`.

    Where its rows are numbered (`rowid`), a totals row is always among them, and each states their number.
    """
    rows, stated, before = 0, None, len(totals)
    for line, record in _lines(body, sheet.connection, sheet):
        sheet.line = line
        values = {plain_name(name): value for name, value in record.items()}
        if _is_total(record, sheet.columns.tag):
            totals.append(record)
            continue
        rows, stated = rows + 1, values.get("totalrecords")
        sheet.detail = sheet.detail or "playerid" in values
        sheet.add(_player(record, day), day=None if _named(record, DAY) else day)
    sheet.line = 0
    sheet.count(stated or None, rows, "totalrecords")
    if len(totals) > before:
        sheet.shape.append(TOTALS_LINE)
    elif stated is not None and sheet.connection.shape is None:
        sheet.always = (*sheet.always, TOTALS_LINE)


def _lines(body: bytes, connection: Connection, sheet: Sheet | None = None) -> list[tuple[int, Record]]:
    """The records of an answer with their lines; a sheet learns from whole columns how they are written."""
    _refused(body, connection)
    if _empty(body):
        return []
    if decoded(body[:200]).lstrip().startswith("<") and b"<html" not in body[:500].lower():
        return [(0, record) for record in xml_records(xml_of(body, connection))]
    columns = sheet.columns if sheet else COLUMNS
    table = csv_of(body, connection, header=("rowid", "siteid", "period"), columns=columns)
    if sheet:
        sheet.see_table(table)
    return [(line, dict(record)) for block in table.blocks for line, record in block.records()]


def _is_total(record: Record, tag: tuple[str, ...]) -> bool:
    """`rowid` 2, or without rowid a row that names no site."""
    values = {plain_name(name): str(value or "").strip() for name, value in record.items()}
    if "rowid" in values:
        return values["rowid"] != "1"
    tag_values = [values[plain_name(name)] for name in tag if plain_name(name) in values]
    return bool(tag_values) and not any(tag_values)


def _player(record: Record, day: date | None) -> Record:
    """A line per player tells registrations and first deposits by their dates: counted on that day."""
    values = {plain_name(name): value for name, value in record.items()}
    if day is None or "playerid" not in values:
        return record
    return record | {
        "registered": _on(values.get("registrationdate"), day),
        "first_deposit_made": _on(values.get("firstdeposit"), day),
    }


def _on(text: object, day: date) -> int:
    try:
        return int(read_day(text, "mdy") == day)
    except ValueError:
        return 0


PLATFORM = IncomeAccess()

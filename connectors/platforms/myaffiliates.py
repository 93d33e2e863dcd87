"""MyAffiliates: Betsson, Elite Casino, Betify … A CSV from statistics.php of the programme's own host.

Two ways in: an API client (Account → Authorisation: identifier and secret, exchanged for a token), or the report URL
from the panel. Headers differ by portal and language, and one file may hold several header blocks, one per customer
group. `Deposits` counts depositors in some portals and is money in others, so it is read only when `columns` says so.
"""

from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, ClassVar
from urllib.parse import urlencode

import msgspec

from connectors import pasted
from connectors.base import Connection, Platform, PostbackWords, Window
from connectors.columns import Columns
from connectors.http import Http
from connectors.reading import ask, csv_of, json_of, snippet, sound
from connectors.sheet import LINE_END, TOTALS_LINE, Sheet
from connectors.urls import joined
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report

DAY = ("Date", "Fecha", "Datum", "Data", "Дата", "Day")
COLUMNS = Columns(
    day=DAY,
    tag=("Campaign", "Campaña", "Kampagne", "Campagne", "Campanha", "Кампания"),
    part=("Channel", "Customer Group"),
    currency=("Currency",),
    measures={
        "visits": ("Clicks", "Clics", "Klicks", "Unique Clicks", "Hits"),
        "registrations": ("NRC", "Signups", "Registros", "Registrations"),
        "first_deposits": ("FTD", "FTD Count", "First Deposit Count", "NDC"),
        "qualified": ("Qualified NDCs", "Qualified Players"),
        "deposit_amount": ("Total Deposits", "Total Depósitos"),
        "ngr": ("Net revenue Total", "Total NGR", "Total Calculated NGR", "Net Revenue"),
        "commission_cpa": ("Income CPA",),
        "commission_revshare": ("Income Revshare",),
        "commission_cpl": ("Income CPL",),
        "commission": ("Income", "Ingresos", "Total Income"),
    },
)


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    client_id: Annotated[str, msgspec.Meta(description="client identifier (Account → Authorisation)")]
    client_secret: Annotated[str, msgspec.Meta(description="client secret, shown once when the client is made")]


class MyAffiliates(Platform):
    name = "myaffiliates"
    title = "MyAffiliates"
    credentials = Credentials
    takes_report_url = True
    url_dates = ("d1", "d2")
    tag_from = ("Campaign", "Channel", "*")
    always = (TOTALS_LINE, LINE_END)
    settings: ClassVar[Mapping[str, str]] = {
        "columns": 'measure -> the portal\'s column for it, e.g. {"deposit_amount": "Deposits"}',
        "path": "path and query of the report, /statistics.php?mode=csv&sbm=1&dnl=1&sd=1 by default",
        "login": "`token` (OAuth, the default) or `basic` (identifier and secret as HTTP Basic)",
    }
    words = PostbackWords()

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        headers = await self._login(http, connection)
        path = str(connection.option("path", "/statistics.php?mode=csv&sbm=1&dnl=1&sd=1"))
        plain = joined(connection.base_url, f"{path}&d1=2000-01-01&d2=2000-01-01")
        url = pasted.redated(connection.report_url or plain, {"d1": window.first, "d2": window.last})
        answer = await ask(http, connection, "GET", url, headers=headers, per_second=self.requests_per_second)
        return await self.read_whole(sound(answer, connection), connection, window)

    async def _login(self, http: Http, connection: Connection) -> dict[str, str]:
        """The header that lets us in; a pasted URL may need none."""
        client, secret = (connection.credentials.get(name, "") for name in ("client_id", "client_secret"))
        if not client:
            return {}
        if connection.option("login", "token") == "basic":
            return {"Authorization": "Basic " + b64encode(f"{client}:{secret}".encode()).decode()}
        base = connection.base_url or "/".join((connection.report_url or "").split("/")[:3])
        form = {
            "grant_type": "client_credentials",
            "client_id": client,
            "client_secret": secret,
            "scope": "r_user_stats",
        }
        answer = await ask(
            http, connection, "POST", base.rstrip("/") + "/oauth/access_token", body=urlencode(form),
            headers={"Content-Type": "application/x-www-form-urlencoded"}, per_second=self.requests_per_second,
        )  # fmt: skip
        if answer.status in {400, 401, 403}:
            excerpt = snippet(answer.body, connection)
            raise ConnectorError(f"the platform refused client_id and client_secret ({excerpt})", permanent=True)
        content = json_of(sound(answer, connection), connection)
        if not isinstance(content, dict) or not content.get("access_token"):
            raise ConnectorError("the platform gave no access token for client_id and client_secret", permanent=True)
        return {"Authorization": f"Bearer {content['access_token']}"}

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        sheet = Sheet(self, connection, window, raw)
        table = csv_of(raw, connection, header=DAY, columns=sheet.columns)
        totals = sheet.add_table(table)
        unclear = any("Deposits" in block.names for block in table.blocks) and "Deposits" not in str(connection.options)
        warnings = ["column 'Deposits' is a count in some portals and money in others: say which in `columns`"]
        return sheet.report(totals=totals, warnings=warnings if unclear else ())

    def columns(self, connection: Connection) -> Columns:
        tag = self.tag_column(connection)
        return COLUMNS if tag == "Campaign" else msgspec.structs.replace(COLUMNS, tag=(tag,))


PLATFORM = MyAffiliates()

"""NetRefer: Affiliate Standard Reporting 1.0, its Daily Activity Report (developer.netrefer.com/Affiliate-api/ASR).

Open where the operator has joined it: host, ids, logins and the report's code are handed out at onboarding. A token is
had by OAuth 2 (password grant); a request holds days of one month, both ends included. Only addresses and login are
documented: the names of the JSON's fields are not, so that those of the panel's own report are tried (inferred), and
`columns` says others. Without ASR the panel's CSV goes to an account of `csv_upload` with the preset `netrefer`.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, ClassVar
from urllib.parse import quote, urlencode

import msgspec

from connectors.base import Connection, Platform, Window
from connectors.columns import Columns, added
from connectors.http import Http
from connectors.pages import Page, bundle, unbundle
from connectors.platforms.csv_upload import PRESETS
from connectors.reading import ask, json_of, snippet, sound
from connectors.records import json_records, note_stated
from connectors.sheet import Sheet
from connectors.urls import joined
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.facts import Figures, Report
from storage.ledger.tables import plain_name

#: Where tokens are had, by the documentation's own example; another is the option `login_url`.
LOGIN_URL = "https://login.microsoftonline.com/0e0b50ac-5253-4347-b528-251b2f17cfc6/oauth2/v2.0/token"
COLUMNS = msgspec.structs.replace(
    PRESETS["netrefer"], day=("Date", "Day", "Activity Date"), sub=("var1",), day_order=""
)


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    affiliate_id: Annotated[str, msgspec.Meta(description="affiliate id")]
    client_id: Annotated[str, msgspec.Meta(description="client id, from onboarding to ASR")]
    client_secret: Annotated[str, msgspec.Meta(description="client secret, from onboarding to ASR")]
    username: Annotated[str, msgspec.Meta(description="user name, from onboarding to ASR")]
    password: Annotated[str, msgspec.Meta(description="password, from onboarding to ASR")]


class NetRefer(Platform):
    name = "netrefer"
    title = "NetRefer"
    credentials = Credentials
    tag_from = ("", "*")
    click_id_from = ("var1", "*")
    settings: ClassVar[Mapping[str, str]] = {
        "report": "report type code of the Daily Activity Report, from onboarding to ASR; without it nothing is asked",
        "version": "version number in the address, 1 by default",
        "login_url": "where tokens are had, the documented tenant of login.microsoftonline.com by default",
        "scope": "scope of the token, api://<client id>/Reports.Read by default",
        "columns": "measure, day, tag, sub or currency -> the report's field for it",
    }

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        url = _report_url(connection)
        token = await self._token(http, connection)
        pages = []
        for month in months_of(window):
            answer = await ask(
                http, connection, "GET", f"{url}/{month.first}/{month.last}",
                headers={"Authorization": f"Bearer {token}"}, per_second=self.requests_per_second,
            )  # fmt: skip
            pages.append(Page("report", sound(answer, connection)))
        return await self.read_whole(bundle(pages), connection, window)

    async def _token(self, http: Http, connection: Connection) -> str:
        login = {name: connection.credentials.get(name, "") for name in ("client_id", "client_secret")}
        login |= {name: connection.credentials.get(name, "") for name in ("username", "password")}
        scope = str(connection.option("scope", f"api://{login['client_id']}/Reports.Read"))
        answer = await ask(
            http, connection, "POST", str(connection.option("login_url", LOGIN_URL)),
            body=urlencode({"grant_type": "password", **login, "scope": scope}),
            headers={"Content-Type": "application/x-www-form-urlencoded"}, per_second=self.requests_per_second,
        )  # fmt: skip
        if answer.status in {400, 401, 403}:
            excerpt = snippet(answer.body, connection)
            of_client = "invalid_client" in excerpt or "unauthorized_client" in excerpt
            named, field = ("client_id and client_secret", "client_secret") if of_client else ("the login", "password")
            raise ConnectorError(f"the login page refused {named} ({excerpt})", permanent=True, field=field)
        content = json_of(sound(answer, connection), connection)
        token = content.get("access_token") if isinstance(content, dict) else None
        if not token or not isinstance(token, str):
            raise ConnectorError("the login page gave no access token", permanent=True, field="client_secret")
        return token

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        answers = [json_of(page.body, connection) for page in unbundle(raw)]
        tables = [json_records(content, page.body, connection)
                  for content, page in zip(answers, unbundle(raw), strict=True)]  # fmt: skip
        columns = self.columns(connection)
        named = {plain_name(name) for records in tables for record in records for name in record}
        if named and not any(plain_name(name) in named for name in columns.over(connection.options).tag):
            columns = msgspec.structs.replace(columns, tag=())
        sheet = Sheet(self, connection, window, raw, columns)
        counts = [sheet.add_all(records) for records in tables]
        stated = [note_stated(sheet, *answer) for answer in zip(answers, counts, strict=True)]
        return sheet.report(totals=_together(stated))

    def columns(self, connection: Connection) -> Columns:
        tag, sub = self.tag_column(connection), self.sub_column(connection)
        return msgspec.structs.replace(COLUMNS, tag=(tag,) if tag else COLUMNS.tag, sub=(sub,) if sub else ())


def months_of(window: Window) -> list[Window]:
    """The window in pieces of one month each."""
    pieces, first = [], window.first
    while first <= window.last:
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        last = min(window.last, following - timedelta(days=1))
        pieces.append(Window(first=first, last=last))
        first = following
    return pieces


def _report_url(connection: Connection) -> str:
    report = str(connection.option("report", ""))
    if not report:
        raise Refused(
            'options: NetRefer hands out the code of its daily report at onboarding: it lacks {"report": "…"}',
            field="options",
        )
    parts = (f"v{connection.option('version', '1')}", report, connection.credentials.get("affiliate_id", ""))
    return joined(connection.base_url, "/dpm/" + "/".join(quote(str(part), safe="") for part in parts))


def _together(stated: list[Figures | None]) -> Figures | None:
    """The sum of what every answer states; None where one of them states none."""
    together: Figures | None = None
    for figures in stated:
        if figures is None:
            return None
        together = figures if together is None else added(together, figures)
    return together


PLATFORM = NetRefer()

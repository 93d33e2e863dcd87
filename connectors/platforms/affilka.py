"""Affilka (SOFTSWISS): BitStarz, 7Bit, GoPartners, BC.Game … Each programme has its own host and its own API docs
under /partner/api_docs.

Two ways in: `base_url` and the statistic token, or the "export JSON" URL from the panel, which holds the token. Whether
`to` is included differs between programmes, so one day more is asked for and left out again; set the option
`to_is_exclusive` to ask exactly. The type words in cells and the currency inside a money object are inferred.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar

import msgspec

from connectors import pasted
from connectors.base import Connection, Platform, PostbackWords, Window
from connectors.columns import Columns
from connectors.http import Answer, Http
from connectors.pages import Page, bundle, unbundle
from connectors.platforms.windows import MAX_PAGES, ask_pages, last_requested_day
from connectors.reading import Record, ask, json_of, snippet, sound
from connectors.sheet import Sheet
from connectors.urls import joined
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report
from storage.ledger.money import units
from storage.ledger.numbers import read_count

REPORT = "/api/customer/v1/partner/report"
ASKED = (
    "visits_count", "registrations_count", "first_deposits_count", "deposits_count", "deposits_sum",
    "qualified_players_count", "ngr", "fixed_per_player", "partner_income",
)  # fmt: skip


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    token: Annotated[str, msgspec.Meta(description="statistic token from the panel (Profile → API)")]


class Affilka(Platform):
    name = "affilka"
    title = "Affilka"
    credentials = Credentials
    takes_report_url = True
    url_dates = ("from", "to")
    every_measure = True
    tag_from = ("campaign", "promo", "brand", "none")
    requests_per_second = 0.6  # clients space calls by 1.5 to 2 seconds; 429 is common
    settings: ClassVar[Mapping[str, str]] = {
        "path": f"path of the report, {REPORT} by default",
        "columns": "measure -> the platform's column for it, laid over the usual ones",
        "ask_columns": "columns to ask for; those not enabled for you must be left out (or enabled by your manager)",
        "list_style": '`brackets` (columns[]=a, the default) or `json` (columns=["a"])',
        "to_is_exclusive": "whether the report's `to` is left out; by default a day more is asked for",
        "conversion_currency": "have the platform convert all amounts to this currency",
        "requests_per_second": "requests a second, 0.6 by default",
    }
    words = PostbackWords()

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        async def page(number: int) -> tuple[bytes, bool]:
            body = sound(await self._ask_page(http, connection, window, number), connection)
            return body, number < _last_page(body, connection, number)

        pages = await ask_pages(page)
        names = await self._names(http, connection)
        if names is not None:
            pages.append(Page("names", names))
        return await self.read_whole(bundle(pages), connection, window)

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        pages = unbundle(raw)
        names = _names_of(next((page.body for page in pages if page.name == "names"), b""), connection)
        dimension = self.tag_column(connection)
        sheet = Sheet(self, connection, window, raw)
        reports = [page.body for page in pages if page.name == "report"]
        for body in reports:
            content = _content(body, connection)
            for cells in content["rows"]["data"]:
                for record in _records(cells, raw):
                    self._add(sheet, record, dimension, names)
        stated = _totals(content, raw)
        totals = sheet.note_totals(*stated)
        one_currency = len(stated) == 1 and len({row.currency for row in sheet.rows.values()}) < 2
        return sheet.report(totals=totals if len(reports) == 1 and one_currency else None)

    def columns(self, connection: Connection) -> Columns:
        return _columns(self.tag_column(connection), self.sub_column(connection))

    def _add(self, sheet: Sheet, record: Record, dimension: str, names: dict[str, str]) -> None:
        fixed = {"currency": str(record.pop("", ""))}
        number = record.get(f"{dimension}_id")
        if number is not None:
            fixed["tag_name"] = names.get(str(number)) or str(record.get(f"{dimension}_name") or "")
        sheet.add(record, fixed)

    async def _ask_page(self, http: Http, connection: Connection, window: Window, page: int) -> Answer:
        until = last_requested_day(connection, window)
        if connection.report_url:
            url = pasted.redated(connection.report_url, {"from": window.first, "to": until})
            url = pasted.paged(url, "page", page) if page > 1 else url
            return await ask(http, connection, "GET", url, per_second=self.requests_per_second)
        path = str(connection.option("path", REPORT))
        params = [("async", "false"), ("from", window.first.isoformat()), ("to", until.isoformat())]
        params += _repeated(connection, "columns", connection.option("ask_columns", ASKED))
        params += _repeated(connection, "group_by", self._groups(connection))
        params += _converted(connection)
        if page > 1:
            params.append(("page", str(page)))
        return await self._with_token(http, connection, path, params)

    def _groups(self, connection: Connection) -> list[str]:
        groups = ["day", self.tag_column(connection), self.sub_column(connection)]
        return [group for group in groups if group and group != "none"]

    async def _with_token(self, http: Http, connection: Connection, path: str, params: list[tuple[str, str]]) -> Answer:
        """The token goes as it is; some programmes want `Bearer` before it and refuse otherwise."""
        url = joined(connection.base_url, path)
        token = connection.credentials.get("token", "")
        for written in (token, f"Bearer {token}"):
            headers = {"Authorization": written, "Accept": "application/json"}
            answer = await ask(
                http, connection, "GET", url, headers=headers, params=params, per_second=self.requests_per_second
            )
            if answer.status not in {401, 403}:
                break
        return answer

    async def _names(self, http: Http, connection: Connection) -> bytes | None:
        """What the panel calls the campaigns or promos; None if it does not tell now: names known before stand."""
        what = {"campaign": "campaigns", "promo": "promos"}.get(self.tag_column(connection))
        path = str(connection.option("path", REPORT))
        if connection.report_url or what is None or not path.endswith("/report"):
            return None
        try:
            return await self._listed(http, connection, path.removesuffix("report") + what)
        except ConnectorError:
            return None

    async def _listed(self, http: Http, connection: Connection, path: str) -> bytes:
        """Every item of a paged list, as one."""
        items: list[Any] = []
        for page in range(1, MAX_PAGES + 1):
            params = [("page", str(page))] if page > 1 else []
            answer = await self._with_token(http, connection, path, params)
            content = json_of(sound(answer, connection), connection)
            items += _items(content)
            if not isinstance(content, dict) or page >= (read_count(content.get("total_pages")) or 1):
                break
        return msgspec.json.encode(items)


def _columns(dimension: str, sub: str) -> Columns:
    tag = (f"{dimension}_id", dimension, f"{dimension}_name") if dimension != "none" else ()
    return Columns(
        day=("day", "date"),
        tag=tag,
        tag_name=(f"{dimension}_name",),
        sub=(sub, f"tag_{sub}") if sub else (),
        measures={
            "visits": ("visits_count",),
            "registrations": ("registrations_count",),
            "first_deposits": ("first_deposits_count", "ftd_count"),
            "deposits": ("deposits_count",),
            "qualified": ("qualified_players_count",),
            "deposit_amount": ("deposits_sum",),
            "ngr": ("ngr", "casino_ngr", "clean_net_revenue"),
            "commission_cpa": ("fixed_per_player",),
            "commission": ("partner_income",),
        },
    )


def _content(body: bytes, connection: Connection) -> dict[str, Any]:
    """The answer's object with its rows. Raises ConnectorError for an error sent with status 200."""
    content = json_of(body, connection)
    rows = content.get("rows") if isinstance(content, dict) else None
    if isinstance(rows, dict) and isinstance(rows.get("data"), list):
        return dict(content)
    excerpt = snippet(body, connection)
    denied = any(word in excerpt.lower() for word in ("token", "unauthori", "forbidden", "access denied"))
    raise ConnectorError(f"the platform sent no report: expected rows.data, got {excerpt}", permanent=denied, raw=body)


class _Rows(msgspec.Struct):
    data: msgspec.Raw


class _Paging(msgspec.Struct):
    """What paging needs of an answer; its rows are left unread."""

    rows: _Rows
    current_page: int | None = None
    total_pages: int | None = None


_PAGING = msgspec.json.Decoder(_Paging)


def _last_page(body: bytes, connection: Connection, page: int) -> int:
    try:
        paging = _PAGING.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        content = _content(body, connection)  # says what is wrong, if anything is
        numbers = [read_count(content.get(name)) for name in ("current_page", "total_pages")]
        paging = _Paging(_Rows(msgspec.Raw(b"[]")), *numbers)
    if paging.current_page is not None and paging.current_page != page:
        raise ConnectorError(f"the platform sent page {paging.current_page} when asked for page {page}", raw=body)
    return paging.total_pages or 1


def _records(cells: Any, raw: bytes) -> list[Record]:
    """A row of cells as records, one per currency; under the empty name stands the currency."""
    plain: Record = {}
    money: dict[str, Record] = {}
    for cell in cells if isinstance(cells, list) else [None]:
        if not isinstance(cell, dict) or "name" not in cell:
            raise ConnectorError("the report has a row that is not made of named cells", raw=raw)
        name, value = str(cell["name"]), cell.get("value")
        if isinstance(value, dict) and ("amount" in value or "amount_cents" in value):
            money.setdefault(str(value.get("currency") or ""), {})[name] = _amount(value)
        elif isinstance(value, dict):
            plain |= {f"{name}_{part}": inner for part, inner in value.items()}
        else:
            plain[name] = value
    if len(money) < 2:
        return [{"": next(iter(money), "")} | plain | next(iter(money.values()), {})]
    dimensions = {name: value for name, value in plain.items() if not name.endswith("_count")}
    main = next((c for c, amounts in money.items() if "partner_income" in amounts), next(iter(money)))
    return [{"": c} | (plain if c == main else dimensions) | amounts for c, amounts in money.items()]


def _amount(value: dict[str, Any]) -> Decimal | Any:
    """Cents where they are a whole number, else the amount as written."""
    cents = value.get("amount_cents")
    return units(cents * 10_000) if isinstance(cents, int) else value.get("amount")


def _totals(content: dict[str, Any], raw: bytes) -> list[Record]:
    """The report's own totals, one for each currency; of several pages or currencies it is not said what they sum."""
    rows = (content.get("totals") or {}).get("data")
    return _records(rows[0], raw) if isinstance(rows, list) and len(rows) == 1 else []


def _repeated(connection: Connection, name: str, values: Any) -> list[tuple[str, str]]:
    words = [part.strip() for part in values.split(",")] if isinstance(values, str) else [str(v) for v in values]
    if connection.option("list_style", "brackets") == "json":
        return [(name, msgspec.json.encode(words).decode())]
    return [(f"{name}[]", word) for word in words]


def _converted(connection: Connection) -> list[tuple[str, str]]:
    currency = connection.option("conversion_currency", "")
    return [("conversion_currency", str(currency)), ("convert_all_currencies", "1")] if currency else []


def _items(content: Any) -> list[Any]:
    items = content.get("items", content.get("data", [])) if isinstance(content, dict) else content
    return items if isinstance(items, list) else []


def _names_of(body: bytes, connection: Connection) -> dict[str, str]:
    items = _items(json_of(body, connection)) if body else []
    return {str(i["id"]): str(i.get("name") or "") for i in items if isinstance(i, dict) and "id" in i}


PLATFORM = Affilka()

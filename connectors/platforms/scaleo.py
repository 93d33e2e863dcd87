"""Scaleo: the affiliate's statistics report on the tracking domain (not the panel's), key in the query.

`breakdown` by day, offer and the parameter our click id comes back in; the rows carry their figures in `statistics`.
How several breakdowns are joined is inferred: a comma list, changeable as `breakdown`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from connectors.base import Connection, Platform, PostbackWords, Window
from connectors.columns import Columns
from connectors.http import Http
from connectors.pages import bundle, unbundle
from connectors.platforms.networks import SETTING, with_conversions
from connectors.platforms.windows import ask_pages
from connectors.reading import Record, ask, json_of, snippet, sound
from connectors.sheet import Sheet
from connectors.urls import joined
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report

PER_PAGE = 1000


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    api_key: Annotated[str, msgspec.Meta(description="API key of the affiliate")]


class Scaleo(Platform):
    name = "scaleo"
    title = "Scaleo"
    credentials = Credentials
    every_measure = True
    tag_from = ("offer_id", "offer", "*")
    click_id_from = ("aff_param1", *(f"aff_param{n}" for n in range(2, 6)), "sub_id1", "*")
    requests_per_second = 2.0
    settings: ClassVar[Mapping[str, str]] = SETTING | {
        "breakdown": "breakdowns to ask for, `day,offer,` and the click id's by default",
        "columns": "measure -> the report's column for it",
    }
    words = PostbackWords(macros={"click_id": "{aff_param1}"})

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        async def page(number: int) -> tuple[bytes, bool]:
            body = await self._ask(http, connection, window, number)
            return body, len(_rows(body, connection)) == PER_PAGE

        return await self.read_whole(bundle(await ask_pages(page)), connection, window)

    async def _ask(self, http: Http, connection: Connection, window: Window, number: int) -> bytes:
        breakdown = connection.option(
            "breakdown", ",".join(filter(None, ("day", "offer", self.sub_column(connection))))
        )
        body = msgspec.json.encode({
            "rangeFrom": window.first.isoformat(), "rangeTo": window.last.isoformat(), "breakdown": breakdown,
            "columns": "clicks,unique_clicks,conversions,revenue", "page": number, "perPage": PER_PAGE, "lang": "en",
        })  # fmt: skip
        url = joined(connection.base_url, "/api/v2/affiliate/reports/statistics")
        answer = await ask(
            http, connection, "POST", url, params=[("api-key", connection.credentials.get("api_key", ""))],
            headers={"Content-Type": "application/json"}, body=body, per_second=self.requests_per_second,
        )  # fmt: skip
        return sound(answer, connection)

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        sheet = Sheet(self, connection, window, raw)
        pages = unbundle(raw)
        for page in pages:
            sheet.add_all(_record(row) for row in _rows(page.body, connection))
        totals = sheet.note_totals(_totals(pages[-1].body, connection))
        return sheet.report(totals=totals if len(pages) == 1 else None)

    def columns(self, connection: Connection) -> Columns:
        tag, sub = self.tag_column(connection), self.sub_column(connection)
        measures = {"visits": ("clicks", "unique_clicks"), "commission": ("revenue", "payout")}
        return Columns(
            measures=with_conversions(connection, measures, "conversions"), day=("day", "date"), tag=(tag, "offer_id"),
            tag_name=("offer_name", "offer"), sub=(sub,) if sub else (), currency=("currency",),
        )  # fmt: skip


def _rows(body: bytes, connection: Connection) -> list[dict[str, Any]]:
    content = json_of(body, connection)
    status = content.get("status") if isinstance(content, dict) else None
    rows = (content.get("info") or {}).get("rows") if status == "success" else None
    if isinstance(rows, list):
        return rows
    excerpt = snippet(body, connection)
    denied = isinstance(content, dict) and content.get("code") in (401, 403)
    raise ConnectorError(f"the platform sent no report: {excerpt}", permanent=denied, raw=body)


def _totals(body: bytes, connection: Connection) -> Record:
    """The totals that an answer states; of several pages it is not said what they sum."""
    totals = json_of(body, connection)["info"].get("totals")
    return _record(totals) if isinstance(totals, dict) else {}


def _record(row: dict[str, Any]) -> Record:
    figures = row.get("statistics")
    plain = {name: value for name, value in row.items() if not isinstance(value, dict)}
    nested = {f"{n}_{part}": v for n, value in row.items() if isinstance(value, dict) for part, v in value.items()}
    return plain | nested | (figures if isinstance(figures, dict) else {})


PLATFORM = Scaleo()

"""Affise: `/3.0/stats/custom` in slices of day, offer and the sub our click id comes back in (api.affise.com/docs3.2).

Status 1 is fine, 2 an error, both with HTTP 200. The shape of a slice is inferred: a day as year, month and day, or as
a date. Earnings are `actions.confirmed.revenue`, changeable as `columns`. Postback statuses: 1 approved, 2 pending,
3 declined, 5 hold. There is no click id macro: ours travels in a sub.
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
from connectors.reading import Record, ask, flat, json_of, snippet, sound
from connectors.sheet import Sheet
from connectors.urls import joined
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report
from storage.ledger.numbers import read_count

LIMIT = 500


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    api_key: Annotated[str, msgspec.Meta(description="API key of the partner")]


class Affise(Platform):
    name = "affise"
    title = "Affise"
    credentials = Credentials
    every_measure = True
    tag_from = ("offer", "*")
    click_id_from = tuple(f"sub{n}" for n in range(1, 9))
    requests_per_second = 2.0
    settings: ClassVar[Mapping[str, str]] = SETTING | {"columns": "measure -> the report's column for it"}
    words = PostbackWords(
        parameters={"sub1": "click_id", "transactionid": "txn_id", "goal": "event", "sum": "amount"},
        statuses={"1": "approved", "2": "pending", "3": "reversed", "5": "pending"},
        macros={"click_id": "{sub1}", "txn_id": "{transactionid}", "event": "{goal}", "amount": "{sum}",
                "currency": "{currency}", "status": "{status}", "occurred_at": "{timestamp}"},
    )  # fmt: skip

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        async def page(number: int) -> tuple[bytes, bool]:
            body = await self._ask(http, connection, window, number)
            content = _content(body, connection)
            total = read_count((content.get("pagination") or {}).get("total")) or 0
            return body, number * LIMIT < total

        return await self.read_whole(bundle(await ask_pages(page)), connection, window)

    async def _ask(self, http: Http, connection: Connection, window: Window, number: int) -> bytes:
        slices = [name for name in ("day", self.tag_column(connection), self.sub_column(connection)) if name]
        params = [("slice[]", name) for name in slices] + [("fields[]", "clicks"), ("fields[]", "conversions")] + [
            ("filter[date_from]", window.first.isoformat()), ("filter[date_to]", window.last.isoformat()),
            ("timezone", connection.timezone), ("page", str(number)), ("limit", str(LIMIT)),
        ]  # fmt: skip
        url = joined(connection.base_url, "/3.0/stats/custom")
        headers = {"API-Key": connection.credentials.get("api_key", "")}
        answer = await ask(
            http, connection, "GET", url, headers=headers, params=params, per_second=self.requests_per_second
        )
        return sound(answer, connection)

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        sheet, stated, rows_read = Sheet(self, connection, window, raw), None, 0
        for page in unbundle(raw):
            content = _content(page.body, connection)
            sheet.add_all(_record(row) for row in content["stats"])
            stated = (content.get("pagination") or {}).get("total", stated)
            rows_read += len(content["stats"])
        sheet.count(stated, rows_read, "pagination.total")
        return sheet.report()

    def columns(self, connection: Connection) -> Columns:
        tag, sub = self.tag_column(connection), self.sub_column(connection)
        measures = {
            "visits": ("traffic_uniq", "traffic_raw", "clicks"),
            "commission": ("actions_confirmed_revenue", "confirmed_revenue", "earnings"),
        }
        return Columns(
            measures=with_conversions(connection, measures, "actions_confirmed_count", "confirmed_count"), day=("day",),
            tag=(tag, f"{tag}_id"), tag_name=(f"{tag}_title",), sub=(sub,) if sub else (), currency=("currency",),
        )  # fmt: skip


def _content(body: bytes, connection: Connection) -> dict[str, Any]:
    content = json_of(body, connection)
    if isinstance(content, dict) and content.get("status") == 1 and isinstance(content.get("stats"), list):
        return dict(content)
    excerpt = snippet(body, connection)
    denied = any(word in excerpt.lower() for word in ("api-key", "api key", "auth", "access"))
    raise ConnectorError(f"the platform sent no statistics: {excerpt}", permanent=denied, raw=body)


def _record(row: dict[str, Any]) -> Record:
    cut = row.get("slice") or {}
    record = flat({name: value for name, value in row.items() if name != "slice"}) | flat(cut)
    parts = [str(cut.get(name, "")) for name in ("year", "month", "day")]
    if all(part.isdecimal() for part in parts):
        record["day"] = "-".join(part.zfill(2) for part in parts)
    return record


PLATFORM = Affise()

"""Alanbase: 4rabet … `/partner/statistic/common`, grouped by one dimension, asked for day by day.

The answer names groups by label only; that of the offer grouping is taken for the offer (its id where it is given).
How several groupings are asked for at once is not documented, and conversions of the common report are not split by
goal: `conversions_are` says what they are. Revenue is the payout of confirmed conversions.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, ClassVar

import msgspec

from connectors.base import Connection, Platform, PostbackWords, Window
from connectors.columns import Columns
from connectors.http import Http
from connectors.platforms.networks import SETTING, with_conversions
from connectors.platforms.windows import ask_days, days_of
from connectors.reading import Record, ask, json_of, snippet, sound
from connectors.sheet import Sheet
from connectors.urls import joined
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report
from storage.ledger.numbers import read_count


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    api_key: Annotated[str, msgspec.Meta(description="API key of the partner")]


class Alanbase(Platform):
    name = "alanbase"
    title = "Alanbase"
    credentials = Credentials
    base_url = "https://api.alanbase.com/v1"
    needs_base_url = False
    every_measure = True
    tag_from = ("offer", "*")
    click_id_from = ("sub1", *(f"sub{n}" for n in range(2, 11)))
    requests_per_second = 3.0
    settings: ClassVar[Mapping[str, str]] = SETTING
    words = PostbackWords(
        parameters={f"sub_id_{n}": f"sub{n}" for n in range(2, 11)} | {"sub_id_1": "click_id", "goal": "event"},
        events={"rdeposit": "deposit"},
        macros={"click_id": "{sub_id_1}", "event": "{goal}"},
    )

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        async def page(day: date, number: int) -> tuple[bytes, bool]:
            body = await self._ask(http, connection, day, number)
            meta = _content(body, connection).get("meta") or {}
            return body, number < (read_count(meta.get("last_page")) or 1)

        return await self.read_whole(await ask_days(window, page), connection, window)

    async def _ask(self, http: Http, connection: Connection, day: date, number: int) -> bytes:
        params = [
            ("group_by", self.tag_column(connection)), ("timezone", connection.timezone),
            ("date_from", f"{day} 00:00"), ("date_to", f"{day} 23:59"), ("currency_code", connection.currency),
            ("per_page", "100"), ("page", str(number)),
        ]  # fmt: skip
        url = joined(connection.base_url, "/partner/statistic/common")
        headers = {"API-KEY": connection.credentials.get("api_key", ""), "Accept": "application/json"}
        answer = await ask(
            http, connection, "GET", url, headers=headers, params=params, per_second=self.requests_per_second
        )
        return sound(answer, connection)

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        sheet = Sheet(self, connection, window, raw)
        counts: dict[date, tuple[Any, int]] = {}
        for day, body in days_of(raw):
            content = _content(body, connection)
            for row in content["data"]:
                sheet.add(_record(row), day=day)
            stated = (content.get("meta") or {}).get("total_count")
            counts[day] = stated, counts.get(day, (None, 0))[1] + len(content["data"])
        for stated, rows_read in counts.values():
            sheet.count(stated, rows_read, "total_count")
        return sheet.report()

    def columns(self, connection: Connection) -> Columns:
        measures = {
            "visits": ("click_count", "click_unique_count"),
            "commission": ("confirmed_payout",),
        }
        return Columns(
            measures=with_conversions(connection, measures, "confirmed_count"), tag=("tag",), tag_name=("name",)
        )


def _content(body: bytes, connection: Connection) -> dict[str, Any]:
    content = json_of(body, connection)
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, list):
        raise ConnectorError(f"the platform sent no data: {snippet(body, connection)}", raw=body)
    return dict(content)


def _record(entry: dict[str, Any]) -> Record:
    group = (entry.get("group_fields") or [{}])[0]
    confirmed = (entry.get("conversions") or {}).get("confirmed") or {}
    label = str(group.get("label") or "")
    return {
        "tag": str(group.get("id") or label), "name": label if group.get("id") else "",
        "click_count": entry.get("click_count"), "click_unique_count": entry.get("click_unique_count"),
        "confirmed_count": confirmed.get("count"), "confirmed_payout": confirmed.get("payout"),
    }  # fmt: skip


PLATFORM = Alanbase()

"""Everflow: the affiliate's entity report (developers.everflow.io), asked for day by day so that no day is guessed.

For the affiliate `revenue` is what it earns. At most 10,000 rows an answer: `incomplete_results` is an error, not a
report. The report's zone is Everflow's `timezone_id` (67, the documentation's example, by default).
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
    api_key: Annotated[str, msgspec.Meta(description="affiliate API key")]


class Everflow(Platform):
    name = "everflow"
    title = "Everflow"
    credentials = Credentials
    base_url = "https://api.eflow.team"
    needs_base_url = False
    every_measure = True
    tag_from = ("offer", "offer_group", "creative", "source_id", "*")
    click_id_from = ("sub1", "sub2", "sub3", "sub4", "sub5", "source_id")
    requests_per_second = 4.0
    settings: ClassVar[Mapping[str, str]] = SETTING | {"timezone_id": "Everflow's number of the zone, 67 by default"}
    words = PostbackWords(
        parameters={"transaction_id": "txn_id", "tid": "txn_id"},
        macros={"click_id": "{sub1}", "txn_id": "{transaction_id}", "amount": "{revenue}"},
    )

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        async def page(day: date, _number: int) -> tuple[bytes, bool]:
            body = await self._ask(http, connection, day)
            _table(body, connection)
            return body, False

        return await self.read_whole(await ask_days(window, page), connection, window)

    async def _ask(self, http: Http, connection: Connection, day: date) -> bytes:
        columns = [name for name in (self.tag_column(connection), self.sub_column(connection)) if name]
        body = msgspec.json.encode({
            "from": day.isoformat(), "to": day.isoformat(), "currency_id": connection.currency,
            "timezone_id": read_count(connection.option("timezone_id", 67)),
            "columns": [{"column": name} for name in dict.fromkeys(columns)], "query": {"filters": []},
        })  # fmt: skip
        url = joined(connection.base_url, "/v1/affiliates/reporting/entity/table")
        headers = {"X-Eflow-Api-Key": connection.credentials.get("api_key", ""), "Content-Type": "application/json"}
        answer = await ask(
            http, connection, "POST", url, headers=headers, body=body, per_second=self.requests_per_second
        )
        return sound(answer, connection)

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        sheet, sub = Sheet(self, connection, window, raw), self.sub_column(connection)
        summaries: list[Record | None] = []
        for day, body in days_of(raw):
            for row in _table(body, connection):
                sheet.add(_record(row, sub), day=day)
            summaries.append(json_of(body, connection).get("summary"))
        stated = [summary for summary in summaries if isinstance(summary, dict)]
        totals = sheet.note_totals(*stated)
        return sheet.report(totals=totals if len(stated) == len(summaries) else None)

    def columns(self, connection: Connection) -> Columns:
        tag, sub = self.tag_column(connection), self.sub_column(connection)
        measures = {"visits": ("total_click", "unique_click"), "commission": ("revenue",)}
        return Columns(
            measures=with_conversions(connection, measures, "cv"), tag=(tag,), tag_name=(f"{tag} label",),
            sub=(sub,) if sub else (),
        )  # fmt: skip


def _table(body: bytes, connection: Connection) -> list[dict[str, Any]]:
    content = json_of(body, connection)
    if isinstance(content, dict) and content.get("incomplete_results"):
        raise ConnectorError("the report has over 10,000 rows a day: take a coarser click_id_from", raw=body)
    table = content.get("table") if isinstance(content, dict) else None
    if not isinstance(table, list):
        raise ConnectorError(f"the platform sent no table: {snippet(body, connection)}", raw=body)
    return table


def _record(row: dict[str, Any], sub: str) -> Record:
    record: Record = dict(row.get("reporting") or {})
    for column in row.get("columns") or []:
        kind = str(column.get("column_type"))
        named = column.get("label") if kind == sub else column.get("id") or column.get("label")
        record |= {kind: named, f"{kind} label": column.get("label")}
    return record


PLATFORM = Everflow()

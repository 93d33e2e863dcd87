"""Smartico Affiliation / The Affiliate Platform (TAP): the media report of help.theaffiliateplatform.com.

`date_to` is exclusive, and the two dates may not be equal. By-day figures are the change during the day, so they can
be negative; days without activity are absent; the row with an empty afp is all untagged traffic.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from connectors.base import Connection, Platform, PostbackWords, Window
from connectors.columns import Columns, PlayerColumns
from connectors.http import Http
from connectors.platforms.windows import last_requested_day
from connectors.players import player_report
from connectors.reading import Record, ask, sound
from connectors.records import json_stream, note_stated
from connectors.sheet import Sheet
from connectors.urls import joined
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import PlayerReport, Report

MEASURES = {
    "visits": ("visit_count",),
    "registrations": ("registration_count",),
    "first_deposits": ("ftd_count",),
    "deposits": ("deposit_count",),
    "qualified": ("qftd_count",),
    "deposit_amount": ("deposit_total",),
    "ngr": ("net_pl", "net_win"),
    "commission_cpa": ("commissions_cpa",),
    "commission_revshare": ("commissions_rev_share",),
    "commission_cpl": ("commissions_cpl",),
    "commission": ("commissions_total",),
}


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    api_key: Annotated[str, msgspec.Meta(description="API key of the affiliate (Account settings)")]


class Smartico(Platform):
    name = "smartico"
    title = "Smartico"
    credentials = Credentials
    base_url = "https://boapi.smartico.ai"
    needs_base_url = False
    every_measure = True
    tag_from = ("link_id", "utm_campaign", "utm_source", "utm_medium", "brand_id", "campaign_id", "source_id",
                "afp", *(f"afp{n}" for n in range(1, 10)))  # fmt: skip
    click_id_from = ("afp", *(f"afp{n}" for n in range(1, 10)), "utm_campaign", "utm_source", "utm_medium")
    player_columns = PlayerColumns(player=("registration_id",), day=("dt",))
    settings: ClassVar[Mapping[str, str]] = {
        "players": "true: ask for players too, for cohorts (needs the permission for the registrations report)",
        "path": "path of the report, /api/af2_media_report_af by default (an operator's key: af2_media_report_op)",
        "to_is_exclusive": "whether `date_to` is left out; it is, by the vendor's documentation",
    }
    words = PostbackWords(
        parameters={"registration_id": "player_id"},
        macros={"click_id": "{{afp}}", "player_id": "{{registration_id}}"},
    )

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        body = await self._ask(http, connection, window, self._groups(connection))
        return await self.read_whole(body, connection, window)

    async def fetch_players(self, http: Http, connection: Connection, window: Window) -> PlayerReport:
        """What each player did on each day; a registration is counted on the day it came."""
        groups = ["registration_id", *self._groups(connection)]
        body = await self._ask(http, connection, window, groups)
        content, records = json_stream(body, connection)
        _refuse_error(content, body)
        tag, sub = self.tag_column(connection), self.sub_column(connection)
        columns = PlayerColumns(
            player=("registration_id",), day=("dt",), registered=("registered",), ftd_day=("first_deposit_made",),
            tag=(tag,), sub=(sub,) if sub else (), country=("country", "country_code"),
            currency=("currency", "currency_code"), deposits=MEASURES["deposits"],
            deposit_amount=MEASURES["deposit_amount"], ngr=MEASURES["ngr"], commission=MEASURES["commission"],
        )  # fmt: skip
        lines = [(0, _dated(record)) for record in records if record.get("registration_id")]
        return player_report(lines, connection, columns, window=window, raw=body)

    async def _ask(self, http: Http, connection: Connection, window: Window, groups: list[str]) -> bytes:
        path = str(connection.option("path", "/api/af2_media_report_af"))
        params = [
            ("aggregation_period", "DAY"),
            ("group_by", ",".join(groups)),
            ("date_from", window.first.isoformat()),
            ("date_to", last_requested_day(connection, window).isoformat()),
        ]
        url = joined(connection.base_url, path)
        headers = {"authorization": connection.credentials.get("api_key", "")}
        answer = await ask(
            http, connection, "GET", url, headers=headers, params=params, per_second=self.requests_per_second
        )
        return sound(answer, connection)

    def _groups(self, connection: Connection) -> list[str]:
        columns = (self.tag_column(connection), self.sub_column(connection), "brand_id")
        return [name for name in dict.fromkeys(columns) if name]

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        content, records = json_stream(raw, connection)
        _refuse_error(content, raw)
        sheet = Sheet(self, connection, window, raw)
        return sheet.report(totals=note_stated(sheet, content, sheet.add_all(records)))

    def columns(self, connection: Connection) -> Columns:
        tag, sub = self.tag_column(connection), self.sub_column(connection)
        return Columns(
            measures=MEASURES,
            day=("dt",),
            tag=(tag,),
            tag_name=(tag.replace("_id", "_name"),) if tag.endswith("_id") else (),
            sub=(sub,) if sub else (),
            part=("brand_id",) if tag != "brand_id" else (),
            currency=("currency", "currency_code"),
        )


def _dated(record: Record) -> Record:
    """A player's line with the days that its counts stand for."""
    made = dict(record)
    for name, count in (("registered", "registration_count"), ("first_deposit_made", "ftd_count")):
        made[name] = record.get("dt") if record.get(count) not in {None, 0, "0", ""} else None
    return made


def _refuse_error(content: Any, raw: bytes) -> None:
    """Errors come as errCode and message, sometimes with status 200."""
    if not isinstance(content, dict) or not content.get("errCode"):
        return
    message = str(content.get("message") or content["errCode"])
    lower = message.lower()
    hint = " (another shard of boapi: set base_url as in Account settings)" if "label" in lower else ""
    denied = any(word in lower for word in ("label", "auth", "key", "permission", "denied"))
    raise ConnectorError(f"the platform says {message[:200]!r}{hint}", permanent=denied, raw=raw)


PLATFORM = Smartico()

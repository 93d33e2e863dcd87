"""TUNE / HasOffers: `Affiliate_Report.getStats` (developers.tune.com). Errors come with status 200.

Our click id comes back in affiliate_info1. What is built like HasOffers is asked at its own `base_url` and `path`, and
columns of its own that `columns` names (`Stat.ftd`) are asked for too. Rows are keyed objects or a list; statistics of
the last 25 months.
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
from connectors.reading import ask, flat, json_of, own_columns, snippet, sound
from connectors.sheet import Sheet
from connectors.urls import joined
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report
from storage.ledger.numbers import read_count

LIMIT = 1000


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    network_id: Annotated[str, msgspec.Meta(description="network id, the name before .api.hasoffers.com")]
    api_key: Annotated[str, msgspec.Meta(description="affiliate API key")]


class Tune(Platform):
    name = "tune"
    title = "TUNE"
    credentials = Credentials
    needs_base_url = False
    every_measure = True
    tag_from = ("offer_id", "source", "*")
    click_id_from = (*(f"affiliate_info{n}" for n in range(1, 6)), "source")
    requests_per_second = 3.0
    settings: ClassVar[Mapping[str, str]] = SETTING | {
        "path": "path of the API at a `base_url`, /Apiv3/json by default",
        "columns": "measure -> the report's column for it, such as Stat.ftd or Goal.name, which is asked for",
    }
    words = PostbackWords(
        parameters={"affiliate_info1": "click_id", "aff_sub": "click_id", "transaction_id": "txn_id"},
        macros={"click_id": "{aff_sub}", "txn_id": "{transaction_id}", "amount": "{payout}"},
    )

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        async def page(number: int) -> tuple[bytes, bool]:
            body = await self._ask(http, connection, window, number)
            return body, number < (read_count(_data(body, connection).get("pageCount")) or 1)

        return await self.read_whole(bundle(await ask_pages(page)), connection, window)

    async def _ask(self, http: Http, connection: Connection, window: Window, number: int) -> bytes:
        groups = list(dict.fromkeys(("date", self.tag_column(connection), self.sub_column(connection))))
        plain = [*groups, "clicks", "conversions", "payout", "currency"]
        fields = [*(f"Stat.{name}" for name in plain if name), "Offer.name"]
        fields += [name for name in own_columns(connection) if "." in name and name not in fields]
        params = [
            ("api_key", connection.credentials.get("api_key", "")),
            ("Target", "Affiliate_Report"), ("Method", "getStats"),
            *(("fields[]", name) for name in fields),
            *(("groups[]", f"Stat.{name}") for name in groups if name),
            ("filters[Stat.date][conditional]", "BETWEEN"),
            ("filters[Stat.date][values][]", window.first.isoformat()),
            ("filters[Stat.date][values][]", window.last.isoformat()),
            ("limit", str(LIMIT)), ("page", str(number)),
        ]  # fmt: skip
        network = connection.credentials.get("network_id", "")
        path = str(connection.option("path", "/Apiv3/json"))
        url = joined(connection.base_url or f"https://{network}.api.hasoffers.com", path)
        return sound(
            await ask(http, connection, "GET", url, params=params, per_second=self.requests_per_second), connection
        )

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        sheet, stated, sizes = Sheet(self, connection, window, raw), None, [0]
        for page in unbundle(raw):
            data = _data(page.body, connection)
            rows = data.get("data") or []
            sizes.append(sheet.add_all(flat(row) for row in (rows.values() if isinstance(rows, dict) else rows)))
            stated = data.get("count", stated)
        if stated is not None:  # of this page or of all, by the version of the API
            sheet.count(stated, sizes[-1] if str(stated) == str(sizes[-1]) else sum(sizes), "count")
        return sheet.report()

    def columns(self, connection: Connection) -> Columns:
        tag, sub = self.tag_column(connection), self.sub_column(connection)
        measures = {"visits": ("Stat_clicks",), "commission": ("Stat_payout",)}
        return Columns(
            measures=with_conversions(connection, measures, "Stat_conversions"), day=("Stat_date",),
            tag=(f"Stat_{tag}",), tag_name=("Offer_name",) if tag == "offer_id" else (),
            sub=(f"Stat_{sub}",) if sub else (), currency=("Stat_currency",),
        )  # fmt: skip


def _data(body: bytes, connection: Connection) -> dict[str, Any]:
    """The answer's data; -1 is an error although HTTP says 200."""
    content = json_of(body, connection)
    response = content.get("response") if isinstance(content, dict) else None
    if isinstance(response, dict) and response.get("status") == 1 and isinstance(response.get("data"), dict | list):
        return response["data"] if isinstance(response["data"], dict) else {"data": response["data"]}
    excerpt = snippet(body, connection)
    denied = any(word in excerpt.lower() for word in ("api key", "api_key", "auth", "not allowed", "ip "))
    raise ConnectorError(f"the platform sent no statistics: {excerpt}", permanent=denied, raw=body)


PLATFORM = Tune()

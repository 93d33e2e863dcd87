"""Adsterra, advertiser API v3: what each campaign spent a day.

Seen in working clients: address, parameters and columns; `itemCount` and the answer's own `timezone` are checked where
they are given. In US dollars. One token is valid at a time: a new one ends the old.
"""

from collections.abc import Mapping

from connectors.http import Answer, Http
from connectors.sources.costs.report import (
    CostQuery,
    CostReport,
    CostRow,
    day_of,
    decoded,
    field,
    inside,
    micros,
    rows_in,
)
from connectors.sources.rules import setting
from storage.ledger.errors import ConnectorError

TITLE = "Adsterra"
CURRENCY = "USD"


async def fetch(http: Http, settings: Mapping[str, str], query: CostQuery) -> CostReport:
    """`GET /advertiser/stats.json` grouped by day and campaign."""
    token = setting(settings, "cost_token", TITLE)
    base = settings.get("cost_url") or "https://api3.adsterratools.com"
    answer = await http.get(
        f"{base}/advertiser/stats.json", headers={"X-API-Key": token, "Accept": "application/json"}, secrets=[token],
        params=[("start_date", query.first.isoformat()), ("finish_date", query.last.isoformat()),
                ("group_by[]", "date"), ("group_by[]", "campaign")],
    )  # fmt: skip
    return read(answer, query)


def read(answer: Answer, query: CostQuery) -> CostReport:
    """The rows of an answer. Raises ConnectorError, also where there are fewer than it says."""
    content = decoded(TITLE, answer)
    items = rows_in(TITLE, content, "items")
    total = content.get("itemCount") if isinstance(content, dict) else None
    if total is not None and int(total) != len(items):
        raise ConnectorError(f"{TITLE}: {len(items)} of {total} rows came", raw=answer.body, cut_off=True)
    zone = str(content.get("timezone") or "") if isinstance(content, dict) else ""
    return CostReport(rows=inside(TITLE, query, map(_row, items)), zone=zone)


def _row(row: Mapping[str, object]) -> CostRow:
    campaign = str(field(TITLE, row, "campaign", "campaign_id"))
    return CostRow(
        day=day_of(TITLE, field(TITLE, row, "date")), campaign=campaign, currency=CURRENCY,
        amount=micros(TITLE, campaign, field(TITLE, row, "spent"), CURRENCY),
        name=str(row.get("title") or row.get("campaign_name") or ""),
    )  # fmt: skip

"""ExoClick v2: what each campaign cost, a request a day and page.

Fields: docs.exoclick.com, global statistics; `result` is a list or an object keyed by number. Statistics are in US
dollars. The days are the network's own: its `timezone` matters for hours alone.
"""

from collections.abc import Mapping
from datetime import date

import msgspec

from connectors.http import Answer, Http
from connectors.sources.costs.report import (
    MOST_PAGES,
    CostQuery,
    CostReport,
    CostRow,
    decoded,
    field,
    inside,
    micros,
    rows_in,
)
from connectors.sources.rules import setting
from storage.ledger.errors import ConnectorError

TITLE = "ExoClick"
CURRENCY = "USD"
ZONE = "America/New_York"
PAGE = 500


async def fetch(http: Http, settings: Mapping[str, str], query: CostQuery) -> CostReport:
    """`POST /v2/login` for a token of some minutes, then `POST /v2/statistics/a/global` grouped by campaign."""
    secret = setting(settings, "cost_token", TITLE)
    base = settings.get("cost_url") or "https://api.exoclick.com"
    headers = {"Content-Type": "application/json"}
    login = await http.post(
        f"{base}/v2/login", headers=headers, secrets=[secret], body=msgspec.json.encode({"api_token": secret})
    )
    content = decoded(TITLE, login)
    token = content.get("token") if isinstance(content, dict) else None
    if not token:
        raise ConnectorError(f"{TITLE} gave no token: check cost_token", permanent=True)
    headers["Authorization"] = f"Bearer {token}"
    rows: list[CostRow] = []
    for day in query.days:
        rows += await _of_day(http, f"{base}/v2/statistics/a/global", headers, day, [secret, str(token)])
    return CostReport(rows=inside(TITLE, query, rows), zone=ZONE)


async def _of_day(http: Http, url: str, headers: Mapping[str, str], day: date, secrets: list[str]) -> list[CostRow]:
    rows: list[CostRow] = []
    for number in range(MOST_PAGES):
        body = {
            "group_by": ["campaign_id"], "filter": {"date_from": day.isoformat(), "date_to": day.isoformat()},
            "detailed": 0, "limit": PAGE, "offset": number * PAGE,
        }  # fmt: skip
        answer = await http.post(url, headers=headers, secrets=secrets, body=msgspec.json.encode(body))
        page = read(answer, day)
        rows += page
        if len(page) < PAGE:
            return rows
    raise ConnectorError(f"{TITLE}: more than {MOST_PAGES:,} pages")


def read(answer: Answer, day: date) -> list[CostRow]:
    """The rows of a page. Raises ConnectorError."""
    rows = []
    for row in rows_in(TITLE, decoded(TITLE, answer), "result"):
        grouped = row.get("group_by")
        campaign = field(TITLE, grouped if isinstance(grouped, dict) else row, "campaign_id")
        number, name = (campaign.get("id"), campaign.get("name")) if isinstance(campaign, dict) else (campaign, "")
        amount = micros(TITLE, str(number), field(TITLE, row, "cost"), CURRENCY)
        rows.append(CostRow(day=day, campaign=str(number), amount=amount, currency=CURRENCY, name=str(name or "")))
    return rows

"""PropellerAds, SSP API v5: what each campaign spent, a request a day, for the rows name no day.

Seen in working clients: address, parameters, and both generations of the answer (`items` with `spent`, `result` with
`money`). Without `tz` the days are US Eastern; ours are asked for. In US dollars.
"""

from collections.abc import Mapping
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from connectors.http import Answer, Http
from connectors.sources.costs.report import CostQuery, CostReport, CostRow, decoded, field, inside, micros, rows_in
from connectors.sources.rules import setting

TITLE = "PropellerAds"
CURRENCY = "USD"


async def fetch(http: Http, settings: Mapping[str, str], query: CostQuery) -> CostReport:
    """`GET /v5/adv/statistics` grouped by campaign, with a bearer token."""
    token = setting(settings, "cost_token", TITLE)
    base = settings.get("cost_url") or "https://ssp-api.propellerads.com"
    rows: list[CostRow] = []
    for day in query.days:
        answer = await http.get(
            f"{base}/v5/adv/statistics", headers={"Authorization": f"Bearer {token}"}, secrets=[token],
            params=[("day_from", day.isoformat()), ("day_to", day.isoformat()), ("group_by[]", "campaign_id"),
                    ("tz", _offset(day, query.zone))],
        )  # fmt: skip
        rows += read(answer, day)
    return CostReport(rows=inside(TITLE, query, rows), zone=str(query.zone))


def _offset(day: date, zone: ZoneInfo) -> str:
    """The zone's distance from UTC at noon of the day: `+0200`."""
    return datetime.combine(day, time(12), tzinfo=zone).strftime("%z")


def read(answer: Answer, day: date) -> list[CostRow]:
    """The rows of an answer. Raises ConnectorError."""
    rows = []
    for row in rows_in(TITLE, decoded(TITLE, answer), "items", "result"):
        campaign = str(field(TITLE, row, "campaign_id"))
        amount = micros(TITLE, campaign, field(TITLE, row, "spent", "money"), CURRENCY)
        rows.append(CostRow(day=day, campaign=campaign, amount=amount, currency=CURRENCY))
    return rows

"""TikTok's synchronous report: what each campaign of an advertiser spent a day.

Address and parameters: TikTok's own SDK (tiktok-business-api-sdk, ReportingApi); the metrics `campaign_name` and
`currency` and the error codes are those of working clients. An error comes with status 200 and a code other than 0.
Days and currency are the advertiser's; a request spans 30 days at most.
"""

from collections.abc import Mapping

from connectors.http import Answer, Http
from connectors.sources.costs.report import (
    MOST_PAGES,
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

TITLE = "TikTok"
_DEAD = {40102, 40104, 40105}  # the token: expired, missing, wrong or revoked
_LIMIT = {40100, 40016}  # too many requests
_WALKS = 3  # a report that changes while it is read is read again


async def fetch(http: Http, settings: Mapping[str, str], query: CostQuery) -> CostReport:
    """`GET /open_api/v1.3/report/integrated/get/`, page after page; the pages are no snapshot, so their total is
    compared."""
    for _ in range(_WALKS):
        rows = await _walk(http, settings, query)
        if rows is not None:
            return CostReport(rows=inside(TITLE, query, rows))
    raise ConnectorError(f"{TITLE}: the report changed while it was read")


async def _walk(http: Http, settings: Mapping[str, str], query: CostQuery) -> list[CostRow] | None:
    """All pages; None where the number of rows is not the one announced."""
    token = setting(settings, "cost_token", TITLE)
    base = settings.get("cost_url") or "https://business-api.tiktok.com"
    params = [
        ("advertiser_id", setting(settings, "advertiser_id", TITLE)), ("report_type", "BASIC"),
        ("data_level", "AUCTION_CAMPAIGN"), ("dimensions", '["campaign_id","stat_time_day"]'),
        ("metrics", '["spend","campaign_name","currency"]'), ("page_size", "1000"),
        ("start_date", query.first.isoformat()), ("end_date", query.last.isoformat()),
    ]  # fmt: skip
    rows: list[CostRow] = []
    for number in range(1, MOST_PAGES + 1):
        answer = await http.get(
            f"{base}/open_api/v1.3/report/integrated/get/", params=[*params, ("page", str(number))],
            headers={"Access-Token": token}, secrets=[token],
        )  # fmt: skip
        page, pages, total = read(answer)
        rows += page
        if number >= pages:
            return rows if len(rows) == total else None
    raise ConnectorError(f"{TITLE}: more than {MOST_PAGES:,} pages")


def read(answer: Answer) -> tuple[list[CostRow], int, int]:
    """The rows of a page, how many pages there are, and how many rows in all. Raises ConnectorError."""
    content = decoded(TITLE, answer)
    code = content.get("code") if isinstance(content, dict) else None
    if code != 0:
        text = str(content.get("message", ""))[:200] if isinstance(content, dict) else "no code"
        dead, limited = code in _DEAD, code in _LIMIT
        hint = "check cost_token" if dead else "too many requests" if limited else "check advertiser_id"
        wait = 300.0 if limited else None
        raise ConnectorError(
            f"{TITLE} refused ({text}, code {code}): {hint}", permanent=dead, raw=answer.body, retry_after=wait
        )
    data = content.get("data") or {}
    info = data.get("page_info") or {}
    try:
        pages, total = int(info["total_page"]), int(info["total_number"])
    except (KeyError, TypeError, ValueError):
        raise ConnectorError(f"{TITLE}: the answer does not say how many pages there are", raw=answer.body) from None
    return [_row(row) for row in rows_in(TITLE, data, "list")], pages, total


def _row(row: Mapping[str, object]) -> CostRow:
    dimensions, metrics = field(TITLE, row, "dimensions"), field(TITLE, row, "metrics")
    campaign, currency = str(field(TITLE, dimensions, "campaign_id")), str(field(TITLE, metrics, "currency"))
    return CostRow(
        day=day_of(TITLE, field(TITLE, dimensions, "stat_time_day")), campaign=campaign, currency=currency,
        amount=micros(TITLE, campaign, field(TITLE, metrics, "spend"), currency),
        name=str(metrics.get("campaign_name") or ""),
    )  # fmt: skip

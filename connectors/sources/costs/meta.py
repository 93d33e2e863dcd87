"""Meta Ads Insights: what each campaign of an ad account spent a day.

Fields: developers.facebook.com, Marketing API, Insights (April 2026). Codes of a dead token and of a limit are those of
working clients. Days and currency are the ad account's.
"""

from collections.abc import Mapping

import msgspec

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
from connectors.sources.meta import VERSION
from connectors.sources.rules import setting
from storage.ledger.errors import ConnectorError

TITLE = "Meta"
_FIELDS = "account_currency,campaign_id,campaign_name,spend"
_DEAD = {102, 190}  # the token
_LIMITS = {4, 17, 32, 613}  # and 80000 to 80014
_WAIT = 900.0  # seconds, where the answer does not say


async def fetch(http: Http, settings: Mapping[str, str], query: CostQuery) -> CostReport:
    """`GET /{version}/act_…/insights` by campaign and day, page after page."""
    token = setting(settings, "cost_token", TITLE)
    account = setting(settings, "ad_account_id", TITLE).removeprefix("act_")
    base = settings.get("cost_url") or "https://graph.facebook.com"
    days = {"since": query.first.isoformat(), "until": query.last.isoformat()}
    params = [
        ("level", "campaign"), ("time_increment", "1"), ("fields", _FIELDS), ("limit", "500"),
        ("time_range", msgspec.json.encode(days).decode()),
    ]  # fmt: skip
    rows: list[CostRow] = []
    after: str | None = ""
    for _ in range(MOST_PAGES):
        answer = await http.get(
            f"{base}/{settings.get('api_version') or VERSION}/act_{account}/insights", secrets=[token],
            params=params + ([("after", after)] if after else []), headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        page, following = read(answer)
        rows += page
        if not following:
            return CostReport(rows=inside(TITLE, query, rows))
        if following == after:
            raise ConnectorError(f"{TITLE}: the same page came again", raw=answer.body)
        after = following
    raise ConnectorError(f"{TITLE}: more than {MOST_PAGES:,} pages")


def read(answer: Answer) -> tuple[list[CostRow], str | None]:
    """The rows of a page and the cursor of the next. Raises ConnectorError."""
    _check(answer)
    content = decoded(TITLE, answer)
    rows = [_row(row) for row in rows_in(TITLE, content, "data")]
    paging = content.get("paging") or {}
    return rows, (paging.get("cursors") or {}).get("after") if paging.get("next") else None


def _row(row: Mapping[str, object]) -> CostRow:
    campaign, currency = str(field(TITLE, row, "campaign_id")), str(field(TITLE, row, "account_currency"))
    return CostRow(
        day=day_of(TITLE, field(TITLE, row, "date_start")), campaign=campaign, currency=currency,
        amount=micros(TITLE, campaign, field(TITLE, row, "spend"), currency), name=str(row.get("campaign_name") or ""),
    )  # fmt: skip


def _check(answer: Answer) -> None:
    """Raises ConnectorError for the errors that Meta tells by a code, whatever the status is."""
    try:
        error = msgspec.json.decode(answer.body)["error"]
        code, text = int(error["code"]), str(error.get("message") or "")[:200]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return
    if code in _LIMITS or 80_000 <= code <= 80_014:
        wait = answer.retry_after or _WAIT
        raise ConnectorError(f"{TITLE}: too many requests (code {code})", retry_after=wait, raw=answer.body)
    hint = "check cost_token" if code in _DEAD else "check ad_account_id and the permission ads_read"
    permanent = code in _DEAD or 400 <= answer.status < 500
    raise ConnectorError(f"{TITLE} refused ({text}, code {code}): {hint}", permanent=permanent, raw=answer.body)

"""Google Ads, `searchStream`: what each campaign of an account cost a day.

Fields: developers.google.com, Google Ads API, REST (autumn 2026). The access token comes from a refresh token of the
scope adwords; a developer token is not asked for any more. Days and currency are the account's.
"""

from collections.abc import Mapping

import msgspec

from connectors.http import Answer, Http
from connectors.sources.costs.report import (
    CostQuery,
    CostReport,
    CostRow,
    day_of,
    decoded,
    field,
    inside,
    rows_in,
)
from connectors.sources.google import read_token, token_request
from connectors.sources.rules import setting
from storage.ledger.errors import ConnectorError, Refused

TITLE = "Google Ads"
VERSION = "v26"
TOKEN = "cost_refresh_token"  # noqa: S105  the name of a setting
_QUERY = (
    "SELECT customer.currency_code, customer.time_zone, campaign.id, campaign.name, segments.date, metrics.cost_micros "
    "FROM campaign WHERE segments.date BETWEEN '{first}' AND '{last}'"
)


async def fetch(http: Http, settings: Mapping[str, str], query: CostQuery) -> CostReport:
    """A fresh access token, then one query for all days."""
    token = await _access_token(http, settings)
    customer = _digits(setting(settings, "account_id", TITLE))
    base = settings.get("cost_url") or "https://googleads.googleapis.com"
    version = settings.get("cost_api_version") or VERSION
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    if settings.get("login_account_id"):
        headers["login-customer-id"] = _digits(settings["login_account_id"])
    answer = await http.post(
        f"{base}/{version}/customers/{customer}/googleAds:searchStream", headers=headers, secrets=[token],
        body=msgspec.json.encode({"query": _QUERY.format(first=query.first, last=query.last)}),
    )  # fmt: skip
    return read(answer, query, version=version)


def _digits(account: str) -> str:
    return account.replace("-", "").strip()


async def _access_token(http: Http, settings: Mapping[str, str]) -> str:
    """Raises ConnectorError, permanent where the refresh token is refused."""
    request = token_request({**settings, "refresh_token": setting(settings, TOKEN, TITLE)})
    answer = await http.post(
        settings.get("cost_token_url") or request.url, headers=request.headers, body=request.body,
        secrets=[value for value in settings.values() if value],
    )  # fmt: skip
    if answer.status in {429, 500, 502, 503, 504}:
        raise ConnectorError(f"{TITLE}: the token's server answered {answer.status}", retry_after=answer.retry_after)
    try:
        return read_token(answer.body)[0]
    except Refused:
        raise ConnectorError(
            f"{TITLE} gave no access token: check client_id, client_secret and {TOKEN}", permanent=True
        ) from None


def read(answer: Answer, query: CostQuery, *, version: str = VERSION) -> CostReport:
    """The rows of all batches. Raises ConnectorError."""
    if answer.status == 404 or b"UNSUPPORTED_VERSION" in answer.body:
        raise ConnectorError(
            f"{TITLE} knows no version {version} of its API, or no such account: check cost_api_version and account_id",
            permanent=True, raw=answer.body,
        )  # fmt: skip
    if answer.status == 400:
        raise ConnectorError(f"{TITLE} refused the report: {_message(answer.body)}", permanent=True, raw=answer.body)
    batches = decoded(TITLE, answer, named=f"{TOKEN}, account_id and login_account_id")
    if not isinstance(batches, list) or not all(isinstance(batch, dict) for batch in batches):
        raise ConnectorError(f"{TITLE}: expected a list of batches", raw=answer.body)
    found = [row for batch in batches for row in rows_in(TITLE, {"results": []} | batch, "results")]
    zones = {str((row.get("customer") or {}).get("timeZone") or "") for row in found} - {""}
    return CostReport(rows=inside(TITLE, query, map(_row, found)), zone=" ".join(sorted(zones)))


def _row(row: Mapping[str, object]) -> CostRow:
    campaign, metrics = field(TITLE, row, "campaign"), field(TITLE, row, "metrics")
    cost = str(field(TITLE, metrics, "costMicros"))
    if not cost.isdecimal():
        raise ConnectorError(f"{TITLE}: {cost!r} is no cost")
    return CostRow(
        day=day_of(TITLE, field(TITLE, field(TITLE, row, "segments"), "date")),
        campaign=str(field(TITLE, campaign, "id")),
        currency=str(field(TITLE, field(TITLE, row, "customer"), "currencyCode")), amount=int(cost),
        name=str(campaign.get("name") or ""),
    )  # fmt: skip


def _message(body: bytes) -> str:
    try:
        content = msgspec.json.decode(body)
        error = content[0] if isinstance(content, list) else content
        return str(error["error"]["message"])[:200]
    except (msgspec.DecodeError, KeyError, TypeError, IndexError):
        return "no reason given"

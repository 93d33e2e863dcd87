"""What traffic cost, by the statistics APIs of PropellerAds and ExoClick: one request per day and source.

Seen in working clients: addresses, login and parameters. The names of the cost columns are inferred, so several are
understood; an answer without any of them is an error, never a zero. Both count days in UTC and in US dollars.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from typing import Any

import msgspec

from connectors.http import Http
from connectors.sources.rules import setting
from storage.ledger.errors import ConnectorError
from storage.ledger.numbers import read_micro

_COST = ("spent", "cost", "spend", "money", "total_cost", "value")
_CAMPAIGN = ("campaign_id", "campaignid", "idcampaign", "campaign", "id")
CURRENCY = "USD"


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a source's own campaign cost on a day, in micro-units."""

    day: date
    campaign: str
    amount: int
    currency: str = CURRENCY


async def propellerads(http: Http, settings: Mapping[str, str], day: date) -> list[CostRow]:
    """`GET /v5/adv/statistics` grouped by campaign, with a bearer token."""
    token = setting(settings, "cost_token", "PropellerAds")
    base = settings.get("cost_url") or "https://ssp-api.propellerads.com"
    params = [("day_from", day.isoformat()), ("day_to", day.isoformat()), ("group_by[]", "campaign_id")]
    answer = await http.get(
        f"{base}/v5/adv/statistics", params=params, headers={"Authorization": f"Bearer {token}"}, secrets=[token]
    )
    return read("PropellerAds", answer.status, answer.body, day)


async def exoclick(http: Http, settings: Mapping[str, str], day: date) -> list[CostRow]:
    """`POST /v2/login` for a token of some minutes, then `GET /v2/statistics/a/campaign`."""
    secret = setting(settings, "cost_token", "ExoClick")
    base = settings.get("cost_url") or "https://api.exoclick.com"
    login = await http.post(
        f"{base}/v2/login", headers={"Content-Type": "application/json"}, secrets=[secret],
        body=msgspec.json.encode({"api_token": secret}),
    )  # fmt: skip
    token = _decoded("ExoClick", login.status, login.body).get("token")
    if not token:
        raise ConnectorError("ExoClick gave no token: check cost_token", permanent=True, raw=login.body)
    params = [("date-from", day.isoformat()), ("date-to", day.isoformat()), ("detailed", "false")]
    answer = await http.get(
        f"{base}/v2/statistics/a/campaign", params=params, headers={"Authorization": f"Bearer {token}"},
        secrets=[secret, str(token)],
    )  # fmt: skip
    return read("ExoClick", answer.status, answer.body, day)


#: Presets whose cost can be fetched, and the sub parameter of ours that holds their campaign id.
APIS: Mapping[str, Callable[[Http, Mapping[str, str], date], Awaitable[list[CostRow]]]] = {
    "propellerads": propellerads,
    "exoclick": exoclick,
}
CAMPAIGN_SUB = {"propellerads": "sub2", "exoclick": "sub2"}


def read(title: str, status: int, body: bytes, day: date) -> list[CostRow]:
    """Rows of an answer `{"result": [{campaign, cost …}]}`. Raises ConnectorError saying what was expected."""
    content = _decoded(title, status, body)
    rows = content.get("result")
    if not isinstance(rows, list):
        raise ConnectorError(f"{title}: expected a list 'result', got {sorted(content)[:5]}", raw=body)
    costs: dict[str, int] = {}
    for row in rows:
        campaign, cost = _named_value(row, _CAMPAIGN), _named_value(row, _COST)
        try:
            micros, currency = read_micro(cost, own=CURRENCY)
        except ValueError as error:
            raise ConnectorError(f"{title}: the cost of campaign {campaign}: {error}", raw=body) from None
        if campaign is None or micros is None:
            raise ConnectorError(f"{title}: a row names no campaign or no cost: {sorted(row)[:8]}", raw=body)
        if currency not in {"", CURRENCY}:
            raise ConnectorError(f"{title}: the cost of campaign {campaign} is in {currency}, not {CURRENCY}", raw=body)
        costs[str(campaign)] = costs.get(str(campaign), 0) + micros
    return [CostRow(day=day, campaign=name, amount=micros) for name, micros in costs.items()]


def _decoded(title: str, status: int, body: bytes) -> dict[str, Any]:
    if status in {401, 403}:
        raise ConnectorError(f"{title} answered {status}: check cost_token", permanent=True, raw=body)
    if status != 200:
        raise ConnectorError(f"{title} answered {status}", raw=body)
    try:
        content = msgspec.json.Decoder(Any, float_hook=str).decode(body)
    except msgspec.DecodeError as error:
        raise ConnectorError(f"{title}: expected JSON: {error}", raw=body) from None
    if not isinstance(content, dict):
        raise ConnectorError(f"{title}: expected a JSON object", raw=body)
    return content


def _named_value(row: Any, names: tuple[str, ...]) -> Any:
    if not isinstance(row, dict):
        return None
    flat = {str(key).lower(): value for key, value in row.items()}
    grouped = flat.get("group_by")
    if isinstance(grouped, dict):
        flat |= {str(key).lower(): _identity(value) for key, value in grouped.items()}
    return next((_identity(flat[name]) for name in names if flat.get(name) is not None), None)


def _identity(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else value

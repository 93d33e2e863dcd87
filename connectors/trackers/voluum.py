"""Voluum, api.voluum.com.

By developers.voluum.com and public clients. Inferred: that `to` is not included, and how a day is labelled; recalled
only: columns of `/report/conversions`. No answer of a real account was seen.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlsplit

from connectors.http import Http
from connectors.trackers.api import PATIENCE, Api, Login, Request, SetupReader, first_of, pages, text_of
from connectors.trackers.places import country_code
from connectors.trackers.tables import clicks_parts, days_parts, instant
from storage.ledger.cost_models import CPA, CPM, FIXED, LINK, NONE, REVSHARE
from storage.ledger.dates import read_day
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.imports.macros import subs, translated
from storage.ledger.imports.tracker import (
    DayFigures,
    OldClick,
    Part,
    Setup,
    TrackerAccount,
    TrackerCampaign,
    TrackerOffer,
    TrackerRule,
    TrackerSource,
    Weighted,
)

TITLE = "Voluum"
BASE = "https://api.voluum.com"
PAGE = 10_000
CHUNK_DAYS = 14
CUSTOM = tuple(f"customConversions{n}" for n in range(1, 13))
MACROS = {
    "clickid": "click_id", "externalid": "source_click_id", "country": "country", "device": "device",
    "campaign.name": "campaign", "offer.name": "offer", "trafficsource.name": "source",
    **subs("var#"),
}  # fmt: skip
_COSTS = {"CPC": FIXED, "CPM": CPM, "CPA": CPA, "REVSHARE": REVSHARE, "AUTO": LINK, "NOT_TRACKED": NONE}


async def _session(http: Http, login: Login) -> Api:
    """An API with a session's token."""
    secrets = [login["key"], login["access_id"]]
    api = Api(http, TITLE, login.get("url") or BASE, secrets=secrets, key="key", per_second=10.0)
    content = await api.post("/auth/access/session", {"accessId": login["access_id"], "accessKey": login["key"]})
    token = text_of(content, "token") if isinstance(content, dict) else ""
    if not token:
        raise Refused(f"key: {TITLE} gave no session for that access id and key", field="key")
    return Api(http, TITLE, api.base, secrets=[*secrets, token], headers={"cwauth-token": token}, per_second=10.0)


async def probe(http: Http, login: Login) -> None:
    """Raises Refused or ConnectorError where the login is wrong."""
    await _session(http, login)


async def read(http: Http, login: Login, request: Request) -> AsyncIterator[Part]:
    """Everything there is, then history, then click ids of conversions."""
    api = await _session(http, login)
    api.patience = PATIENCE
    yield await _Reader(api).setup()
    for first in range(0, len(request.days), CHUNK_DAYS):
        days = request.days[first : first + CHUNK_DAYS]
        async for rows in _report(api, "/report", request, days, (*_GROUPS, *_COLUMNS)):
            for part in days_parts([_figures(api, row, request) for row in rows]):
                yield part
        async for rows in _report(api, "/report/conversions", request, days, _CLICK_COLUMNS, groups=()):
            for part in clicks_parts([click for row in rows if (click := _click(row))]):
                yield part


class _Reader(SetupReader):
    async def _list(self, path: str, name: str) -> list[dict[str, Any]]:
        return self._api.rows(await self._api.get(f"/{path}"), name)

    async def setup(self) -> Setup:
        offers, campaigns = await self._list("offer", "offers"), await self._list("campaign", "campaigns")
        networks = await self._list("affiliate-network", "affiliateNetworks")
        sources = await self._list("traffic-source", "trafficSources")
        flows = {text_of(row, "id"): row for row in await self._list("flow", "flows")}
        deleted: dict[str, str] = {}
        for kind, rows in (("offer", offers), ("campaign", campaigns)):
            deleted |= {f"{kind}:{text_of(row, 'id')}": _title(row) for row in rows if row.get("deleted")}
        return Setup(
            accounts=tuple(TrackerAccount(key=text_of(row, "id"), name=_title(row)) for row in networks),
            sources=tuple(map(self._source, sources)),
            offers=tuple(self._offer(row) for row in offers if not row.get("deleted")),
            campaigns=tuple([await self._campaign(row, flows) for row in campaigns if not row.get("deleted")]),
            deleted=deleted, problems=tuple(self._problems),
        )  # fmt: skip

    def _source(self, row: Mapping[str, Any]) -> TrackerSource:
        parameters, macros = {}, {}
        named = [(f"sub{_int(variable, 'index') or n}", variable) for n, variable in
                 enumerate(self._api.values(row, "customVariables"), 1) if isinstance(variable, dict)]  # fmt: skip
        for ours, theirs in (("click_id", row.get("clickIdVariable")), ("cost", row.get("costVariable")), *named):
            if isinstance(theirs, dict) and text_of(theirs, "parameter") and ours[3:] not in {"11", "12"}:
                parameters[ours] = text_of(theirs, "parameter")
                if placeholder := text_of(theirs, "placeholder"):
                    macros[ours] = placeholder
        if url := text_of(row, "postbackUrl"):
            why = f"its postback to {urlsplit(url).netloc} is left out: source edit writes it with our macros"
            self._warn("source", _title(row), why)
        return TrackerSource(key=text_of(row, "id"), name=_title(row), parameters=parameters, macros=macros)

    def _offer(self, row: Mapping[str, Any]) -> TrackerOffer:
        url, unknown = translated(text_of(row, "url"), MACROS)
        country = row.get("country")
        code = text_of(country, "code") if isinstance(country, dict) else str(country or "")
        payout = row.get("payout")
        return TrackerOffer(
            key=text_of(row, "id"), name=_title(row), url=url, unknown=unknown, account=_ref(row, "affiliateNetwork"),
            markets=tuple(filter(None, [country_code(code)])),
            deal=" ".join(str(part) for part in payout.values()) if isinstance(payout, dict) else str(payout or ""),
        )  # fmt: skip

    async def _campaign(self, row: Mapping[str, Any], flows: Mapping[str, Any]) -> TrackerCampaign:
        if not isinstance(row.get("redirectTarget"), dict):
            row = self._api.object(await self._api.get(f"/campaign/{text_of(row, 'id')}"))
        name, target = _title(row), self._api.object(row, "redirectTarget")
        flow = self._api.object(target, "inlineFlow") or flows.get(_ref(target, "flow")) or {}
        if "defaultPaths" not in flow and _ref(target, "flow"):
            flow = self._api.object(await self._api.get(f"/flow/{_ref(target, 'flow')}"))
        landings: list[str] = []
        shares, rules = self._shares(flow, "defaultPaths", landings), []
        for group in self._api.objects(flow, "conditionalPathsGroups"):
            if not group.get("active", True):
                continue
            conditions, targets = self._conditions(name, group), self._shares(group, "paths", landings)
            if conditions and targets:
                rules.append(TrackerRule(conditions=conditions, offers=targets))
        if landings:
            self._warn("campaign", name, "its visitors saw a landing page first, which does not come over: made paused")
        cost = row.get("costModel") or {}
        model = _COSTS.get(text_of(cost, "type").upper(), NONE) if isinstance(cost, dict) else NONE
        amount = self._api.micro(cost, "value") if isinstance(cost, dict) else None
        word = urlsplit(text_of(row, "url")).path.strip("/").split("/")[0]
        direct = text_of(target, "directRedirectUrl", "url")
        return TrackerCampaign(
            key=text_of(row, "id"), name=name, aliases=tuple(dict.fromkeys(filter(None, (word, text_of(row, "id"))))),
            source=_ref(row, "trafficSource"), offers=shares, rules=tuple(rules),
            fallback_url=translated(direct, MACROS)[0], cost_model=model if amount or model in {LINK, NONE} else NONE,
            cost=amount if amount and model not in {LINK, NONE} else None,
            paused=bool(landings) or not (shares or rules or direct),
            note=f"Landing pages at Voluum: {', '.join(dict.fromkeys(landings))}" if landings else "",
        )  # fmt: skip

    def _shares(self, row: Mapping[str, Any], name: str, landings: list[str]) -> tuple[Weighted, ...]:
        shares = []
        for path in self._api.objects(row, name):
            if not path.get("active", True):
                continue
            landings += [_title(self._api.object(lander, "lander")) for lander in self._api.objects(path, "landers")]
            for offer in self._api.objects(path, "offers"):
                weight = _int(path, "weight", 100) * _int(offer, "weight", 100)
                shares.append(Weighted(_ref(offer, "offer"), weight))
        return tuple(shares)

    def _conditions(self, campaign: str, group: Mapping[str, Any]) -> dict[str, Any]:
        """Conditions of a group; empty where one has no like here."""
        tests: list[dict[str, Any]] = []
        for kind, asked in self._api.object(group, "conditions").items():
            if not asked:
                continue
            test = _test(self._api, kind, asked) if isinstance(asked, dict) else []
            if not test:
                self._warn("campaign", campaign, f"a path of it asks for {kind}, unknown here: left out")
                return {}
            tests += test
        return {} if not tests else tests[0] if len(tests) == 1 else {"all": tests}


def _test(api: Api, kind: str, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One condition of Voluum as ours; empty where there is none."""
    if kind == "customVariable":
        parts = [
            (f"sub{_int(value, 'variableIndex') + 1}", api.values(value, "variableValues"), text_of(value, "predicate"))
            for value in api.objects(asked, "values")
        ]
    elif kind in {"country", "device", "os", "browser", "language", "city", "region"}:
        names = next((value for value in asked.values() if isinstance(value, list)), [])
        plain = [text_of(value, "code", "name") if isinstance(value, dict) else str(value) for value in names]
        parts = [(kind, [country_code(v) or v for v in plain] if kind == "country" else plain,
                  text_of(asked, "predicate"))]  # fmt: skip
    else:
        return []
    if not parts or any(not values or name == "sub11" for name, values, _ in parts):
        return []
    return [
        {"not": {name: list(map(str, values))}} if predicate == "MUST_NOT_BE" else {name: list(map(str, values))}
        for name, values, predicate in parts
    ]


def _ref(row: Mapping[str, Any], name: str) -> str:
    other = row.get(name)
    return text_of(other, "id") if isinstance(other, dict) else str(other or "")


def _title(row: Mapping[str, Any]) -> str:
    return text_of(row, "namePostfix", "name") if not text_of(row, "name") else text_of(row, "name")


def _int(row: Mapping[str, Any], name: str, default: int = 0) -> int:
    text = text_of(row, name)
    return int(text) if text.isdecimal() else default


_GROUPS = ("day", "campaign", "offer", "country")
_COLUMNS = (
    "campaignId", "offerId", "countryCode", "visits", "uniqueVisits", "conversions", *CUSTOM, "revenue", "cost",
)  # fmt: skip
_CLICK_COLUMNS = (
    "clickId", "campaignId", "offerId", "countryCode", "visitTimestamp", "externalId", "conversionType",
)  # fmt: skip


async def _report(
    api: Api, path: str, request: Request, days: list[date], columns: tuple[str, ...],
    groups: tuple[str, ...] = _GROUPS,
) -> AsyncIterator[list[dict[str, Any]]]:  # fmt: skip
    """Rows of some days; their number has to be the one that the answer states."""
    seen = 0
    total: int | None = None

    async def ask(number: int) -> list[dict[str, Any]]:
        nonlocal total
        params = [
            ("from", f"{days[0]}T00:00:00Z"), ("to", f"{days[-1] + timedelta(days=1)}T00:00:00Z"),
            ("tz", request.timezone), *(("groupBy", group) for group in groups),
            *(("columns", column) for column in columns), ("currency", request.currency), ("limit", str(PAGE)),
            ("offset", str(number * PAGE)), ("include", "ALL"),
        ]  # fmt: skip
        content = await api.get(path, params)
        total = api.count(content, "totalRows") if isinstance(content, dict) else None
        return api.rows(content, "rows")

    async for rows in pages(ask, PAGE):
        seen += len(rows)
        yield rows
    if total is not None and total != seen:
        raise ConnectorError(f"{TITLE}: of {total:,} rows of {days[0]} to {days[-1]} {seen:,} came: begin again")


def _figures(api: Api, row: Mapping[str, Any], request: Request) -> DayFigures:
    try:
        day = read_day(text_of(row, "day"), "")
    except ValueError as error:
        raise ConnectorError(f"{TITLE}: the report's day: {error}") from None
    count, micro = api.count, api.micro
    return DayFigures(
        day=day, campaign=text_of(row, "campaignId"), offer=text_of(row, "offerId"),
        country=country_code(first_of(row, "countryCode", "country", "countryName")), currency=request.currency,
        clicks=count(row, "visits"), unique_clicks=count(row, "uniqueVisits"), conversions=count(row, "conversions"),
        revenue=micro(row, "revenue"), cost=micro(row, "cost"),
        statuses={name: n for name in CUSTOM if (n := count(row, name))},
    )  # fmt: skip


def _click(row: Mapping[str, Any]) -> OldClick | None:
    if not text_of(row, "clickId") or not text_of(row, "campaignId"):
        return None
    return OldClick(
        click=text_of(row, "clickId"), campaign=text_of(row, "campaignId"), offer=text_of(row, "offerId"),
        at=instant(text_of(row, "visitTimestamp")), country=country_code(row.get("countryCode")),
        source_click=text_of(row, "externalId"), status=text_of(row, "conversionType"),
    )  # fmt: skip

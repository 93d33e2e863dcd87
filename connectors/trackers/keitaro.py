"""Keitaro, Admin API v1.

Shapes by the vendor's OpenAPI file (as kept at github.com/playtini/keitaro-client) and docs.keitaro.io; names of report
members also as working clients send them. Recalled: that a flow sends on to a campaign by `action_type` campaign, with
its id as `action_payload`. No answer of a real installation was seen.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from connectors.http import Http
from connectors.trackers.api import (
    PATIENCE,
    Api,
    Login,
    Request,
    SetupReader,
    base_url,
    led_on,
    pages,
    postback_of,
    text_of,
)
from connectors.trackers.places import country_code
from connectors.trackers.tables import clicks_parts, days_parts, instant, is_off
from storage.ledger.cost_models import CPA, CPM, FIXED, LINK, NONE, REVSHARE, UNIQUE
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.imports.macros import subs, translated, with_query
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

TITLE = "Keitaro"
PAGE = 1_000
#: Macros of offer addresses -> ours: docs.keitaro.io/en/conversions/postback.html and campaign-parameters.html.
MACROS = {
    **subs("sub_id_#"), "subid": "click_id", "sub_id": "click_id", "external_id": "source_click_id",
    "campaign_name": "campaign", "offer_name": "offer", "ts_name": "source", "traffic_source_name": "source",
    "country": "country", "country_code": "country", "device_type": "device",
}  # fmt: skip
_OURS = {"external_id": "click_id", "cost": "cost", "currency": "currency", **subs("sub_id_#")}
#: A source's postback is filled by us: placeholders of theirs -> ours.
_OUTBOUND = {
    **subs("sub_id_#"), "external_id": "click_id", "revenue": "payout", "payout": "payout", "subid": "our_click_id",
    "tid": "txn_id",
}  # fmt: skip
_COSTS = {
    "cpc": FIXED, "cpuc": UNIQUE, "cpm": CPM, "cpa": CPA, "cps": CPA, "revshare": REVSHARE, "none": NONE,
}  # fmt: skip
_CONDITIONS = {
    "country": "country", "region": "region", "city": "city", "language": "language", "device_type": "device",
    "os": "os", "browser": "browser", "referrer": "referrer", "ip": "ip", **subs("sub_id_#"),
}  # fmt: skip
_STATUSES = ("leads", "sales", "rejected", "rebills")
_WORD = {"leads": "lead", "sales": "sale", "rejected": "rejected", "rebills": "rebill"}


def _api(http: Http, login: Login) -> Api:
    base = f"{base_url(login['url'])}/admin_api/v1"
    return Api(http, TITLE, base, secrets=[login["key"]], headers={"Api-Key": login["key"]})


async def probe(http: Http, login: Login) -> None:
    """Raises Refused or ConnectorError where the address or key is wrong."""
    api = _api(http, login)
    answer = await api.answer("GET", "/groups", [("type", "campaigns")])
    if answer.status == 404:
        raise Refused("url: no Admin API there: write the address of the panel, not of a domain for traffic",
                      field="url")  # fmt: skip
    if answer.status == 402:
        raise Refused("url: the licence of that Keitaro has no Admin API", field="url")
    api.decoded(answer)


async def read(http: Http, login: Login, request: Request) -> AsyncIterator[Part]:
    """Everything there is, then history by day, then click ids of conversions and of the last clicks."""
    api = _api(http, login)
    api.patience = PATIENCE
    reader = _Setup(api)
    yield await reader.read()
    async for rows in _report(api, request):
        for part in days_parts([reader.figures(row, request.currency) for row in rows]):
            yield part
    for path in ("/conversions/log", "/clicks/log"):
        async for rows in _log(api, path, request):
            for part in clicks_parts([click for row in rows if (click := _click(row))]):
                yield part


class _Setup(SetupReader):
    """Entities as they are read, one list after another."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.led_on: dict[str, list[str]] = {}  # campaigns that flows send on to, by campaign

    async def _list(self, path: str) -> list[dict[str, Any]]:
        return self._api.rows(await self._api.get(path), "items")

    async def read(self) -> Setup:
        networks = {text_of(row, "id"): row for row in await self._list("/affiliate_networks")}
        landings = {text_of(row, "id"): row for row in await self._list("/landing_pages")}
        sources = await self._list("/traffic_sources")
        offers = await self._list("/offers")
        campaigns = await self._list("/campaigns")
        gone = await self._list("/campaigns/deleted")
        deleted = {f"campaign:{text_of(row, 'id')}": text_of(row, "name") for row in gone}
        domains = [text_of(row, "name") for row in await self._list("/domains")]
        for name in domains:
            self._warn("domain", name, "not moved by itself: domain add, and its old links answer here")
        campaigns_read = [await self._campaign(row, landings) for row in campaigns]
        self._problems += led_on({text_of(row, "id"): text_of(row, "name") for row in (*gone, *campaigns)}, self.led_on)
        return Setup(
            accounts=tuple(
                TrackerAccount(key=key, name=text_of(row, "name"), note=text_of(row, "notes"))
                for key, row in networks.items()
            ),
            sources=tuple(map(self._source, sources)),
            offers=tuple(filter(None, (self._offer(row, networks) for row in offers))),
            campaigns=tuple(campaigns_read), deleted=deleted, problems=tuple(self._problems),
        )  # fmt: skip

    def _source(self, row: Mapping[str, Any]) -> TrackerSource:
        parameters, macros = {}, {}
        for theirs, parameter in self._api.object(row, "parameters").items():
            if not isinstance(parameter, dict) or not parameter.get("name"):
                continue
            ours = _OURS.get(theirs)
            if ours is None:
                self._warn("source", text_of(row, "name"), f"its parameter {theirs} is kept with clicks as it is")
                continue
            parameters[ours] = str(parameter["name"])
            if parameter.get("placeholder"):
                macros[ours] = str(parameter["placeholder"])
        postback, why = postback_of(text_of(row, "postback_url"), _OUTBOUND)
        if why:
            self._warn("source", text_of(row, "name"), why)
        statuses = tuple(str(word) for word in self._api.values(row, "postback_statuses"))
        return TrackerSource(
            key=text_of(row, "id"), name=text_of(row, "name"), parameters=parameters, macros=macros,
            postback_url=postback, statuses=statuses, note=text_of(row, "notes"),
        )  # fmt: skip

    def _offer(self, row: Mapping[str, Any], networks: Mapping[str, Any]) -> TrackerOffer | None:
        name, kind = text_of(row, "name"), text_of(row, "offer_type") or "external"
        network = networks.get(text_of(row, "affiliate_network_id"), {})
        address = with_query(text_of(row, "action_payload"), text_of(network, "offer_param"))
        if kind != "external" or "://" not in address:
            self._warn("offer", name, f"it is a page or action of Keitaro itself ({kind}): left out")
            return None
        url, unknown = translated(address, MACROS)
        payout = " ".join(filter(None, (
            text_of(row, "payout_type"), text_of(row, "payout_value"), text_of(row, "payout_currency"))))  # fmt: skip
        return TrackerOffer(
            key=text_of(row, "id"), name=name, url=url, unknown=unknown,
            account=text_of(row, "affiliate_network_id"), deal=payout,
            markets=tuple(filter(None, map(country_code, self._api.values(row, "country")))),
            cap=self._api.count(row, "daily_cap") if row.get("conversion_cap_enabled") else None,
            alternative=text_of(row, "alternative_offer_id").removeprefix("0") and text_of(row, "alternative_offer_id"),
            paused=is_off(text_of(row, "state")), note=text_of(row, "notes"),
        )  # fmt: skip

    async def _campaign(self, row: Mapping[str, Any], landings: Mapping[str, Any]) -> TrackerCampaign:
        name, key = text_of(row, "name"), text_of(row, "id")
        streams = self._api.rows(await self._api.get(f"/campaigns/{key}/streams"), "items")
        flow = _Flow(self, name, key, weighted=text_of(row, "type") == "weight")
        for stream in sorted(streams, key=self._order):
            if not is_off(text_of(stream, "state") or "active"):
                flow.add(stream, landings)
        model = LINK if row.get("cost_auto") else _COSTS.get(text_of(row, "cost_type").lower(), NONE)
        cost = self._api.micro(row, "cost_value")
        pages_note = f"Landing pages at Keitaro: {', '.join(dict.fromkeys(flow.landings))}" if flow.landings else ""
        if flow.landings:
            self._warn("campaign", name, "its visitors saw a landing page first, which does not come over: made paused")
        return TrackerCampaign(
            key=key, name=name, aliases=tuple(filter(None, [text_of(row, "alias")])),
            source=text_of(row, "traffic_source_id"), offers=tuple(flow.shares), rules=tuple(flow.rules),
            fallback_url=flow.fallback, cost_model=model if cost or model in {LINK, NONE} else NONE,
            cost=cost if cost and model not in {LINK, NONE} else None, currency=text_of(row, "cost_currency"),
            binding=bool(row.get("bind_visitors")), paused=is_off(text_of(row, "state")) or flow.is_paused,
            note="\n".join(filter(None, (text_of(row, "notes"), pages_note))),
        )  # fmt: skip

    def _order(self, stream: Mapping[str, Any]) -> tuple[int, int]:
        """Forced flows first, then regular ones, then the default: docs.keitaro.io."""
        kinds = {"forced": 0, "regular": 1, "position": 1, "weight": 1, "default": 2}
        return kinds.get(text_of(stream, "type"), 1), self._api.count(stream, "position") or 0

    def figures(self, row: Mapping[str, Any], currency: str) -> DayFigures:
        """A row of the report."""
        from storage.ledger.dates import read_day

        try:
            day = read_day(text_of(row, "day"), "")
        except ValueError as error:
            raise ConnectorError(f"{TITLE}: the report's day: {error}") from None
        count = self._api.count
        return DayFigures(
            day=day, campaign=text_of(row, "campaign_id"), offer=text_of(row, "offer_id"),
            country=country_code(row.get("country_code")), currency=currency, clicks=count(row, "clicks"),
            unique_clicks=count(row, "campaign_unique_clicks"), conversions=count(row, "conversions"),
            revenue=self._api.micro(row, "revenue"), cost=self._api.micro(row, "cost"),
            statuses={_WORD[name]: n for name in _STATUSES if (n := count(row, name))},
        )  # fmt: skip


class _Flow:
    """The flows of a campaign as rules, weights and a fallback."""

    def __init__(self, setup: _Setup, campaign: str, key: str, *, weighted: bool) -> None:
        self._setup, self._campaign, self._key, self._weighted = setup, campaign, key, weighted
        self._api = setup._api
        self.shares: list[Weighted] = []
        self.rules: list[TrackerRule] = []
        self.landings: list[str] = []
        self.fallback = ""

    def _warn(self, why: str) -> None:
        self._setup._warn("campaign", self._campaign, why)

    @property
    def is_paused(self) -> bool:
        """Whether its visitors would be sent past a landing page, or nowhere."""
        return bool(self.landings) or not (self.shares or self.rules or self.fallback)

    def add(self, stream: Mapping[str, Any], landings: Mapping[str, Any]) -> None:
        name = text_of(stream, "name") or text_of(stream, "id")
        for landing in self._api.objects(stream, "landings"):
            row = landings.get(text_of(landing, "landing_id"), {})
            self.landings.append(" ".join(filter(None, (text_of(row, "name"), text_of(row, "action_payload")))))
        kind, conditions = text_of(stream, "type"), self._conditions(stream, name)
        if conditions is None:
            return
        if text_of(stream, "schema") == "redirect" or (text_of(stream, "action_payload") and not stream.get("offers")):
            self._redirect(stream, conditions, name, default=kind == "default")
            return
        weight = (self._api.count(stream, "weight") or 0) if self._weighted and kind == "regular" else 1
        shares = tuple(
            Weighted(text_of(offer, "offer_id"), max(weight, 1) * (self._api.count(offer, "share") or 0))
            for offer in self._api.objects(stream, "offers")
            if not is_off(text_of(offer, "state") or "active")
        )
        if not shares:
            self._warn(f"its flow {name!r} leads to no offer: left out")
        elif conditions:
            self.rules.append(TrackerRule(conditions=conditions, offers=shares))
        elif self._weighted or not self.shares:
            self.shares += shares
        else:
            self._warn(f"its flow {name!r} is never reached, since one before it takes every visitor: left out")

    def _redirect(self, stream: Mapping[str, Any], conditions: Mapping[str, Any], name: str, *, default: bool) -> None:
        url = text_of(stream, "action_payload")
        if text_of(stream, "action_type") == "campaign":
            self._setup.led_on.setdefault(self._key, []).append(url)
        elif "://" in url and not conditions and default and not self.fallback:
            self.fallback = translated(url, MACROS)[0]
        else:
            self._warn(f"its flow {name!r} sends to an address or text and to no offer: left out")

    def _conditions(self, stream: Mapping[str, Any], name: str) -> dict[str, Any] | None:
        """The flow's filters as conditions; None where one has no like here, since without it too many would match."""
        tests: list[dict[str, Any]] = []
        for chosen in self._api.objects(stream, "filters"):
            ours = _CONDITIONS.get(text_of(chosen, "name"))
            payload = chosen.get("payload")
            values = payload if isinstance(payload, list) else [payload]
            plain = [str(value) for value in values if isinstance(value, str | int) and str(value)]
            if ours is None or not plain:
                self._warn(f"its flow {name!r} has a filter {text_of(chosen, 'name')}, unknown here: left out")
                return None
            if ours == "country":
                plain = [country_code(value) or value for value in plain]
            test = {ours: plain}
            tests.append({"not": test} if text_of(chosen, "mode") == "reject" else test)
        if not tests:
            return {}
        return tests[0] if len(tests) == 1 else {"any" if stream.get("filter_or") else "all": tests}


_GROUPS = ("day", "campaign_id", "offer_id", "country_code")
_METRICS = ("clicks", "campaign_unique_clicks", "conversions", *_STATUSES, "cost", "revenue")


async def _report(api: Api, request: Request) -> AsyncIterator[list[dict[str, Any]]]:
    """Rows by day, campaign, offer and country. Newer versions call the lists `dimensions` and `measures`."""
    names = ("dimensions", "measures")
    answer = await api.answer("POST", "/report/build", (), _query(request, names, 0, limit=1))
    if answer.status in {400, 406, 422}:
        names = ("grouping", "metrics")
    else:
        api.decoded(answer)

    async def ask(number: int) -> list[dict[str, Any]]:
        return api.rows(await api.post("/report/build", _query(request, names, number * PAGE)), "rows")

    async for rows in pages(ask, PAGE):
        yield rows


def _query(request: Request, names: tuple[str, str], offset: int, *, limit: int = PAGE) -> dict[str, Any]:
    return {
        "range": _range(request), names[0]: list(_GROUPS), names[1]: list(_METRICS), "filters": [],
        "sort": [{"name": name, "order": "ASC"} for name in _GROUPS], "limit": limit, "offset": offset,
    }  # fmt: skip


def _range(request: Request, first: str = "") -> dict[str, str]:
    return {
        "from": first or request.first.isoformat(), "to": request.last.isoformat(), "timezone": request.timezone
    }  # fmt: skip


#: An unknown column fails the whole request, and versions differ: these are tried one after another.
_LOG_COLUMNS = (
    ("sub_id", "click_datetime", "campaign_id", "offer_id", "country_code", "external_id", "original_status", "status"),
    ("sub_id", "datetime", "campaign_id", "offer_id", "country_code", "external_id", "status"),
    ("sub_id", "campaign_id", "offer_id", "status"),
)
_CLICK_COLUMNS = (
    ("sub_id", "datetime", "campaign_id", "offer_id", "country_code", "external_id"),
    ("sub_id", "datetime", "campaign_id", "offer_id"),
)


async def _log(api: Api, path: str, request: Request) -> AsyncIterator[list[dict[str, Any]]]:
    from datetime import timedelta

    of_clicks = path.startswith("/clicks")
    if of_clicks and request.click_days == 0:
        return
    since = max(request.first, request.last - timedelta(days=request.click_days - 1)).isoformat() if of_clicks else ""

    def query(columns: tuple[str, ...], offset: int) -> dict[str, Any]:
        return {"range": _range(request, since), "limit": PAGE, "offset": offset, "columns": list(columns),
                "filters": []}  # fmt: skip

    for columns in _CLICK_COLUMNS if of_clicks else _LOG_COLUMNS:
        answer = await api.answer("POST", path, (), query(columns, 0))
        if answer.status != 400:
            break
    api.decoded(answer)

    async def ask(number: int) -> list[dict[str, Any]]:
        return api.rows(await api.post(path, query(columns, number * PAGE)), "rows")

    async for rows in pages(ask, PAGE):
        yield rows


def _click(row: Mapping[str, Any]) -> OldClick | None:
    if not text_of(row, "sub_id") or not text_of(row, "campaign_id"):
        return None
    return OldClick(
        click=text_of(row, "sub_id"), campaign=text_of(row, "campaign_id"), offer=text_of(row, "offer_id"),
        at=instant(text_of(row, "click_datetime", "datetime")), country=country_code(row.get("country_code")),
        source_click=text_of(row, "external_id"), status=text_of(row, "original_status", "status"),
    )  # fmt: skip

"""Binom 2: `/public/api/v1` of the team's own tracker.

By docs.binom.org/api-v2.php and by answers and requests of public clients; which groupings there are was not found in
writing, so history is asked day by day. Binom 1 has no documented lists: its tables go through `import csv`.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from connectors.http import Http
from connectors.trackers.api import (
    PATIENCE,
    Api,
    Login,
    Request,
    SetupReader,
    base_url,
    first_of,
    led_on,
    pages,
    postback_of,
    text_of,
)
from connectors.trackers.places import country_code
from connectors.trackers.tables import clicks_parts, days_parts, instant
from storage.ledger.cost_models import CPA, CPM, FIXED, LINK, NONE, REVSHARE, UNIQUE
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.imports.macros import subs, translated
from storage.ledger.imports.tracker import (
    DayFigures,
    Days,
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

TITLE = "Binom"
PAGE = 1_000
MACROS = {
    **subs("t#"), **subs("token_#"),
    "clickid": "click_id", "externalid": "source_click_id", "country": "country", "geo": "country",
    "campaign_name": "campaign", "offer_name": "offer", "trafficsource": "source",
}  # fmt: skip
_CONDITIONS = {
    "country": "country", "city": "city", "region": "region", "language": "language", "device_type": "device",
    "os_and_version": "os", "browser_and_version": "browser", "ip": "ip", "referer": "referrer",
    **subs("token_#"),
}  # fmt: skip
#: Tokens in a postback to a source: docs.binom.org/conv-to-source.php; `payout` is inferred.
_OUTBOUND = {
    **subs("t#"), **subs("token_#"),
    "externalid": "click_id", "external_id": "click_id", "clickid": "our_click_id", "payout": "payout",
    "campaign_name": "campaign",
}  # fmt: skip
_COSTS = {"cpc": FIXED, "cpm": CPM, "cpa": CPA, "cpuc": UNIQUE, "revshare": REVSHARE}
_OWN = {"externalid": "click_id", "cost": "cost", "e": "click_id"}


def _api(http: Http, login: Login) -> Api:
    return Api(http, TITLE, f"{base_url(login['url'])}/public/api/v1", secrets=[login["key"]],
               headers={"api-key": login["key"]})  # fmt: skip


async def probe(http: Http, login: Login) -> None:
    """Raises Refused or ConnectorError where the address or key is wrong."""
    api = _api(http, login)
    answer = await api.answer("GET", "/offer/affiliate_network/list")
    if answer.status == 404:
        raise Refused("url: Binom 2 is not at this address (404). Binom 1 has no API that lists its offers: send its "
                      "tables with import csv", field="url")  # fmt: skip
    api.decoded(answer)


async def read(http: Http, login: Login, request: Request) -> AsyncIterator[Part]:
    """Everything there is, then history day by day, then click ids of conversions."""
    api = _api(http, login)
    api.patience = PATIENCE
    reader = _Reader(api, request)
    setup = await reader.setup()
    yield setup
    for day in request.days:
        async for rows in reader.day(day):
            for part in days_parts(rows):
                yield part
    async for conversions in reader.conversions():
        yield Days(tuple(conversions.statuses))
        for part in clicks_parts(conversions.clicks):
            yield part


class _Conversions:
    """A page of the log of conversions: their click ids, and how many of each status on which day."""

    def __init__(self) -> None:
        self.statuses: list[DayFigures] = []
        self.clicks: list[OldClick] = []


class _Reader(SetupReader):
    def __init__(self, api: Api, request: Request) -> None:
        super().__init__(api)
        self._request = request
        self._led_on: dict[str, list[str]] = {}  # campaigns that paths send on to, by campaign
        self._ids: dict[str, dict[str, str]] = {"campaign": {}, "offer": {}}

    async def _stats(self, noun: str) -> list[dict[str, Any]]:
        """All entities of a kind with what `/info` says of them, deleted ones included."""

        async def ask(number: int) -> list[dict[str, Any]]:
            params = [
                ("datePreset", "all_time"), ("timezone", self._request.timezone), ("sortColumn", "id"),
                ("sortType", "asc"), ("limit", str(PAGE)), ("offset", str(number * PAGE)),
            ]  # fmt: skip
            return self._api.rows(await self._api.get(f"/info/{noun}", params), "data", "items", "rows")

        return [row async for rows in pages(ask, PAGE) for row in rows]

    async def setup(self) -> Setup:
        api = self._api
        networks = api.rows(await api.get("/offer/affiliate_network/list"), "data", "items")
        sources = api.rows(await api.get("/traffic_source/list/filtered"), "data", "items")
        offers, campaigns = await self._stats("offer"), await self._stats("campaign")
        by_name = {text_of(row, "name"): text_of(row, "id") for row in networks}
        deleted: dict[str, str] = {}
        for kind, rows in (("offer", offers), ("campaign", campaigns)):
            deleted |= {f"{kind}:{text_of(row, 'id')}": text_of(row, "name") for row in rows if _is_deleted(row)}
            self._ids[kind] = {text_of(row, "name"): text_of(row, "id") for row in rows}
        links = {text_of(row, "id"): text_of(row, "link") for row in campaigns}
        details = {
            text_of(row, "id"): await api.get(f"/campaign/{text_of(row, 'id')}")
            for row in campaigns
            if not _is_deleted(row)
        }
        parameters = self._parameters(details, links)
        names = {text_of(row, "id"): text_of(row, "name") for row in sources}
        postbacks = self._postbacks(details, names)
        campaigns_read = tuple([self._campaign(key, detail, links[key]) for key, detail in details.items()])
        self._problems += led_on({text_of(row, "id"): text_of(row, "name") for row in campaigns}, self._led_on)
        return Setup(
            accounts=tuple(TrackerAccount(key=key, name=name) for name, key in by_name.items()),
            sources=tuple(
                TrackerSource(
                    key=key, name=text_of(row, "name"), postback_url=postbacks.get(key, ""), **parameters.get(key, {})
                )
                for row in sources
                if (key := text_of(row, "id"))
            ),
            offers=tuple(self._offer(row, by_name) for row in offers if not _is_deleted(row)),
            campaigns=campaigns_read,
            deleted=deleted, problems=tuple(self._problems),
        )  # fmt: skip

    def _parameters(self, details: Mapping[str, Any], links: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """What sources put on links: by the link of one of their campaigns, since the API lists no tokens."""
        found: dict[str, dict[str, Any]] = {}
        for key, detail in details.items():
            source = text_of(detail, "trafficSourceId") if isinstance(detail, dict) else ""
            if not source or source in found:
                continue
            parameters, macros, number = {}, {}, 0
            for name, macro in parse_qsl(urlsplit(links.get(key, "")).query, keep_blank_values=True):
                if name == "key":
                    continue
                ours = _OWN.get(name.lower())
                if ours is None or ours in parameters:
                    number += 1
                    ours = f"sub{number}" if number <= 10 else ""
                if ours:
                    parameters[ours], macros[ours] = name, macro
            found[source] = {"parameters": parameters, "macros": {k: v for k, v in macros.items() if v}}
        return found

    def _postbacks(self, details: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
        """Postbacks to sources, read from their campaigns' own postback: the list of sources has none."""
        of_source: dict[str, dict[str, list[str]]] = {}
        for detail in details.values():
            if isinstance(detail, dict):
                urls = of_source.setdefault(text_of(detail, "trafficSourceId"), {})
                url = text_of(self._api.object(detail, "campaignSettings"), "s2sPostback")
                urls.setdefault(url, []).append(text_of(detail, "name"))
        postbacks: dict[str, str] = {}
        for key, name in names.items():
            urls = of_source.get(key, {})
            known = {url: campaigns for url, campaigns in urls.items() if url}
            if not known:
                self._warn("source", name, "a postback of the source itself is not in Binom's answers: if it has one, "
                           "source edit writes it with our macros")  # fmt: skip
            elif len(urls) > 1:
                some = ", ".join(campaign for campaigns in known.values() for campaign in campaigns)
                self._warn("source", name, f"not all of its campaigns send it the same (a postback is in {some}): left "
                           "out, source edit")  # fmt: skip
            else:
                postbacks[key], why = postback_of(next(iter(known)), _OUTBOUND)
                if why:
                    self._warn("source", name, why)
        return postbacks

    def _offer(self, row: Mapping[str, Any], networks: Mapping[str, str]) -> TrackerOffer:
        url, unknown = translated(text_of(row, "url"), MACROS)
        payout = row.get("payout")
        amount = text_of(payout, "money", "amount") if isinstance(payout, dict) else text_of(row, "payout")
        return TrackerOffer(
            key=text_of(row, "id"), name=text_of(row, "name"), url=url, unknown=unknown,
            account=networks.get(text_of(row, "affiliate_network"), ""), deal=amount and f"payout {amount}",
            markets=tuple(filter(None, map(country_code, text_of(row, "country").split(",")))),
        )  # fmt: skip

    def _campaign(self, key: str, detail: Any, link: str) -> TrackerCampaign:
        if not isinstance(detail, dict):
            raise ConnectorError(f"{TITLE}: expected an object for campaign {key}")
        name = text_of(detail, "name")
        settings = self._api.object(detail, "campaignSettings")
        if append := text_of(settings, "appendToOfferUrl"):
            self._warn("campaign", name, f"what it appends to every offer's address is left out: {append}")
        rotation = detail.get("customRotation")
        if not isinstance(rotation, dict):
            self._warn("campaign", name, f"it uses the shared rotation {text_of(detail, 'rotationId')}: made paused, "
                       "without offers")  # fmt: skip
            rotation = {}
        landings: list[str] = []
        shares = self._shares(key, name, self._api.objects(rotation, "defaultPaths"), landings)
        rules = []
        for rule in self._api.objects(rotation, "rules"):
            targets = self._shares(key, name, self._api.objects(rule, "paths"), landings)
            conditions = self._conditions(name, rule)
            if targets and conditions:
                rules.append(TrackerRule(conditions=conditions, offers=targets))
        cost = self._api.object(detail, "cost")
        model = LINK if cost.get("isAuto") else _COSTS.get(text_of(cost, "model").lower(), NONE)
        money = self._api.object(cost, "money")
        amount = self._api.micro(money, "amount")
        if landings:
            self._warn("campaign", name, "its visitors saw a landing page first, which does not come over: made paused")
        word = text_of(detail, "key") or dict(parse_qsl(urlsplit(link).query)).get("key", "")
        return TrackerCampaign(
            key=key, name=name, aliases=(word,) if word else (), source=text_of(detail, "trafficSourceId"),
            offers=shares, rules=tuple(rules), cost_model=model if amount or model == LINK else NONE,
            cost=amount if amount and model != LINK else None, currency=text_of(money, "currency"),
            paused=bool(landings) or not (shares or rules),
            note=f"Landing pages at Binom: {', '.join(dict.fromkeys(landings))}" if landings else "",
        )  # fmt: skip

    def _shares(
        self, key: str, campaign: str, paths: list[dict[str, Any]], landings: list[str]
    ) -> tuple[Weighted, ...]:
        """Offers of all paths, the path's weight times the offer's."""
        shares = []
        for path in paths:
            if not path.get("enabled", True):
                continue
            landings += [text_of(landing, "name", "landingId") for landing in self._api.objects(path, "landings")]
            for offer in self._api.objects(path, "offers"):
                offer_key = text_of(offer, "offerId")
                if not offer.get("enabled", True):
                    continue
                if offer_key in {"", "0"}:
                    if (other := text_of(offer, "campaignId")) not in {"", "0"}:
                        self._led_on.setdefault(key, []).append(other)
                    else:
                        self._warn("campaign", campaign, "a path leads to a bare address and no offer: left out")
                    continue
                weight = (self._api.count(path, "weight") or 1) * (self._api.count(offer, "weight") or 0)
                shares.append(Weighted(offer_key, weight))
        return tuple(shares)

    def _conditions(self, campaign: str, rule: Mapping[str, Any]) -> dict[str, Any]:
        """A rule's criteria as conditions; empty where one has no like here."""
        tests: list[dict[str, Any]] = []
        for criterion in self._api.objects(rule, "criteria"):
            kind = text_of(criterion, "type", "name")
            ours, values = _CONDITIONS.get(kind), self._api.values(criterion, "values")
            plain = [text_of(value, "value", "name") if isinstance(value, dict) else str(value) for value in values]
            if ours is None or not all(plain) or not plain:
                self._warn("campaign", campaign, f"a rule asks for {kind or 'something'}, unknown here: left out")
                return {}
            if ours == "country":
                plain = [country_code(value) or value for value in plain]
            test = {ours: plain}
            excludes = text_of(criterion, "operator", "condition").lower() in {"is_not", "not", "exclude", "isnot"}
            tests.append({"not": test} if excludes else test)
        return {} if not tests else tests[0] if len(tests) == 1 else {"all": tests}

    async def day(self, day: date) -> AsyncIterator[list[DayFigures]]:
        """Figures of one day; rows of the lowest level, each under those above it."""
        above = {1: "", 2: ""}

        async def ask(number: int) -> list[dict[str, Any]]:
            params = [
                ("groupings[]", "campaign"), ("groupings[]", "offer"), ("groupings[]", "geoCountry"),
                ("datePreset", "custom_time"), ("dateFrom", f"{day} 00:00:00"), ("dateTo", f"{day} 23:59:59"),
                ("timezone", self._request.timezone), ("sortColumn", "id"), ("sortType", "asc"),
                ("limit", str(PAGE)), ("offset", str(number * PAGE)),
            ]  # fmt: skip
            return self._api.rows(await self._api.get("/report/campaign", params), "report", "data")

        async for rows in pages(ask, PAGE):
            figures = []
            for row in rows:
                level = self._api.count(row, "level")
                if level is None or level not in {1, 2, 3}:
                    raise ConnectorError(f"{TITLE}: expected rows of the levels 1 to 3, got {text_of(row, 'level')!r}")
                if level < 3:
                    kind = "campaign" if level == 1 else "offer"
                    above[level] = text_of(row, "entity_id", "id") or self._id(kind, text_of(row, "name"))
                else:
                    figures.append(self._figures(row, day, above[1], above[2]))
            yield figures

    def _id(self, kind: str, name: str) -> str:
        return self._ids[kind].get(name, name)

    def _figures(self, row: Mapping[str, Any], day: date, campaign: str, offer: str) -> DayFigures:
        count, micro = self._api.count, self._api.micro
        return DayFigures(
            day=day, campaign=campaign, offer="" if offer == "0" else offer, country=country_code(row.get("name")),
            currency=self._request.currency, clicks=count(row, "clicks"), unique_clicks=count(row, "unique_clicks"),
            conversions=count(row, "leads"), revenue=micro(row, "revenue"), cost=micro(row, "cost"),
        )  # fmt: skip

    async def conversions(self) -> AsyncIterator[_Conversions]:
        """The log of conversions, a page at a time."""

        async def ask(number: int) -> list[dict[str, Any]]:
            params = [
                ("datePreset", "custom_time"), ("dateFrom", f"{self._request.first} 00:00:00"),
                ("dateTo", f"{self._request.last} 23:59:59"), ("timezone", self._request.timezone),
                ("limit", str(PAGE)), ("offset", str(number * PAGE)),
            ]  # fmt: skip
            return self._api.rows(await self._api.get("/conversions/log", params), "data", "report", "items")

        async for rows in pages(ask, PAGE):
            page = _Conversions()
            for row in rows:
                self._add(page, row)
            yield page

    def _add(self, page: _Conversions, row: Mapping[str, Any]) -> None:
        campaign = text_of(row, "campaign_id") or self._id("campaign", _name(row.get("campaign")))
        offer = text_of(row, "offer_id") or self._id("offer", _name(row.get("offer")))
        status, country = text_of(row, "status"), country_code(_name(row.get("geo")))
        converted, clicked = instant(text_of(row, "conversed_at")), instant(text_of(row, "clicked_at"))
        if text_of(row, "id"):
            page.clicks.append(OldClick(
                click=text_of(row, "id"), campaign=campaign, offer=offer, at=clicked, country=country, status=status
            ))  # fmt: skip
        if status and converted is not None and converted.date() <= self._request.last + timedelta(days=1):
            page.statuses.append(DayFigures(
                day=converted.date(), campaign=campaign, offer=offer, country=country,
                currency=self._request.currency, statuses={status: 1},
            ))  # fmt: skip


def _name(value: Any) -> str:
    return text_of(value, "name", "code") if isinstance(value, dict) else str(value or "")


def _is_deleted(row: Mapping[str, Any]) -> bool:
    return str(first_of(row, "is_deleted", "isDeleted")).lower() in {"1", "true"}

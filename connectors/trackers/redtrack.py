"""RedTrack, api.redtrack.io.

By the vendor's Swagger file (as kept at github.com/pijusz/mcp-redtrack) and help.redtrack.io. Inferred: names of the
members of a report's rows, and that `trackback_url` is the tracking link. No answer of a real account was seen.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from connectors.http import Http
from connectors.trackers.api import PATIENCE, Api, Login, Request, SetupReader, first_of, pages, text_of
from connectors.trackers.places import country_code
from connectors.trackers.tables import clicks_parts, days_parts, instant, is_off
from storage.ledger.cost_models import CPA, CPM, FIXED, LINK, NONE, REVSHARE
from storage.ledger.dates import read_day
from storage.ledger.errors import ConnectorError
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

TITLE = "RedTrack"
BASE = "https://api.redtrack.io"
PAGE = 1_000
TYPES = tuple(f"type{n}" for n in range(1, 41))
MACROS = {
    **subs("sub#"), "clickid": "click_id", "ref_id": "source_click_id", "refid": "source_click_id",
    "country": "country", "campaignname": "campaign", "offername": "offer", "sourcename": "source",
}  # fmt: skip
_COSTS = {"cpc": FIXED, "cpm": CPM, "cpa": CPA, "revshare": REVSHARE, "auto": LINK}
_CONDITIONS = {
    "country": "country", "region": "region", "city": "city", "os": "os", "browser": "browser", "device_type": "device",
    "ip": "ip", "languages": "language", "referrer": "referrer",
}  # fmt: skip


def _api(http: Http, login: Login) -> Api:
    """20 requests a minute, by its documentation of reports."""
    base = login.get("url") or BASE
    return Api(http, TITLE, base, secrets=[login["key"]], params=[("api_key", login["key"])],
               per_second=20.0 if login.get("url") else 0.33)  # fmt: skip


async def probe(http: Http, login: Login) -> None:
    """Raises Refused or ConnectorError where the key is wrong."""
    await _api(http, login).get("/networks", [("per", "1"), ("page", "1")])


async def read(http: Http, login: Login, request: Request) -> AsyncIterator[Part]:
    """Everything there is, then history, then click ids of conversions and of the last clicks."""
    api = _api(http, login)
    api.patience = PATIENCE
    yield await _Reader(api).setup()
    async for rows in _paged(api, "/report", [
        ("group", "date,campaign,offer,country"), ("date_from", request.first.isoformat()),
        ("date_to", request.last.isoformat()), ("timezone", request.timezone),
    ]):  # fmt: skip
        for part in days_parts([_figures(api, row, request) for row in rows]):
            yield part
    clicked_since = max(request.first, request.last - timedelta(days=max(request.click_days, 1) - 1))
    for path, since in (("/conversions", request.first), ("/tracks", clicked_since)):
        if path == "/tracks" and not request.click_days:
            continue
        dates = [("date_from", since.isoformat()), ("date_to", request.last.isoformat())]
        async for rows in _paged(api, path, dates):
            for part in clicks_parts([click for row in rows if (click := _click(row))]):
                yield part


async def _paged(api: Api, path: str, params: list[tuple[str, str]]) -> AsyncIterator[list[dict[str, Any]]]:
    async def ask(number: int) -> list[dict[str, Any]]:
        page = [*params, ("per", str(PAGE)), ("page", str(number + 1))]
        return api.rows(await api.get(path, page), "items", "data")

    async for rows in pages(ask, PAGE):
        yield rows


class _Reader(SetupReader):
    async def _list(self, path: str) -> list[dict[str, Any]]:
        return [row async for rows in _paged(self._api, path, []) for row in rows]

    async def setup(self) -> Setup:
        networks, sources = await self._list("/networks"), await self._list("/sources")
        offers, campaigns = await self._list("/offers"), await self._list("/campaigns")
        ids = {text_of(row, "title", "name"): text_of(row, "id") for row in networks}
        return Setup(
            accounts=tuple(
                TrackerAccount(key=text_of(row, "id"), name=_title(row), currency=text_of(row, "currency"))
                for row in networks
            ),
            sources=tuple(map(self._source, sources)),
            offers=tuple(self._offer(row, ids) for row in offers),
            campaigns=tuple([await self._campaign(row) for row in campaigns]), problems=tuple(self._problems),
        )  # fmt: skip

    def _source(self, row: Mapping[str, Any]) -> TrackerSource:
        parameters, macros = {}, {}
        for ours, name in (("click_id", "external_id"), ("cost", "cost_id")):
            if isinstance(row.get(name), str) and row[name]:
                macros[ours] = row[name]
        for n, sub in enumerate(self._api.values(row, "subs"), 1):
            if isinstance(sub, dict) and n <= 10:
                parameters[f"sub{n}"] = f"sub{n}"
                if value := text_of(sub, "value"):
                    macros[f"sub{n}"] = value
        parameters |= {"click_id": "ref_id"} if "click_id" in macros else {}
        if url := text_of(row, "postback_url"):
            why = f"its postback to {urlsplit(url).netloc} is left out: source edit writes it with our macros"
            self._warn("source", _title(row), why)
        return TrackerSource(key=text_of(row, "id"), name=_title(row), parameters=parameters,
                             macros=macros)  # fmt: skip

    def _offer(self, row: Mapping[str, Any], networks: Mapping[str, str]) -> TrackerOffer:
        url, unknown = translated(text_of(row, "url"), MACROS)
        payment = row.get("payment")
        amount = text_of(payment, "amount") if isinstance(payment, dict) else ""
        return TrackerOffer(
            key=text_of(row, "id"), name=_title(row), url=url, unknown=unknown,
            account=text_of(row, "network_id") or networks.get(text_of(row, "network_title"), ""),
            deal=amount and f"payout {amount}", cap=self._api.count(row, "cap") or None,
            markets=tuple(filter(None, map(country_code, self._api.values(row, "country_codes")))),
            paused=is_off(text_of(row, "status") or "1"),
        )  # fmt: skip

    async def _campaign(self, row: Mapping[str, Any]) -> TrackerCampaign:
        if "streams" not in row:
            row = self._api.object(await self._api.get(f"/campaigns/{text_of(row, 'id')}"))
        name = text_of(row, "title", "name")
        shares: list[Weighted] = []
        rules: list[TrackerRule] = []
        landings: list[str] = []
        for entry in self._api.objects(row, "streams"):
            stream = self._api.object(entry, "stream") or entry
            landings += [text_of(landing, "title", "name", "id") for landing in self._api.objects(stream, "landings")]
            weight = self._api.count(entry, "weight") or 1
            targets = tuple(
                Weighted(text_of(offer, "id"), weight * (self._api.count(offer, "weight") or 1))
                for offer in self._api.objects(stream, "offers")
            )
            conditions = self._conditions(name, self._api.object(stream, "filters"))
            if conditions is None or not targets:
                continue
            if conditions:
                rules.append(TrackerRule(conditions=conditions, offers=targets))
            else:
                shares += targets
        if landings:
            self._warn("campaign", name, "its visitors saw a landing page first, which does not come over: made paused")
        model = _COSTS.get(text_of(row, "cost_model").lower(), NONE)
        amount = self._api.micro(row, "cpc", "cost")
        key = text_of(row, "id")
        word = urlsplit(text_of(row, "trackback_url")).path.strip("/").split("/")[0]
        return TrackerCampaign(
            key=key, name=name, aliases=tuple(dict.fromkeys(filter(None, (word, key)))),
            source=text_of(row, "source_id"), offers=tuple(shares), rules=tuple(rules),
            cost_model=model if amount or model in {LINK, NONE} else NONE,
            cost=amount if amount and model not in {LINK, NONE} else None,
            paused=is_off(text_of(row, "status") or "1") or bool(landings) or not (shares or rules),
            note=f"Landing pages at RedTrack: {', '.join(dict.fromkeys(landings))}" if landings else "",
        )  # fmt: skip

    def _conditions(self, campaign: str, filters: Mapping[str, Any]) -> dict[str, Any] | None:
        """A stream's filters as conditions; None where one has no like here, since without it too many would match."""
        tests: list[dict[str, Any]] = []
        for kind, asked in filters.items():
            if not isinstance(asked, dict) or not asked.get("active"):
                continue
            ours, values = _CONDITIONS.get(kind), [str(value) for value in self._api.values(asked, "values")]
            if ours is None or not values:
                self._warn("campaign", campaign, f"a stream of it asks for {kind}, unknown here: left out")
                return None
            test = {ours: [country_code(value) or value for value in values] if ours == "country" else values}
            tests.append({"not": test} if asked.get("exclude") else test)
        return {} if not tests else tests[0] if len(tests) == 1 else {"all": tests}


def _title(row: Mapping[str, Any]) -> str:
    return text_of(row, "title", "name")


def _figures(api: Api, row: Mapping[str, Any], request: Request) -> DayFigures:
    try:
        day = read_day(text_of(row, "date", "day")[:10], "")
    except ValueError as error:
        raise ConnectorError(f"{TITLE}: the report's date: {error}") from None
    count, micro = api.count, api.micro
    return DayFigures(
        day=day, campaign=text_of(row, "campaign_id", "campaign"), offer=text_of(row, "offer_id", "offer"),
        country=country_code(first_of(row, "country_code", "country")), currency=request.currency,
        clicks=count(row, "clicks"), unique_clicks=count(row, "unique_clicks"), conversions=count(row, "conversions"),
        revenue=micro(row, "revenue"), cost=micro(row, "cost"),
        statuses={name: n for name in TYPES if (n := count(row, name))},
    )  # fmt: skip


def _click(row: Mapping[str, Any]) -> OldClick | None:
    if not text_of(row, "clickid") or not text_of(row, "campaign_id"):
        return None
    return OldClick(
        click=text_of(row, "clickid"), campaign=text_of(row, "campaign_id"), offer=text_of(row, "offer_id"),
        at=instant(text_of(row, "track_time", "created_at")),
        country=country_code(first_of(row, "country_code", "country")),
        source_click=text_of(row, "external_id", "ref_id"), status=text_of(row, "type", "event"),
    )  # fmt: skip

"""Answers of other trackers' APIs, constructed by their public documentation: no recording of a real installation.

Each is a function of a request, as a server on loopback answers it, and holds the same three days of one campaign.
"""

from typing import Any

import msgspec

from tests.connectors.web import Answering, Request, answer

KEY = "k3y-of-the-tracker"


def _json(content: Any, **more: Any) -> bytes:
    return answer(msgspec.json.encode(content), **more)


def keitaro(*, busy: int = 0) -> Answering:
    """Version 9 names the lists of a report `grouping` and `metrics`; the first `busy` requests are told to wait."""
    waiting = [busy]
    lists: dict[str, Any] = {
        "/groups": [],
        "/affiliate_networks": [{"id": 3, "name": "Lucky Partners", "offer_param": "sub1={subid}", "notes": "Malta"}],
        "/landing_pages": [{"id": 5, "name": "Quiz", "action_payload": "https://quiz.example.test/"}],
        "/traffic_sources": [{
            "id": 2, "name": "PushHouse", "postback_url": "https://push.example.test/pb?c={external_id}&p={revenue}",
            "postback_statuses": ["lead", "sale"], "parameters": {
                "external_id": {"name": "clickid", "placeholder": "{click_id}", "alias": ""},
                "sub_id_1": {"name": "zone", "placeholder": "{zone}", "alias": ""},
                "keyword": {"name": "kw", "placeholder": "{kw}", "alias": ""},
            },
        }],
        "/offers": [
            {"id": 9, "name": "Lucky Star DE", "action_payload": "https://lucky.example.test/?b=1&geo={country}",
             "affiliate_network_id": 3, "payout_value": "80", "payout_currency": "EUR", "payout_type": "CPA",
             "country": ["DE", "AT"], "state": "active", "alternative_offer_id": 10},
            {"id": 10, "name": "Wild Win", "action_payload": "https://wild.example.test/?s={subid}&x={visitor_code}",
             "affiliate_network_id": 0, "country": [], "state": "active", "alternative_offer_id": 9},
            {"id": 11, "name": "Local page", "offer_type": "local", "action_payload": "", "country": []},
        ],
        "/campaigns": [
            {"id": 4, "alias": "Xy7Zk2", "type": "position", "name": "Push DE", "state": "active", "cost_type": "CPC",
             "cost_value": "0.05", "cost_currency": "EUR", "traffic_source_id": 2, "bind_visitors": "slo"},
            {"id": 7, "alias": "quiz", "type": "position", "name": "Quiz", "state": "active", "cost_auto": True,
             "traffic_source_id": 99},
        ],
        "/campaigns/deleted": [{"id": 5, "name": "Old one"}],
        "/campaigns/4/streams": [
            {"id": 1, "type": "regular", "position": 1, "schema": "landings", "name": "Austria", "state": "active",
             "filters": [{"name": "country", "mode": "accept", "payload": ["AT"]}],
             "offers": [{"offer_id": 10, "share": 100, "state": "active"}]},
            {"id": 2, "type": "regular", "position": 2, "schema": "landings", "name": "Fresh", "state": "active",
             "filters": [{"name": "uniqueness", "mode": "accept", "payload": {"method": "ip"}}],
             "offers": [{"offer_id": 10, "share": 100, "state": "active"}]},
            {"id": 3, "type": "default", "position": 3, "schema": "landings", "name": "Rest", "state": "active",
             "filters": [], "offers": [{"offer_id": 9, "share": 75, "state": "active"},
                                       {"offer_id": 10, "share": 25, "state": "active"}]},
        ],
        "/campaigns/7/streams": [
            {"id": 4, "type": "regular", "position": 1, "schema": "landings", "state": "active", "filters": [],
             "landings": [{"landing_id": 5, "share": 100}], "offers": [{"offer_id": 9, "share": 100}]},
        ],
        "/domains": [{"id": 1, "name": "go.example.test"}],
    }  # fmt: skip
    report = [
        {"day": "2026-10-01", "campaign_id": 4, "offer_id": 9, "country_code": "DE", "clicks": 812,
         "campaign_unique_clicks": 780, "conversions": 53, "leads": 41, "sales": 9, "rejected": 1, "rebills": 2,
         "cost": "40.60", "revenue": "720.00"},
        {"day": "2026-10-02", "campaign_id": 4, "offer_id": 10, "country_code": "AT", "clicks": 100,
         "campaign_unique_clicks": 90, "conversions": 4, "leads": 3, "sales": 1, "rejected": 0, "rebills": 0,
         "cost": "5.00", "revenue": "80.50"},
        {"day": "2026-10-02", "campaign_id": 5, "offer_id": 9, "country_code": "DE", "clicks": 10,
         "campaign_unique_clicks": 10, "conversions": 0, "leads": 0, "sales": 0, "rejected": 0, "rebills": 0,
         "cost": "0", "revenue": "0"},
    ]  # fmt: skip
    log = [
        {"sub_id": "2ABcd9KeitaroClick", "campaign_id": 4, "offer_id": 9, "status": "lead", "original_status": "reg",
         "click_datetime": "2026-10-01 10:00:00", "country_code": "DE", "external_id": "ph-77"},
    ]  # fmt: skip

    def answering(request: Request) -> bytes:
        if waiting[0] > 0:
            waiting[0] -= 1
            return answer("", status=429, headers={"Retry-After": "0"})
        if request.headers.get("api-key") != KEY:
            return answer("", status=401)
        path = request.path.removeprefix("/admin_api/v1")
        if path == "/report/build":
            asked = msgspec.json.decode(request.body)
            if "grouping" not in asked:
                return answer('{"error": "unknown key"}', status=400)
            return _json({"rows": report[asked["offset"] : asked["offset"] + asked["limit"]], "total": len(report)})
        if path in {"/conversions/log", "/clicks/log"}:
            return _json({"rows": log if path.startswith("/conv") else [], "total": 1})
        return _json(lists[path]) if path in lists else answer("", status=404)

    return answering


def binom(postback: str | None = "https://push.example.test/pb?c={externalid}&p={payout}") -> Answering:
    """Numbers are text with commas; a day's report has three levels. `postback` is the campaign's to its source."""
    details: dict[str, Any] = {
        "name": "Push DE", "key": "bk1", "trafficSourceId": 2, "campaignSettings": {"s2sPostback": postback}, "cost": {
            "model": "CPC", "isAuto": False, "money": {"amount": "0.05", "currency": "EUR"}},
        "customRotation": {
            "defaultPaths": [{"id": 1, "name": "p", "enabled": True, "weight": 100, "landings": [], "offers": [
                {"offerId": 9, "enabled": True, "weight": 75}, {"offerId": 10, "enabled": True, "weight": 25},
                {"offerId": 0, "campaignId": 3, "enabled": True, "weight": 5}]}],
            "rules": [{"name": "AT", "criteria": [{"type": "country", "values": ["Austria"]}], "paths": [
                {"enabled": True, "weight": 1, "landings": [], "offers": [{"offerId": 10, "weight": 1}]}]}],
        },
    }  # fmt: skip
    lists: dict[str, Any] = {
        "/offer/affiliate_network/list": [{"id": 3, "name": "Lucky Partners"}],
        "/traffic_source/list/filtered": [{"id": 2, "name": "PushHouse"}],
        "/info/offer": [
            {"id": 9, "name": "Lucky Star DE", "url": "https://lucky.example.test/?c={clickid}&z={t1}",
             "country": "DE", "affiliate_network": "Lucky Partners", "payout": {"money": "80", "isAuto": False}},
            {"id": 10, "name": "Wild Win", "url": "https://wild.example.test/?c={clickid}", "country": "",
             "affiliate_network": ""},
        ],
        "/info/campaign": [{"id": 4, "name": "Push DE",
                            "link": "https://go.example.test/click?key=bk1&zone={zone}&e={click_id}"}],
        "/campaign/4": details,
        "/conversions/log": [
            {"id": "binomclick1", "campaign": "Push DE", "offer": "Lucky Star DE", "geo": "Germany", "status": "ftd",
             "clicked_at": "2026-10-01 09:00:00", "conversed_at": "2026-10-01 10:00:00", "payout": "80"},
        ],
    }  # fmt: skip
    days: dict[str, Any] = {
        "2026-10-01": [
            {"level": "1", "name": "Push DE", "clicks": "2,038", "leads": "9"},
            {"level": "2", "name": "Lucky Star DE", "clicks": "2,038", "leads": "9"},
            {"level": "3", "name": "Germany", "clicks": "2,038", "unique_clicks": "1,900", "leads": "9",
             "revenue": "720.00", "cost": "101.90"},
        ],
    }  # fmt: skip

    def answering(request: Request) -> bytes:
        if request.headers.get("api-key") != KEY:
            return answer("", status=401)
        path, query = request.path.removeprefix("/public/api/v1"), dict(request.query)
        if path == "/report/campaign":
            return _json({"report": days.get(query["dateFrom"][:10], [])})
        return _json(lists[path]) if path in lists else answer("", status=404)

    return answering


def voluum() -> Answering:
    """A session's token, lists of entities, and a report that states how many rows it has."""
    uuid, offer = "5f0c1d2e-0000-4000-8000-000000000004", {"offer": {"id": "o9"}, "weight": 75}
    flow = {
        "id": "f1", "defaultPaths": [{"active": True, "weight": 100, "landers": [],
                                      "offers": [offer, {"offer": {"id": "o10"}, "weight": 25}]}],
        "conditionalPathsGroups": [{
            "active": True, "conditions": {"customVariable": {"values": [
                {"predicate": "MUST_BE", "variableIndex": 0, "variableValues": ["z7"]}]}},
            "paths": [{"active": True, "weight": 100, "landers": [], "offers": [
                {"offer": {"id": "o10"}, "weight": 100}]}]}],
    }  # fmt: skip
    lists: dict[str, Any] = {
        "/offer": {"offers": [
            {"id": "o9", "name": "Lucky Star DE", "url": "https://lucky.example.test/?c={clickid}",
             "affiliateNetwork": {"id": "n3"}, "country": {"code": "DE"}},
            {"id": "o10", "name": "Wild Win", "url": "https://wild.example.test/?c={clickid}"}]},
        "/campaign": {"campaigns": [
            {"id": uuid, "name": "Push DE", "url": f"https://go.example.test/{uuid}?zone={{zone}}",
             "trafficSource": {"id": "s2"}, "costModel": {"type": "CPC", "value": 0.05},
             "redirectTarget": {"flow": {"id": "f1"}}}]},
        "/affiliate-network": {"affiliateNetworks": [{"id": "n3", "name": "Lucky Partners"}]},
        "/traffic-source": {"trafficSources": [{
            "id": "s2", "name": "PushHouse", "clickIdVariable": {"parameter": "clickid", "placeholder": "{click_id}"},
            "customVariables": [{"index": 1, "parameter": "zone", "placeholder": "{zone}"}]}]},
        "/flow": {"flows": [flow]},
    }  # fmt: skip
    row = {"day": "2026-10-01", "campaignId": uuid, "offerId": "o9", "countryCode": "DE", "visits": 2038,
           "uniqueVisits": 1900, "conversions": 9, "customConversions1": 41, "customConversions2": 9,
           "revenue": 720.0, "cost": 101.9}  # fmt: skip
    click = {"clickId": "wVoluumClick1", "campaignId": uuid, "offerId": "o9", "countryCode": "DE",
             "visitTimestamp": "2026-10-01 09:00:00 AM", "conversionType": "FTD"}  # fmt: skip

    def answering(request: Request) -> bytes:
        if request.path == "/auth/access/session":
            right = msgspec.json.decode(request.body)["accessKey"] == KEY
            return _json({"token": "session-token"}) if right else answer("", status=401)
        if request.headers.get("cwauth-token") != "session-token":
            return answer("", status=401)
        if request.path.startswith("/report"):
            first = dict(request.query)["from"] == "2026-10-01T00:00:00Z"
            rows = ([click] if request.path.endswith("conversions") else [row]) if first else []
            return _json({"totalRows": len(rows), "rows": rows})
        return _json(lists[request.path]) if request.path in lists else answer("", status=404)

    return answering


def redtrack() -> Answering:
    """Bare arrays, a thousand rows a page."""
    campaign = "5f0c1d2e3a4b5c6d7e8f9a0b"
    lists: dict[str, Any] = {
        "/networks": [{"id": "n3", "title": "Lucky Partners", "currency": "EUR"}],
        "/sources": [{"id": "s2", "title": "PushHouse", "external_id": "{click_id}",
                      "subs": [{"alias": "zone", "value": "{zone}"}]}],
        "/offers": [
            {"id": "o9", "title": "Lucky Star DE", "url": "https://lucky.example.test/?c={clickid}&z={sub1}",
             "network_title": "Lucky Partners", "country_codes": ["DE"], "payment": {"amount": 80}, "status": 1},
            {"id": "o10", "title": "Wild Win", "url": "https://wild.example.test/?c={clickid}", "status": 1}],
        "/campaigns": [{
            "id": campaign, "title": "Push DE", "source_id": "s2", "cost_model": "cpc", "cpc": 0.05, "status": 1,
            "trackback_url": f"https://go.example.test/{campaign}?sub1={{zone}}", "streams": [
                {"weight": 100, "stream": {"filters": {}, "landings": [], "offers": [
                    {"id": "o9", "weight": 75}, {"id": "o10", "weight": 25}]}},
                {"weight": 100, "stream": {"filters": {"country": {"active": True, "exclude": False, "values": ["AT"]}},
                                           "landings": [], "offers": [{"id": "o10", "weight": 100}]}}]}],
        "/report": [{"date": "2026-10-01", "campaign_id": campaign, "offer_id": "o9", "country": "Germany",
                     "clicks": 2038, "unique_clicks": 1900, "conversions": 9, "type1": 41, "type2": 9, "revenue": 720,
                     "cost": 101.9}],
        "/tracks": [{"clickid": "RTclick2", "campaign_id": campaign, "offer_id": "o10", "country": "DE",
                     "track_time": "2026-10-02T09:00:00Z"}],
        "/conversions": [{"clickid": "rtclick1", "campaign_id": campaign, "offer_id": "o9", "type": "FTD",
                          "track_time": "2026-10-01T09:00:00Z", "country": "DE"}],
    }  # fmt: skip

    def answering(request: Request) -> bytes:
        if dict(request.query).get("api_key") != KEY:
            return answer("", status=401)
        return _json(lists[request.path]) if request.path in lists else answer("", status=404)

    return answering

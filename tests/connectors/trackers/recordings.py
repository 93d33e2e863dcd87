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

"""Requests that once stopped a hub or were answered 500, each with others of its kind, on both databases."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz.filled import DEEP, filled_hub, postgres_of
from tests.journeys.deployment import Deployment

pytestmark = pytest.mark.slow

RULE = {"if": {"country": ["DE"]}, "offers": ["brand-spring"]}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("cases")
    with postgres_of(request) as url, filled_hub(folder, url=url, ALLOW_PRIVATE_HOSTS="0") as deployment:
        yield deployment


def refused_at(hub: Deployment, path: str, **arguments: Any) -> tuple[int, str | None]:
    """Status and field of a refusal; a click is redirected as ever right after it."""
    answer = hub.try_post(path, **arguments)
    assert answer.headers["content-type"] == "application/problem+json", answer.text[:300]
    assert hub.http.get("/c/promo", follow_redirects=False).status_code == 302
    return answer.status_code, answer.json().get("field")


@pytest.mark.parametrize("count", [201, 10_000, 100_000])
def test_a_campaign_takes_two_hundred_rules(hub: Deployment, count: int) -> None:
    assert refused_at(hub, "campaign/edit", campaign="promo", rules=[RULE] * count) == (400, "rules")
    assert hub.get("campaign/show", campaign="promo")["rules"] == []


def test_two_hundred_rules_are_taken(hub: Deployment) -> None:
    hub.post("campaign/edit", campaign="promo", rules=[RULE] * 200)
    assert len(hub.get("campaign/show", campaign="promo")["rules"]) == 200
    hub.post("campaign/edit", campaign="promo", rules=[])


@pytest.mark.parametrize(
    ("path", "arguments", "field"),
    [
        ("digest/subscribe", {"campaigns": ["promo"] * 20_000, "channel": "terminal"}, "campaigns"),
        ("site/create", {"name": "many", "market": "DE", "offers": ["brand-spring"] * 20_000}, "offers"),
        ("casino/edit", {"casino": "brand", "payment_methods": ["Visa"] * 20_000}, "payment_methods"),
        ("member/invite", {"role": "buyer", "campaigns": ["promo"] * 20_000}, "campaigns"),
        ("campaign/create", {"name": "deep", "rules": json.loads("[" * 40 + "]" * 40)}, "rules"),
        ("account/edit", {"account": "acme", "options": json.loads('{"a":' * 40 + "1" + "}" * 40)}, "options"),
        ("source/add", {"name": "deep", "postbacks": json.loads('{"a":' * 40 + "1" + "}" * 40)}, "postbacks"),
        ("casino/edit", {"casino": "brand", "bonus": "x" * 3001}, "bonus"),
        ("campaign/create", {"name": "x" * 201}, "name"),
        ("report/merged", {"from": "0001-01-01", "to": "9999-12-31", "by": "sub1"}, "from"),
        ("report/merged", {"from": "2020-01-01", "to": "2026-12-31", "by": "day"}, "from"),
        ("stats", {"range": "0001-01-01..9999-12-31"}, "range"),
        ("casino/edit", {"casino": "brand", "logo": "https://evil.com\x0b/x.png"}, "logo"),
        ("casino/edit", {"casino": "brand", "logo": "https://evil.com;sandbox/x.png"}, "logo"),
        ("casino/edit", {"casino": "brand", "terms_url": "https://evil.com\r\nx: y"}, "terms_url"),
        ("account/edit", {"account": "acme", "token": "\u0661\u0662", "test": False}, "token"),
        ("domain/add", {"name": "xn--a.com"}, "name"),
        ("domain/check", {"name": "a..b"}, "name"),
        ("offer/edit", {"offer": "brand-spring", "url": "https://[::1"}, "url"),
        ("campaign/edit", {"campaign": "promo", "fallback_url": "https://a b.com/"}, "fallback_url"),
        ("source/add", {"name": "bad", "registration": "https://ads.example;x/?c={click_id}"}, "registration"),
        ("token/create", {"name": "late", "expires": "9999-12-31"}, "expires"),
    ],
)  # fmt: skip
def test_what_is_too_much_or_no_value_is_refused_at_its_field(
    hub: Deployment, path: str, arguments: dict[str, Any], field: str
) -> None:
    assert refused_at(hub, path, **arguments) == (400, field)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("report/merged", {"from": "2026-11-01", "to": "2026-11-20", "as_of": "9999-12-31"}),
        ("report/merged", {"from": "2026-11-01", "to": "2026-11-20", "as_of": "0001-01-01T00:00:00-14:00"}),
        ("report/merged", {"from": "9999-12-31", "to": "9999-12-31"}),
        ("rate/list", {"currency": "USD", "to": "0001-01-01"}),
        ("revenue/restated", {"since": "0001-01-01"}),
        ("revenue/vanished", {"since": "9999-12-31"}),
        ("why", {"campaign": "promo", "day": "0001-01-01"}),
        ("postback/log", {"click_id": "\x00"}),
        ("click/show", {"click_id": "%00"}),
        ("campaign/list", {"after": "9" * 18}),
    ],
)
def test_the_ends_of_the_calendar_are_answered_or_refused(hub: Deployment, path: str, query: dict[str, str]) -> None:
    answer = hub.http.get(f"/api/v1/{path}", params=query, headers={"authorization": f"Bearer {hub.token}"})
    assert answer.status_code in {200, 400, 404, 422}, answer.text
    if answer.status_code == 400:
        assert answer.json()["field"] in query


@pytest.mark.parametrize(
    "body", [DEEP, DEEP + "]" * 10_000, '{"name":' * 5000, "null", "[]", "5", "\x00", '{"a":1e400}']
)
def test_bodies_that_are_no_arguments_are_bad_requests(hub: Deployment, body: str) -> None:
    for path in ("source/add", "campaign/list", "help", "undo", "confirm"):
        answer = hub.http.post(
            f"/api/v1/{path}", content=body.encode(), headers={"authorization": f"Bearer {hub.token}"}
        )
        assert answer.status_code == 400, (path, answer.text)


def test_an_upload_over_twenty_megabytes_is_too_large(hub: Deployment) -> None:
    hub.post("account/add", platform="csv_upload", name="uploads")
    large = base64.b64encode(b"day,clicks\n" * 2_000_000).decode()
    assert hub.try_post("sync/upload", account="uploads", file=large).status_code == 413
    assert hub.try_post("spend/import", file=large).status_code == 413


def test_postbacks_count_on_get_and_post_of_known_keys_alone(hub: Deployment) -> None:
    key = hub.post("postback/url", account="acme")["url"].partition("?")[0].rpartition("/")[2]
    before = len(hub.get("postback/log")["items"])
    for method in ("HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert hub.http.request(method, f"/postback/{key}?click_id=x&event=ftd").status_code == 405, method
    for unknown in ("a%00b", "%00", "a%0Ab", "%FF%FE", "x" * 4000):
        assert hub.http.get(f"/postback/{unknown}?click_id=x").status_code == 404, unknown
    assert len(hub.get("postback/log")["items"]) == before


def test_limits_stand_in_help_and_openapi(hub: Deployment) -> None:
    described = {
        item["name"]: item["description"] for item in hub.get("help", command="campaign edit")["commands"][0]["fields"]
    }
    assert "200 entries" in described["rules"]
    report = {
        item["name"]: item["description"] for item in hub.get("help", command="report merged")["commands"][0]["fields"]
    }
    assert "1,100 days" in report["from"]
    upload = {
        item["name"]: item["description"] for item in hub.get("help", command="sync upload")["commands"][0]["fields"]
    }
    assert "20 MB" in upload["file"]
    schemas = hub.http.get("/schema/openapi.json").json()
    edit = schemas["components"]["schemas"]["CampaignEdit"]["properties"]
    assert edit["rules"]["maxItems"] == 200
    assert edit["fallback_url"]["maxLength"] == 3000
    answers = schemas["paths"]["/api/v1/token/revoke"]["post"]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]
    assert {"$ref": "#/components/schemas/Confirmation"} in answers["anyOf"]

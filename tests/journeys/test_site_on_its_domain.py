"""From an empty database to a page on its own domain with a measured funnel; then full tracking, nothing lost."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment
from tests.journeys.steps import BROWSER
from tests.waiting import wait_for

HOST = "brand.example.test"


@pytest.mark.slow
def test_a_site_goes_from_fast_launch_to_full_tracking(deploy: Deploy) -> None:
    hub = deploy()
    hub.start()
    set_up(hub)
    assert hub.http.get("/tls/ask", params={"domain": HOST}).status_code == 404
    assert hub.post("domain/add", name=HOST, site="guide")["status"] == "added"
    assert hub.http.get("/tls/ask", params={"domain": HOST}).status_code == 200
    assert hub.http.get("/cockpit", headers={"host": HOST}).status_code == 404
    assert hub.http.get("/", headers={"host": "stranger.example.test"}).status_code == 404

    for n in range(4):
        opened = visit(hub, n, path="/", host=HOST)
        tell(hub, n, path="/b", host=HOST, k=["lucky-star"] if n < 2 else [])
        if n < 2:
            go_on(hub, n, opened)
    funnel = wait_for(lambda: report(hub, visits=4, outgoing=2), "the funnel of fast launch", told=hub.log)
    assert (funnel["registrations"], funnel["first_deposits"]) == (None, None)
    assert funnel["lines"][0]["position"] == 1

    link = hub.post("campaign/create", name="Spring", site="guide")["url"]
    postback = hub.post("postback/url", account="main")["url"].partition("?")[0]
    landing = urlsplit(str(arrive(hub, link).headers["location"]))
    click = parse_qs(landing.query)["click"][0]
    page = visit(hub, 9, path=f"/s/guide?click={click}")
    tell(hub, 9, path="/s/guide/b", c=click, k=["lucky-star"])
    target = go_on(hub, 9, page)
    assert parse_qs(urlsplit(target).query)["sub"] == [click]
    answer = hub.http.get(postback, params={"click_id": click, "event": "registration"})
    assert answer.json() == {"outcome": "accepted"}
    funnel = wait_for(lambda: report(hub, visits=5, outgoing=3, registrations=1), "the tracked funnel", told=hub.log)
    by_campaign = hub.get("site/analytics", site="guide", by="campaign", range="today")["rows"]
    assert {item["group"]["campaign"]: item["views"] for item in by_campaign} == {"": 4, "spring": 1}


def set_up(hub: Deployment) -> None:
    hub.post("account/add", platform="postback_only", name="Main", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Lucky Star", account="main", url="https://lucky-star.example.test/?sub={click_id}")
    hub.post("site/create", name="Guide", market="DE", offers=["lucky-star"])
    refused = hub.try_post("site/publish", site="guide")
    assert refused.status_code == 400
    assert "not reviewed" in refused.json()["detail"]
    hub.post("casino/review", casino="lucky-star", bonus="100 % up to 200 €", licence="MGA",
             terms_url="https://lucky-star.example.test/terms")  # fmt: skip
    assert hub.post("site/publish", site="guide")["version"] == 1


def person(n: int) -> dict[str, str]:
    return {"user-agent": f"{BROWSER}{n}", "x-forwarded-for": f"198.51.100.{n}"}


def visit(hub: Deployment, n: int, *, path: str, host: str = "127.0.0.1") -> str:
    answer = hub.http.get(path, headers={**person(n), "host": host})
    assert answer.status_code == 200
    assert "Lucky Star" in answer.text
    return answer.text


def tell(hub: Deployment, n: int, *, path: str, host: str = "127.0.0.1", **answer: Any) -> None:
    """What the page's beacon sends."""
    message = {"i": f"view-{n}", "m": 3000, "s": 60, "o": ["lucky-star"], **answer}
    assert hub.http.post(path, json=message, headers={**person(n), "host": host}).status_code == 204


def go_on(hub: Deployment, n: int, page: str) -> str:
    """Follow the page's first offer; where it leads."""
    onward = re.search(r'href="(/go/guide/lucky-star[^"]*)"', page)
    assert onward
    answer = hub.http.get(onward[1], headers=person(n))
    hub.http.cookies.clear()
    assert answer.status_code == 302
    return answer.headers["location"]


def arrive(hub: Deployment, link: str) -> httpx.Response:
    answer = hub.http.get(link, headers=person(9))
    hub.http.cookies.clear()
    assert answer.status_code == 302
    return answer


def report(hub: Deployment, *, visits: int, outgoing: int, registrations: int | None = None) -> Any:
    result = hub.get("site/report", site="guide", range="today")
    there = result["visits"] == visits and result["outgoing"] == outgoing and result["visitors"] == visits
    return result if there and result["registrations"] == registrations else None

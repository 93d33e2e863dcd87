"""Fast launch: no source, no campaign, no postback; a site, its outgoing clicks and delayed revenue make a report."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment
from tests.journeys.steps import BROWSER, figures, today
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


def test_a_site_earns_without_any_tracking_set_up(deploy: Deploy, affilka: httpx.Client) -> None:
    hub = deploy()
    hub.start()
    hub.post("account/add", platform="affilka", name="affilka-main", base_url=str(affilka.base_url),
             token="demo-statistic-token", timezone="UTC", currency="EUR")  # fmt: skip
    hub.post("offer/add", casino="Lucky Star", account="affilka-main", tag="wall",
             url="https://lucky-star.example.test/land?sub={click_id}")  # fmt: skip
    hub.post("casino/edit", casino="lucky-star", bonus="100 % up to 500 €", licence="MGA/B2C/000/2026",
             payment_methods=["Visa"], terms_url="https://lucky-star.example.test/terms")  # fmt: skip
    hub.post("casino/review", casino="lucky-star")
    site = hub.post("site/create", name="Lucky Guide", market="DE", locale="en", offers=["lucky-star-wall"])
    hub.post("site/publish", site="lucky-guide")

    page = hub.http.get(site["preview_url"], headers={"user-agent": BROWSER})
    assert "Lucky Star" in page.text
    onward = re.search(r'href="([^"]*/go/lucky-guide/lucky-star-wall[^"]*)"', page.text)
    assert onward
    for n in range(3):
        out = hub.http.get(onward[1], headers={"user-agent": f"{BROWSER}{n}", "x-forwarded-for": f"198.51.100.{n}"})
        hub.http.cookies.clear()
        assert out.status_code == 302
    assert parse_qs(urlsplit(out.headers["location"]).query)["sub"][0]

    day = today(hub)
    affilka.post("/_control/figures", json=figures(day, "wall", first_deposits_count=2, partner_income="180.00"))
    hub.a_day_later()
    hub.sync("affilka-main")
    row = wait_for(lambda: report(hub, day), "the report")
    assert row["group"] == {"day": day, "site": "lucky-guide"}
    assert row["clicks"] == 3
    assert row["first_deposits"] == {"postback": None, "platform": 2, "merged": 2}
    assert row["commission"] == 180_000_000
    assert row["spend"] is None
    answer = hub.shell("run", "stats", "yesterday", "by", "site").stdout
    assert "–" in answer


def report(hub: Deployment, day: str) -> Any:
    rows = hub.get("report/merged", **{"from": day, "to": day, "by": "day,site"})["rows"]
    return next((row for row in rows if row["commission"] and row["clicks"] == 3), None)

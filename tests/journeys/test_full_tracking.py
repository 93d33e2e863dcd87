"""Full tracking: from a click to the merged report, on both databases."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment
from tests.journeys.steps import click, convert, figures, today, tracked_campaign
from tests.waiting import wait_for


@pytest.mark.slow_on_postgresql
def test_clicks_postbacks_and_delayed_revenue_become_one_report(
    deploy: Deploy, affilka: httpx.Client, traffic_source: httpx.Client
) -> None:
    hub = deploy()
    hub.start()
    link, postback = tracked_campaign(hub, affilka, traffic_source)
    landed = [click(hub, link, n) for n in range(10)]
    click_ids = [parse_qs(urlsplit(url).query)["sub"][0] for url in landed]
    assert len(set(click_ids)) == 10
    assert urlsplit(landed[0]).hostname == "lucky-star.example.test"

    assert [convert(hub, postback, click_id, "registration") for click_id in click_ids[:4]] == ["accepted"] * 4
    ftds = [convert(hub, postback, click_id, "ftd", amount="50", currency="EUR") for click_id in click_ids[:3]]
    assert ftds == ["accepted"] * 3
    assert convert(hub, postback, click_ids[0], "ftd", amount="50", currency="EUR") == "duplicate"
    assert convert(hub, postback, "unknownclick", "reg") == "unmatched"

    day = today(hub)
    before = wait_for(lambda: seen(hub, day, clicks=10, registrations=4), "the real-time layer in the report")
    assert before["settlement"] == "provisional"
    assert before["first_deposits"] == {"postback": 3, "platform": None, "merged": 3}
    assert before["commission"] is None
    assert before["spend"] == 3_500_000
    sent = wait_for(lambda: received(traffic_source, 7), "conversions at the traffic source")
    assert sorted({item["query"]["cid"] for item in sent}) == [f"source-{n}" for n in range(4)]

    affilka.post("/_control/figures", json=figures(day, registrations_count=4, first_deposits_count=2, ngr="-12.50",
                                                   partner_income="90.00")).raise_for_status()  # fmt: skip
    hub.a_day_later()
    assert hub.sync("affilka-main")["state"] == "idle"
    after = wait_for(lambda: settled(hub, day), "the settled day")
    assert after["first_deposits"] == {"postback": 3, "platform": 2, "merged": 2}
    assert after["commission"] == 90_000_000
    assert after["ngr"] == -12_500_000
    assert after["profit"] == 90_000_000 - 3_500_000
    digest = hub.shell("run", "digest", "preview").stdout
    assert "90" in digest
    assert "unmatched" in digest.lower()


def seen(hub: Deployment, day: str, **counts: int) -> Any:
    rows = hub.get("report/merged", **{"from": day, "to": day, "by": "day,campaign"})["rows"]
    row = next((row for row in rows if row["group"]["campaign"] == "spring-push"), None)
    enough = row and row["clicks"] == counts["clicks"] and row["registrations"]["postback"] == counts["registrations"]
    return row if enough else None


def settled(hub: Deployment, day: str) -> Any:
    rows = hub.get("report/merged", **{"from": day, "to": day, "by": "day,campaign"})["rows"]
    return rows[0] if rows and rows[0]["settlement"] == "settled" else None


def received(source: httpx.Client, count: int) -> Any:
    items = source.get("/_control/received").json()["items"]
    return items if len(items) >= count else None

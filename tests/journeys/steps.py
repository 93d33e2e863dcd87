"""Steps that several journeys take."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.journeys.deployment import Deployment

BROWSER = (
    "Mozilla/5.0 (Linux; Android 16; Pixel 10) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile "
    "Safari/537.36 n/"
)


def today(hub: Deployment) -> str:
    """The deployment's own today, by its shifted clock."""
    return (datetime.now(UTC) + timedelta(days=hub.days)).date().isoformat()


def tracked_campaign(hub: Deployment, platform: httpx.Client, source: httpx.Client) -> tuple[str, str]:
    """Account, offer, source and campaign; the tracking link and the postback address."""
    hub.post("account/add", platform="affilka", name="affilka-main", base_url=str(platform.base_url),
             token="demo-statistic-token", timezone="UTC", currency="EUR")  # fmt: skip
    offer = hub.post("offer/add", casino="Lucky Star", account="affilka-main", tag="spring",
                     url="https://lucky-star.example.test/land?sub={click_id}")  # fmt: skip
    assert offer["code"] == "lucky-star-spring"
    base = str(source.base_url).rstrip("/")
    hub.post("source/add", name="PushNet",
             registration=base + "/conversion?cid={source_click_id}&e=reg",
             first_deposit=base + "/conversion?cid={source_click_id}&e=ftd&payout={payout}")  # fmt: skip
    campaign = hub.post("campaign/create", name="Spring Push", offers=["lucky-star-spring"], source="pushnet",
                        cost_model="link")  # fmt: skip
    return campaign["url"], hub.post("postback/url", account="affilka-main")["url"].partition("?")[0]


def click(hub: Deployment, link: str, n: int, **more: str) -> str:
    """One player's click; where it leads."""
    answer = hub.http.get(
        link,
        params={"click_id": f"source-{n}", "cost": "0.35", "currency": "EUR", "sub1": f"banner-{n % 2}", **more},
        headers={"user-agent": f"{BROWSER}{n}", "x-forwarded-for": f"198.51.100.{n % 250}"},
    )
    hub.http.cookies.clear()
    assert answer.status_code == 302, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.headers["location"]


def postback(address: str, player: int, click_id: str) -> str:
    """The outcome. A platform that gives up after half a minute would send it again."""
    query = {"click_id": click_id, "event": "ftd", "amount": "10", "txn_id": f"t{player}"}
    answer = httpx.get(address, params=query, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["outcome"])


def figures(day: str, campaign: str = "spring", **values: Any) -> dict[str, Any]:
    """What the stand-in platform is to report of a campaign and day."""
    return {"campaign": campaign, "day": day, **values}


def convert(hub: Deployment, postback: str, click_id: str, event: str, **more: str) -> str:
    query = {"click_id": click_id, "event": event, "txn_id": f"{event}-{click_id}", **more}
    answer = hub.http.get(postback, params=query)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["outcome"])

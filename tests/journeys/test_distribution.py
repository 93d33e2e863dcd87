"""Distribution on a real hub: traffic moves to the offer that pays late though the other converts early."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment
from tests.journeys.steps import click, figures, today
from tests.waiting import wait_for

LATE_DAYS = 6  # from an FTD of the late offer to its commission


@pytest.mark.slow
def test_traffic_moves_to_the_offer_that_pays_late(deploy_sqlite: Deploy, affilka: httpx.Client) -> None:
    hub = deploy_sqlite()
    hub.start()
    link, postback = distributing_campaign(hub, affilka)
    made: dict[str, dict[str, int]] = {}  # FTDs by day and offer
    first: dict[str, float] = {}
    for visit in range(6):
        day = today(hub)
        made[day] = visitors(hub, link, postback, start=visit * 100)
        pays(affilka, made)
        hub.a_day_later(3)
        hub.sync("affilka-main")
        first = first or shares(hub)
    assert first["lucky-star-late"] <= 50.01  # it converts less, and has paid nothing yet
    hub.a_day_later(0)  # the job runs when the hub starts
    moved = wait_for(lambda: now if (now := shares(hub))["lucky-star-late"] > 70 else None, "traffic to move",
                     told=hub.log)  # fmt: skip
    assert sum(moved.values()) == pytest.approx(100)
    shown = hub.get("campaign/distribution", campaign="spring-push")
    early, late = shown["offers"]
    assert late["earnings"] > early["earnings"]
    assert late["arrived"] < early["arrived"]
    assert sum(of["early"] for of in made.values()) > sum(of["late"] for of in made.values())
    said = hub.shell("run", "campaign", "distribution", "spring-push").stdout
    assert "Lucky Star late" in said
    assert "Earns most" in said
    after = [host(click(hub, link, n)) for n in range(700, 760)]
    assert after.count("late.example.test") > 30


def distributing_campaign(hub: Deployment, platform: httpx.Client) -> tuple[str, str]:
    """Two offers of one account; the tracking link and the postback address."""
    hub.post("account/add", platform="affilka", name="affilka-main", base_url=str(platform.base_url),
             token="demo-statistic-token", timezone="UTC", currency="EUR")  # fmt: skip
    for tag in ("early", "late"):
        hub.post("offer/add", casino="Lucky Star", account="affilka-main", tag=tag,
                 url=f"https://{tag}.example.test/?sub={{click_id}}")  # fmt: skip
    made = hub.post("campaign/create", name="Spring Push", offers=["lucky-star-early", "lucky-star-late"],
                    distribute="auto", holdout="0%", most_change="100%", binding=False)  # fmt: skip
    return made["url"], hub.post("postback/url", account="affilka-main")["url"].partition("?")[0]


def visitors(hub: Deployment, link: str, postback: str, *, start: int) -> dict[str, int]:
    """A hundred clicks: a quarter of the early offer's and a seventh of the late one's deposit; FTDs by offer."""
    clicks: dict[str, list[str]] = {"early": [], "late": []}
    for n in range(start, start + 100):
        url = click(hub, link, n)
        clicks[host(url).partition(".")[0]].append(parse_qs(urlsplit(url).query)["sub"][0])
    ftds = {"early": clicks["early"][::4], "late": clicks["late"][::7]}
    for click_id in ftds["early"] + ftds["late"]:
        query = {"click_id": click_id, "event": "ftd", "txn_id": f"t{click_id}", "amount": "50", "currency": "EUR"}
        assert hub.http.get(postback, params=query).json()["outcome"] == "accepted"
    return {tag: len(of) for tag, of in ftds.items()}


def pays(platform: httpx.Client, made: dict[str, dict[str, int]]) -> None:
    """What the platform says: 40 for each early FTD at once, 160 for each late one some days later."""
    days = list(made)
    for place, day in enumerate(days):
        late = 160 if (len(days) - place) * 3 > LATE_DAYS else 0
        for tag, payout in (("early", 40), ("late", late)):
            ftds = made[day][tag]
            paid = f"{ftds * payout}.00"
            platform.post("/_control/figures", json=figures(
                day, tag, first_deposits_count=ftds, fixed_per_player=paid, partner_income=paid
            )).raise_for_status()  # fmt: skip


def shares(hub: Deployment) -> dict[str, float]:
    return dict(hub.get("campaign/show", campaign="spring-push")["shares"])


def host(url: str) -> Any:
    return urlsplit(url).hostname
